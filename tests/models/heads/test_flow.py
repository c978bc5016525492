"""Rectified flow: the loss as written, its times, its draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rpt_jax import settings
from rpt_jax.models import heads
from rpt_jax.models.heads import flow
from rpt_jax.types import StreamSpec

B, T, C, A, D = 2, 3, 4, 2, 5
KEY = jax.random.key(0)


@functools.cache
def _reader(steps=C, **changes):
  """A head of random parameters."""
  chosen = flow.Settings(**{'width': 16} | changes)
  action = StreamSpec('action', 'continuous', dim=A)
  spec = heads.HeadSpec(action, chosen, steps)
  init = jax.jit(heads.make(spec).init)
  params = init(KEY, jnp.zeros((1, 1, D)))['params']
  return heads.Reader(spec, params, {})


def _data(valid=None):
  """(read [B, T, D], target [B, T, C, A], bool [B, T, C])."""
  rng = np.random.default_rng(0)
  read_BTD = rng.normal(size=(B, T, D)).astype(np.float32)
  target = rng.normal(size=(B, T, C, A)).astype(np.float32)
  if valid is None:
    valid = rng.uniform(size=(B, T, C)) < 0.6
  return read_BTD, target, valid


def test_the_loss_equals_a_loop():
  reader = _reader()
  read_BTD, target, valid_BTC = _data()
  each, measures = jax.device_get(
    jax.jit(reader.loss)(read_BTD, target, valid_BTC, KEY)
  )
  noise_key, time_key = jax.random.split(KEY)
  noise = np.asarray(jax.random.normal(noise_key, target.shape), np.float64)
  tau_BT = np.asarray(flow.times(time_key, (B, T), flow.Settings()), np.float64)
  x = np.zeros((B, T, C, A))
  for b, t, c in np.argwhere(valid_BTC):
    tau = tau_BT[b, t]
    x[b, t, c] = (1 - tau) * noise[b, t, c] + tau * target[b, t, c]
  query = jnp.asarray(x, jnp.float32), jnp.asarray(tau_BT, jnp.float32)
  velocity = np.asarray(jax.jit(reader)(read_BTD, query))
  for b, t, c in np.ndindex(B, T, C):
    error_A = velocity[b, t, c] - (target[b, t, c] - noise[b, t, c])
    error_A *= valid_BTC[b, t, c]
    expected = np.mean(error_A**2), np.abs(error_A).mean() * (1 - tau_BT[b, t])
    given = each[b, t, c], measures['absolute_error'][b, t, c]
    # An operand of bf16 may round the other way.
    np.testing.assert_allclose(given, expected, rtol=1e-2, atol=1e-6)
  assert 0 < valid_BTC.sum() < valid_BTC.size


def test_what_is_not_valid_changes_no_bit():
  reader = _reader()
  read_BTD, target, valid_BTC = _data()

  def total(params, target):
    own = heads.Reader(reader.spec, params, {})
    each, measures = own.loss(read_BTD, target, valid_BTC, KEY)
    return jnp.where(valid_BTC, each, 0.0).sum(), measures

  run = jax.jit(jax.value_and_grad(total, has_aux=True))
  clean = run(reader.params, target)
  for garbage in (np.nan, np.inf, 1e30):
    dirty = np.where(valid_BTC[..., None], target, np.float32(garbage))
    jax.tree.map(
      np.testing.assert_array_equal, run(reader.params, dirty), clean
    )
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(clean))


def test_the_steps_of_a_chunk_see_each_other_and_the_time():
  reader = _reader()
  read_BTD, x, _ = _data()
  tau_BT = jnp.full((B, T), 0.3)

  def one(read_BTD, x, tau_BT):
    return reader(read_BTD, (x, tau_BT))[0, 1, 2].sum()

  by_read, by_x, by_tau = jax.jit(jax.grad(one, (0, 1, 2)))(
    jnp.asarray(read_BTD), jnp.asarray(x), tau_BT
  )
  for grad in (by_read, by_x, by_tau):
    assert (np.abs(grad[0, 1]) > 0).all()
    others = np.delete(np.asarray(grad).reshape(B * T, -1), 1, axis=0)
    np.testing.assert_array_equal(others, 0)


def test_draws_follow_the_velocity_and_their_key():
  reader = _reader(euler=3)
  read_BTD = _data()[0]
  velocity, sample = jax.jit(reader), jax.jit(reader.sample, static_argnums=2)
  draws = np.asarray(sample(read_BTD, KEY, 4))
  assert draws.shape == (4, B, T, C, A)
  x = np.asarray(jax.random.normal(jax.random.split(KEY, 4)[2], (B, T, C, A)))
  for i in range(3):
    tau_BT = jnp.full((B, T), i / 3)
    x = x + np.asarray(velocity(read_BTD, (x, tau_BT))) / 3
  np.testing.assert_allclose(draws[2], x, atol=2e-2)
  np.testing.assert_array_equal(sample(read_BTD, KEY, 4), draws)
  others = np.asarray(sample(read_BTD, jax.random.key(1), 4))
  assert not np.isin(others, draws).any()
  assert len(np.unique(draws)) == draws.size


@pytest.mark.parametrize('alpha', [1.0, 1.5])
def test_times_are_of_their_distribution(alpha):
  tau_N = np.sort(flow.times(KEY, (4000,), flow.Settings(alpha=alpha)))
  assert 0 <= tau_N[0] and tau_N[-1] <= 1
  expected_N = 1 - (1 - tau_N) ** alpha  # P(1 - u <= tau), u of Beta(alpha, 1).
  empirical_N = (np.arange(4000) + 0.5) / 4000
  assert np.abs(empirical_N - expected_N).max() < 0.03


def test_logit_normal_times_lie_in_the_middle():
  """Their logits are of the normal that was asked for."""
  chosen = flow.Settings(times='logit_normal', mean=0.5, deviation=2.0)
  tau_N = np.float64(flow.times(KEY, (4000,), chosen))
  logit_N = (np.log(tau_N) - np.log1p(-tau_N) - 0.5) / 2
  assert stats.kstest(logit_N, 'norm').statistic < 0.03


def test_faults():
  unit = StreamSpec('unit', 'discrete', vocab=3)
  with pytest.raises(ValueError, match="'unit': found 'flow' for a discrete"):
    heads.make(heads.HeadSpec(unit, flow.Settings()))
  for name, value in (('euler', 0), ('alpha', 0.0), ('depth', 0), ('width', 0)):
    config = settings.plugin('models/heads', 'flow', **{name: value})
    with pytest.raises(ValueError, match=f'head.{name}: found {value}'):
      settings.unplugged('models/heads', config, 'head')
