"""Guesses without learning against a loop over steps."""

import jax
import numpy as np
import pytest

from rpt_jax.objectives import guesses

B, T, D = 64, 7, 2
RNG = np.random.default_rng(0)
SEEN = RNG.random((B, T)) < np.linspace(0, 1, B)[:, None]
X = RNG.normal(size=(B, T, D)).astype(np.float32)
DIRTY = np.where(SEEN[..., None], X, np.nan)


def _loop(rule):
  out = np.zeros((B, T, D), np.float32)
  for b in range(B):
    for t in range(T):
      before = [s for s in range(t) if SEEN[b, s]]
      after = [s for s in range(t + 1, T) if SEEN[b, s]]
      out[b, t] = _one(rule, X[b], before, after, t)
  return out


def _one(rule, x, before, after, t):
  if rule == 'linear' and before[-2:] == [t - 2, t - 1]:
    return 2 * x[t - 1] - x[t - 2]
  if rule == 'interpolation' and before and after:
    low, high = before[-1], after[0]
    return x[low] + (x[high] - x[low]) * (t - low) / (high - low)
  if before:
    return x[before[-1]]
  if after and rule in ('copy_last', 'interpolation'):
    return x[after[0]]
  return np.zeros(D)


@pytest.mark.parametrize(
  'rule', ['last', 'copy_last', 'interpolation', 'linear']
)
def test_equals_the_loop_whatever_is_unseen(rule):
  found = jax.jit(getattr(guesses, rule))(DIRTY, SEEN)
  np.testing.assert_allclose(found, _loop(rule), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  'rule', ['last', 'copy_last', 'interpolation', 'linear']
)
def test_one_step(rule):
  seen_BT = np.array([[True], [False]])
  found = getattr(guesses, rule)(np.ones((2, 1, D), np.float32), seen_BT)
  np.testing.assert_array_equal(found, np.zeros((2, 1, D)))


@pytest.mark.parametrize('rule', ['last', 'copy_last'])
def test_integers_stay_integers(rule):
  x_BTL = RNG.integers(1, 9, (B, T, 1)).astype(np.int32)
  found = np.asarray(getattr(guesses, rule)(x_BTL, SEEN))
  assert found.dtype == np.int32
  np.testing.assert_array_equal(found[:, 1:][SEEN[:, :-1]],
                                x_BTL[:, :-1][SEEN[:, :-1]])  # fmt: skip
