"""Positions: fixed ones tell patches apart, learned ones resize as PyTorch."""

import numpy as np
import pytest

from rpt_jax.vision import positions


def test_fixed_positions_are_distinct_and_separable():
  place = positions.fixed(4, 16)
  distance = np.abs(place[:, None] - place[None]).sum(-1)
  assert (distance + np.eye(16) > 0.1).all()
  grid = place.reshape(4, 4, 16)
  np.testing.assert_array_equal(grid[:, 1, :8], grid[::-1, 1, :8])
  np.testing.assert_array_equal(grid[2, :, 8:], grid[2, ::-1, 8:])
  with pytest.raises(ValueError, match='multiple of 4'):
    positions.fixed(4, 18)


@pytest.mark.parametrize('side', [3, 7, 11, 16])
@pytest.mark.parametrize(
  'method', ['bicubic', 'bicubic_antialias', 'bilinear_antialias']
)
def test_resizing_is_that_of_pytorch(side, method):
  torch = pytest.importorskip('torch')
  x_PD = np.random.default_rng(0).normal(size=(49, 5)).astype(np.float32)
  mode = method.removesuffix('_antialias')
  expected = torch.nn.functional.interpolate(
    torch.from_numpy(x_PD.reshape(1, 7, 7, 5).transpose(0, 3, 1, 2)),
    size=(side, side),
    mode=mode,
    align_corners=False,
    antialias=mode != method,
  )
  expected = expected.numpy()[0].transpose(1, 2, 0).reshape(side**2, 5)
  found = positions.resize(x_PD, side, method)
  np.testing.assert_allclose(found, expected, atol=2e-6)
