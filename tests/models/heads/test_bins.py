"""Bins: edges and loss as NumPy has them, numbers there and back, policies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.models import heads, sequence
from rpt_jax.models.heads import bins
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Policy
from rpt_jax.types import StreamSpec

B, T, C, A, D = 2, 3, 4, 3, 5
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ACTION = StreamSpec('action', 'continuous', dim=A)
ENCODE = jax.jit(bins.encode, static_argnums=2)
DECODE = jax.jit(bins.decode, static_argnums=2)
DEMOS = (RNG.normal(size=(50, A)) * [1.0, 0.01, 20.0]).astype(np.float32)


@functools.cache
def _params(spec):
  return jax.jit(heads.make(spec).init)(KEY, jnp.zeros((1, 1, D)))['params']


def _reader(rows=DEMOS, **changes):
  """A head of 8 bins fitted to rows, its parameters random."""
  spec = heads.HeadSpec(ACTION, bins.Settings(8, **changes), C)
  params = _params(heads.HeadSpec(ACTION, bins.Settings(8), C))
  return heads.Reader(spec, params, bins.fit(rows, spec))


def _edges(rows, count, quantiles=(0.01, 0.99)):
  """[dim, count + 1] in float64."""
  low_A, high_A = np.quantile(np.float64(rows), quantiles, axis=0)
  return np.linspace(low_A, high_A, count + 1, axis=1)


@pytest.mark.parametrize('quantiles', [(0.01, 0.99), (0.0, 0.8)])
def test_bins_lie_between_quantiles(quantiles):
  reader = _reader(quantiles=quantiles)
  edges = _edges(DEMOS, 8, quantiles)
  np.testing.assert_allclose(reader.constants['low'], edges[:, 0], rtol=1e-5)
  np.testing.assert_allclose(reader.constants['high'], edges[:, -1], rtol=1e-5)
  given = np.asarray(ENCODE(reader.constants, DEMOS, 8))
  for n, a in np.ndindex(DEMOS.shape):
    expected = np.searchsorted(edges[a, 1:-1], DEMOS[n, a], side='right')
    distance = np.abs(edges[a] - DEMOS[n, a]).min() / np.ptp(edges[a])
    assert given[n, a] == expected or distance < 1e-5
  assert given.min() == 0 and given.max() == 7
  centres = np.asarray(DECODE(reader.constants, np.arange(8)[:, None], 8))
  middle = (edges[:, 1:] + edges[:, :-1]) / 2
  np.testing.assert_allclose(centres.T, middle, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('count', [2, 256])
def test_there_and_back_is_half_a_bin_away_at_most(count):
  constants = _reader().constants
  low_A, high_A = (np.asarray(constants[k]) for k in ('low', 'high'))
  share_N1 = np.linspace(0, 1, 1000, dtype=np.float32)[:, None]
  x_NA = low_A[None] + share_N1 * (high_A - low_A)[None]
  back_NA = DECODE(constants, ENCODE(constants, x_NA, count), count)
  # As many bins as edges less one: none is empty, the last included.
  assert all(
    len(np.unique(a)) == count for a in ENCODE(constants, x_NA, count).T
  )
  half_A = (high_A - low_A) / count / 2
  assert (np.abs(back_NA - x_NA) <= half_A[None] * (1 + 1e-3)).all()
  beyond = np.stack([low_A - 1e9, high_A + 1e9, -np.inf + low_A, low_A * 0])
  beyond[3] = np.nan
  given = ENCODE(constants, beyond, count)
  expected = np.array([0, count - 1, 0, 0])[:, None]
  np.testing.assert_array_equal(given, np.tile(expected, A))


def test_what_never_varies_and_a_single_row_work():
  rows = DEMOS.copy()
  rows[:, 1] = 0.1
  for few in (rows[:1], rows):
    reader = _reader(few)
    back = DECODE(reader.constants, ENCODE(reader.constants, few, 8), 8)
    np.testing.assert_allclose(back[:, 1], few[:, 1], rtol=1e-6)
    for moved in (few - 1, few + 1):  # It has one bin for whatever comes.
      assert (ENCODE(reader.constants, moved, 8)[:, 1] == 4).all()
  reader, read_BTD = _reader(rows[:1]), jnp.ones((B, T, D))
  centres = np.asarray(DECODE(reader.constants, np.arange(8)[:, None], 8))
  np.testing.assert_allclose(centres, np.tile(rows[:1], (8, 1)), rtol=1e-6)
  target = np.broadcast_to(rows[:1] + 1, (B, T, C, A))  # Of other episodes.
  valid_BTC = np.ones((B, T, C), bool)
  each, _ = jax.jit(reader.loss)(read_BTD, target, valid_BTC, KEY)
  assert np.isfinite(each).all()


def test_the_loss_equals_a_loop_and_looks_at_nothing_that_is_not_valid():
  reader = _reader()
  read_BTD = RNG.normal(size=(B, T, D)).astype(np.float32)
  target = DEMOS[: B * T * C].reshape(B, T, C, A)
  valid_BTC = RNG.uniform(size=(B, T, C)) < 0.5
  logits = np.float64(jax.jit(reader)(read_BTD))
  assert logits.shape == (B, T, C, A, 8)

  def total(params, target):
    own = heads.Reader(reader.spec, params, reader.constants)
    each, measures = own.loss(read_BTD, target, valid_BTC, KEY)
    kept = {k: jnp.where(valid_BTC, x, 0.0) for k, x in measures.items()}
    return jnp.where(valid_BTC, each, 0.0).sum(), (each, kept)

  run = jax.jit(jax.value_and_grad(total, has_aux=True))
  dirty = np.where(valid_BTC[..., None], target, np.nan)
  results = run(reader.params, target), run(reader.params, dirty)
  (total_nats, (each, measures)), grads = jax.device_get(results[0])
  other = jax.device_get(results[1])
  for clean, same in (
    (total_nats, other[0][0]),
    (measures['accuracy'], other[0][1][1]['accuracy']),
    *zip(jax.tree.leaves(grads), jax.tree.leaves(other[1]), strict=True),
  ):
    np.testing.assert_array_equal(clean, same)
  edges = _edges(DEMOS, 8)
  for b, t, c in np.argwhere(valid_BTC):
    nats, right = 0.0, 0
    for a in range(A):
      x = logits[b, t, c, a]
      label = np.searchsorted(edges[a, 1:-1], target[b, t, c, a], side='right')
      nats += np.log(np.exp(x).sum()) - x[label]
      right += x.argmax() == label
    np.testing.assert_allclose(each[b, t, c], nats, rtol=1e-4)
    np.testing.assert_allclose(measures['accuracy'][b, t, c], right / A)


@pytest.mark.parametrize('temperature', [0.0, 2.0])
def test_draws_are_centres_as_often_as_the_logits_say(temperature):
  reader = _reader(temperature=temperature)
  read_BTD = RNG.normal(size=(B, T, D)).astype(np.float32)
  logits = np.float64(jax.jit(reader)(read_BTD))
  sample = jax.jit(reader.sample, static_argnums=2)
  draws = np.asarray(sample(read_BTD, KEY, 2000))
  assert draws.shape == (2000, B, T, C, A)
  bin_of = np.asarray(ENCODE(reader.constants, draws, 8))
  centres = np.asarray(DECODE(reader.constants, bin_of, 8))
  np.testing.assert_allclose(centres, draws, rtol=1e-5, atol=1e-5)
  top = logits.max(-1, keepdims=True)
  odds = np.exp((logits - top) / max(temperature, 1e-6))
  share = (bin_of[..., None] == np.arange(8)).mean(0)
  expected = odds / odds.sum(-1, keepdims=True)
  np.testing.assert_allclose(share, expected, atol=0.06)
  np.testing.assert_array_equal(sample(read_BTD, KEY, 2000), draws)
  other = np.asarray(sample(read_BTD, jax.random.key(1), 2000))
  assert (other != draws).any() == bool(temperature)


def test_a_policy_keeps_its_bins(tmp_path):
  proprio = StreamSpec('proprio', 'continuous', dim=2)
  chosen = bins.Settings(8, quantiles=(0.1, 0.9), temperature=0.0)
  (head,) = behaviour_cloning.heads(chosen, C, (proprio,), ACTION)
  trunk = transformer.Settings(1, 2)
  model = sequence.SequenceModel((proprio,), (head,), trunk, 16, T)
  ones = {s.name: (np.zeros(s.dim), np.ones(s.dim)) for s in (proprio, ACTION)}
  fitted = bins.fit(DEMOS, head)
  params = sequence.init(model, KEY)
  policy = Policy(model, params, ones, constants={'action': fitted})
  policy.save(tmp_path / 'policy')
  loaded = Policy.load(tmp_path / 'policy')
  assert loaded.model == model
  for name, x_A in fitted.items():
    np.testing.assert_array_equal(loaded.weights.constants['action'][name], x_A)
  seen = {'proprio': np.ones((2, 2), np.float32)}
  actions = []
  for each in (policy, loaded):
    each.reset(2)
    actions.append(each.act(seen))
  np.testing.assert_array_equal(*actions)
  centres = np.asarray(DECODE(fitted, np.arange(8)[:, None], 8))
  distance = np.abs(actions[0].reshape(-1, 1, A) - centres[None]).min(1)
  np.testing.assert_allclose(distance, 0, atol=1e-5)


def test_the_dry_run_can_trace_it():
  spec = heads.HeadSpec(ACTION, bins.Settings(), C)
  shapes = jax.eval_shape(lambda x: bins.fit(x, spec), DEMOS)
  assert {k: x.shape for k, x in shapes.items()} == {'low': (A,), 'high': (A,)}


def test_faults():
  unit = StreamSpec('unit', 'discrete', vocab=3)
  with pytest.raises(ValueError, match="'unit': found 'bins' for a discrete"):
    heads.make(heads.HeadSpec(unit, bins.Settings()))
  with pytest.raises(ValueError, match="head of 'action': no row"):
    _reader(DEMOS[:0])
  for name, value in (
    ('bins', 1),
    ('quantiles', (0.9, 0.1)),
    ('quantiles', (0.5, 0.5)),
    ('quantiles', (0.0, 1.1)),
    ('temperature', -1.0),
  ):
    config = settings.plugin('models/heads', 'bins', **{name: value})
    with pytest.raises(ValueError, match=rf'head\.{name}: found'):
      settings.unplugged('models/heads', config, 'head')
