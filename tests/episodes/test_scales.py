"""Scales: mean 0 and deviation 1, undone; constants; what hardly varies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import scales, statistics
from tests.episodes.test_normalisation import write

MODES = ('mean_std', 'quantiles', 'none')


def moments(x_NA):
  """Statistics of rows."""
  merged = statistics.Moments()
  merged.add(x_NA)
  return merged.result()


@pytest.mark.parametrize('mode', MODES)
def test_scaling_a_dataset_is_undone(tmp_path, mode):
  source = episodes.open(write(tmp_path / 'd'))
  x = source.read_all(['state']).arrays['state']
  scale = scales.of(statistics.compute(source).streams['state'], mode)
  scaled = scales.apply(x, scale)
  assert scaled.dtype == np.float32 and np.isfinite(scaled).all()
  np.testing.assert_allclose(scales.invert(scaled, scale), x, rtol=1e-5)
  if mode == 'mean_std':
    np.testing.assert_allclose(scaled[:, :3].mean(0), 0, atol=2e-2)
    np.testing.assert_allclose(scaled[:, :3].std(0), 1, rtol=1e-3)
  if mode == 'quantiles':
    inside = (np.abs(scaled[:, :3]) <= 1).mean()
    assert 0.96 < inside < 0.995
  if mode != 'none':
    np.testing.assert_allclose(scaled[:, 3], 0, atol=1e-3)


@pytest.mark.parametrize('mode', MODES)
def test_every_mode_has_a_centre_and_a_spread_per_dimension(mode):
  x_NA = np.random.default_rng(0).normal(size=(50, 3))
  centre_A, spread_A = scales.of(moments(x_NA), mode)
  assert centre_A.shape == spread_A.shape == (3,)
  assert centre_A.dtype == spread_A.dtype == np.float32


def test_no_other_mode():
  x_NA = np.random.default_rng(0).normal(size=(50, 3))
  with pytest.raises(ValueError, match="mode: found 'minmax', expected one"):
    scales.of(moments(x_NA), 'minmax')


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_parts_are_measured_as_one(dtype):
  rng = np.random.default_rng(0)
  x_ND = (rng.normal(size=(500, 3)) * [1.0, 2.0, 0.5] + [30, -1, 0]).astype(
    dtype
  )
  parts = iter(np.split(x_ND, [1, 200, 200, 350]))  # Read once; one is empty.
  mean_D, std_D = scales.measure('latent', parts)
  assert mean_D.dtype == std_D.dtype == np.float32
  exact_ND = x_ND.astype(np.float64)
  np.testing.assert_allclose(mean_D, exact_ND.mean(0), rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(std_D, exact_ND.std(0), rtol=1e-6)
  scaled = scales.apply(x_ND, (mean_D, std_D))
  assert scaled.dtype == np.float32
  np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-5)
  back = scales.invert(scaled, (mean_D, std_D))
  np.testing.assert_allclose(back, exact_ND, rtol=1e-5, atol=1e-5)


def test_large_half_floats_do_not_overflow():
  x_ND = np.full((4000, 2), 60_000, np.float16)
  x_ND[::2] = -60_000
  mean_D, std_D = scales.measure('latent', [x_ND])
  np.testing.assert_allclose(mean_D, 0, atol=1e-3)
  np.testing.assert_allclose(std_D, np.float16(60_000), rtol=1e-6)
  assert np.abs(scales.apply(x_ND, (mean_D, std_D))).max() <= 1.0001


@pytest.mark.parametrize(
  'stream, least', [('proprio', 0.3), ('action', 0.3), ('latent/top', 1e-3)]
)
def test_what_hardly_varies_is_not_blown_up(stream, least):
  """A gripper that was kept shut, and then opens."""
  rng = np.random.default_rng(0)
  x_ND = rng.normal(size=(1000, 4)).astype(np.float32) * [2, 1, 1e-5, 0]
  scale = scales.measure(stream, [x_ND])
  largest = x_ND[:, 0].astype(np.float64).std()
  expected = [largest, x_ND[:, 1].std(), least * largest, least * largest]
  np.testing.assert_allclose(scale[1], expected, rtol=1e-5)
  opened = np.array([[0, 0, 1.0, 1.0]], np.float32)
  np.testing.assert_allclose(
    scales.apply(opened, scale)[0, 2:], 1 / (least * largest), rtol=1e-4
  )


@pytest.mark.parametrize('value', [0.0, 0.1, -3.5, 1234.567, 60_000])
@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_a_stream_that_never_varies_is_only_centred(value, dtype):
  """Also over many rows, whose sums round."""
  x_ND = np.full((100_003, 2), value, dtype)
  scale = scales.measure('proprio', [x_ND[:17], x_ND[17:]])
  np.testing.assert_allclose(scale[0], x_ND[0], rtol=1e-6)
  np.testing.assert_array_equal(scale[1], 0)
  np.testing.assert_array_equal(scales.divisor(scale), 1)
  moved = x_ND[:3].astype(np.float32) + 1
  np.testing.assert_allclose(scales.apply(moved, scale), 1, rtol=0.01)
  back = scales.invert(np.ones((3, 2), np.float32), scale)
  np.testing.assert_array_equal(back, np.broadcast_to(scale[0], (3, 2)))


@pytest.mark.parametrize('mode', ['mean_std', 'quantiles'])
def test_a_constant_of_a_dataset_is_only_centred(mode):
  x_NA = np.random.default_rng(0).normal(size=(1000, 2))
  x_NA[:, 1] = 1e3 + 1e-9 * x_NA[:, 1]  # Rounding, of what is a constant.
  scale = scales.of(moments(x_NA), mode)
  np.testing.assert_allclose(scale[0][1], 1e3)
  assert scale[1][1] == 0 and scale[1][0] > 0.5
  assert np.abs(scales.apply(x_NA, scale)[:, 1]).max() < 1e-3


def test_windows_are_scaled_under_jit_as_rows_are():
  rng = np.random.default_rng(0)
  x_BTD = rng.normal(size=(2, 5, 3)).astype(np.float16)
  scale = scales.measure('latent', [x_BTD.reshape(-1, 3)])
  scaled = jax.jit(scales.apply)(jnp.asarray(x_BTD), scale)
  assert scaled.dtype == jnp.float32 and scaled.shape == x_BTD.shape
  rows = scales.apply(x_BTD.reshape(-1, 3), scale)
  np.testing.assert_allclose(scaled.reshape(-1, 3), rows, rtol=1e-6)
  back = jax.jit(scales.invert)(scaled, scale)
  np.testing.assert_allclose(back, x_BTD.astype('f4'), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_measured_is_named():
  parts = [np.ones((5, 3)), np.ones((5, 4))]
  with pytest.raises(ValueError, match="'latent': 4 numbers a step here, 3"):
    scales.measure('latent', parts)
  for nothing in ([], [np.ones((0, 3))]):
    with pytest.raises(ValueError, match="'action': no step to measure"):
      scales.measure('action', nothing)
