"""A step of the sequence model: golden, learning, equal on 1 and 8 devices."""

import functools

import jax
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import masked_units
from rpt_jax.training import optimizer, sharding, step, trainer
from rpt_jax.types import StreamSpec

B, T, D, V = 16, 8, 6, 5
SETTINGS = masked_units.Settings(mask_probability=0.8, span=3, alpha=0.5)
STREAMS = (StreamSpec('latent', 'continuous', dim=D),)
UNIT = StreamSpec('unit', 'discrete', vocab=V)
MODEL = sequence.SequenceModel(
  STREAMS,
  masked_units.heads(SETTINGS, STREAMS, (UNIT,)),
  transformer.Settings(2, 4),
  16,
  T,
  visibility=masked_units.VISIBILITY,
)
TX = optimizer.adamw(3e-3, 150)


def _loss(params, batch, key):
  apply = sequence.bind(MODEL, params)
  return masked_units.loss(apply, batch, key, SETTINGS)


@functools.cache
def _params():
  return sequence.init(MODEL, jax.random.key(0))


def _batch():
  rng = np.random.default_rng(0)
  unit = rng.integers(0, V, (B, T, 1)).astype(np.int32)
  codes = rng.normal(size=(V, D)).astype(np.float32)
  lengths = rng.integers(4, T + 1, B)
  return {
    'inputs': {'latent': codes[unit[..., 0]]},
    'targets': {'unit': unit},
    'valid': np.arange(T)[None] < lengths[:, None],
  }


def _one_step(mesh=None):
  """Metrics and state after a step, on one device or a mesh."""
  if mesh is None:
    alone = dict.fromkeys(sharding.AXES, 1)
    mesh = sharding.make_mesh(alone, jax.devices()[:1])
  params = _params()
  trained = trainer.make(
    lambda key: params, _loss, TX, mesh, rules=sequence.sharding(MODEL)
  )
  batch = sharding.shard_batch(_batch(), mesh)
  state = trained.init(jax.random.key(0))
  key = jax.device_put(jax.random.key(1), state.key.sharding)
  state, metrics = trained.step(state._replace(key=key), batch)
  return step.read_metrics(metrics), state


@pytest.fixture(scope='module')
def single():
  return _one_step()


def test_golden(single):
  """What one step gives; a diff here means training changed: say why."""
  metrics, _ = single
  golden = {
    'loss': 2.4613,
    'grad_norm': 8.542,
    'masked_fraction': 34 / 49,
  }
  for name, value in golden.items():
    np.testing.assert_allclose(metrics[name], value, rtol=2e-3, err_msg=name)
  assert metrics['skipped'] == 0


@pytest.mark.parametrize('sizes', [(8, 1, 1), (1, 8, 1), (2, 2, 2)])
def test_a_mesh_changes_nothing(single, sizes):
  mesh = sharding.make_mesh(dict(zip(sharding.AXES, sizes, strict=True)))
  metrics, state = _one_step(mesh)
  for name, value in single[0].items():
    np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)
  # Moments are linear in the gradient; parameters follow its sign, which is
  # noise where it is zero (a key's bias moves no softmax).
  moments, expected = (s.opt_state[1][0].mu for s in (state, single[1]))
  scale = max(np.abs(x).max() for x in jax.tree.leaves(expected))
  for a, b in zip(
    jax.tree.leaves(moments), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-5 * scale)
  kernel = state.params['trunk']['blocks']['up']['kernel']
  moment = moments['trunk']['blocks']['up']['kernel']
  assert kernel.sharding == moment.sharding
  assert kernel.sharding.is_fully_replicated == (sizes == (8, 1, 1))


def test_a_tiny_batch_is_learnt():
  state = step.init_state(_params(), TX, jax.random.key(1))
  train_step = step.make_train_step(_loss, TX)
  batch, values = _batch(), []
  for _ in range(150):
    state, metrics = train_step(state, batch)
    values.append(step.read_metrics(metrics))
  last = values[-30:]  # Each hides other steps.
  assert np.mean([v['unmasked_accuracy'] for v in last]) > 0.95
  # By heart: chance is 0.2.
  assert np.mean([v['masked_accuracy'] for v in last]) > 0.4


def test_a_step_does_not_eat_the_parameters_it_started_from():
  _one_step()
  assert not any(x.is_deleted() for x in jax.tree.leaves(_params()))


def _quadratic(params, batch, key):
  """A loss whose constant part has no gradient; what it drew as a metric."""
  loss = ((params['kernel'] - batch['x'].mean()) ** 2).sum() + batch['constant']
  return loss, {'drawn': (jax.random.uniform(key), np.float32(1))}


def _of_quadratic(constant, accumulate=1):
  tx = optimizer.adamw(0.1, 10)
  params = {'kernel': np.ones(3, np.float32)}
  state = step.init_state(params, tx, jax.random.key(2))
  batch = {'x': np.arange(4.0, dtype=np.float32), 'constant': constant}
  update = jax.jit(step.step_fn(_quadratic, tx, accumulate=accumulate))
  return state, *update(state, batch)


@pytest.mark.parametrize('constant', (np.inf, -np.inf, np.nan))
def test_a_loss_that_is_not_finite_is_skipped_though_its_gradient_is(constant):
  before, after, metrics = _of_quadratic(np.float32(constant))
  assert np.isfinite(metrics['grad_norm']) and metrics['skipped'] == 1
  for a, b in zip(
    jax.tree.leaves((before.params, before.opt_state)),
    jax.tree.leaves((after.params, after.opt_state)),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)
  assert int(after.step) == 1


def test_every_micro_batch_draws_its_own():
  state, _, metrics = _of_quadratic(np.float32(0), accumulate=2)
  key = jax.random.fold_in(state.key, 0)
  drawn = [jax.random.uniform(jax.random.fold_in(key, i)) for i in range(2)]
  total, count = metrics['drawn']
  np.testing.assert_allclose(total, sum(drawn), rtol=1e-6)
  assert count == 2 and drawn[0] != drawn[1]
