"""Residual levels reduce the error, product parts are independent."""

import jax
import numpy as np
import pytest

from rpt_jax.units import codebook, kmeans

N, D, K = 1000, 8, 12
FIT = dict(restarts=1, max_iterations=10)


def latents():
  rng = np.random.default_rng(0)
  return rng.standard_normal((N, D)).astype(np.float32)


def error(quantizer, x_ND):
  n_NL = codebook.assign(quantizer, x_ND)
  return float(((codebook.reconstruct(quantizer, n_NL) - x_ND) ** 2).sum())


def test_single_is_kmeans():
  x_ND, key = latents(), jax.random.key(0)
  quantizer = codebook.fit('single', x_ND, K, key, **FIT)
  n_NL = codebook.assign(quantizer, x_ND)
  assert n_NL.shape == (N, 1)
  near_N = kmeans.assign(quantizer.levels[0], x_ND)
  np.testing.assert_array_equal(n_NL[:, 0], near_N)
  inertia = float(quantizer.levels[0].inertia)
  np.testing.assert_allclose(error(quantizer, x_ND), inertia, rtol=1e-4)


def test_each_residual_level_reduces_the_error():
  x_ND, key = latents(), jax.random.key(0)
  quantizer = codebook.fit('residual', x_ND, K, key, levels=3, **FIT)
  errors = [
    error(codebook.Quantizer('residual', quantizer.levels[: i + 1]), x_ND)
    for i in range(3)
  ]
  assert errors[1] < 0.9 * errors[0]
  assert errors[2] < 0.9 * errors[1]
  # Each level was fitted on what the ones before left over.
  inertia = [float(level.inertia) for level in quantizer.levels]
  np.testing.assert_allclose(errors, inertia, rtol=1e-3)


def test_product_quantizes_each_part_alone():
  x_ND, key = latents(), jax.random.key(0)
  quantizer = codebook.fit('product', x_ND, K, key, levels=3, **FIT)
  assert [c.c_KD.shape[1] for c in quantizer.levels] == [3, 2, 3]
  moved_ND = x_ND.copy()
  moved_ND[:, 3:5] += 3
  n_NL = np.asarray(codebook.assign(quantizer, x_ND))
  moved_NL = np.asarray(codebook.assign(quantizer, moved_ND))
  np.testing.assert_array_equal(n_NL[:, [0, 2]], moved_NL[:, [0, 2]])
  assert (n_NL[:, 1] != moved_NL[:, 1]).mean() > 0.5
  total = sum(float(c.inertia) for c in quantizer.levels)
  np.testing.assert_allclose(error(quantizer, x_ND), total, rtol=1e-3)


def test_stochastic_levels_draw_apart_and_repeat_with_the_key():
  x_ND, key = latents(), jax.random.key(0)
  quantizer = codebook.fit('product', x_ND, K, key, levels=2, **FIT)
  draws = [
    np.asarray(codebook.assign(quantizer, x_ND, jax.random.key(k), 1e6))
    for k in (1, 1, 2)
  ]
  np.testing.assert_array_equal(draws[0], draws[1])
  assert (draws[0] != draws[2]).mean() > 0.5
  assert (draws[0][:, 0] != draws[0][:, 1]).mean() > 0.5


@pytest.mark.parametrize('kind', codebook.KINDS)
def test_arrays_round_trip(kind):
  x_ND, levels = latents(), 1 if kind == 'single' else 2
  quantizer = codebook.fit(
    kind, x_ND, K, jax.random.key(0), levels=levels, **FIT
  )
  again = codebook.from_arrays(kind, codebook.to_arrays(quantizer))
  assert again.vocab == K
  np.testing.assert_array_equal(
    codebook.assign(again, x_ND), codebook.assign(quantizer, x_ND)
  )


def test_bad_settings_say_what_is_wrong():
  x_ND, key = latents(), jax.random.key(0)
  with pytest.raises(ValueError, match="expected one of .'single'"):
    codebook.fit('rvq', x_ND, K, key)
  for kind, levels in (('single', 2), ('residual', 0), ('product', D + 1)):
    with pytest.raises(ValueError, match='levels'):
      codebook.fit(kind, x_ND, K, key, levels=levels)
  with pytest.raises(ValueError, match='missing'):
    codebook.from_arrays('single', {'0/c_KD': x_ND})
