"""o_t, a_t, o_{t+1}: who sees what by gradient, targets against a loop."""

import fakes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import next_streams
from rpt_jax.types import StreamSpec

B, T, D, V, L = 6, 5, 3, 7, 2
STREAMS = (
  StreamSpec('latent/see', 'continuous', dim=D),
  StreamSpec('unit', 'discrete', vocab=V, levels=L),
  StreamSpec('action', 'continuous', dim=1),
)
NAMES = tuple(s.name for s in STREAMS)
SETTINGS = next_streams.Settings()
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
HEADS = {
  'latent/see': RNG.normal(size=(B, T, 1, D)),
  'unit': RNG.normal(size=(B, T, 1, L, V)),
  'action': RNG.normal(size=(B, T, 1, 1)),
}


def _batch(dirty=False):
  """Clips padded before, after and throughout, one without actions."""
  rng = np.random.default_rng(1)
  inputs = {
    'unit': rng.integers(0, V, (B, T, L)).astype(np.int32),
    'action': rng.normal(size=(B, T, 1)).astype(np.float32),
    'latent/see': rng.normal(size=(B, T, D)).astype(np.float32),
  }
  step = np.arange(T)[None]
  first, end = np.array([[0, 5], [0, 5], [2, 5], [0, 3], [0, 0], [1, 2]]).T
  valid_BT = (step >= first[:, None]) & (step < end[:, None])
  present_BTM = np.ones((B, T, 3), bool)
  present_BTM[1, :, 2] = False
  present_BTM[0, 2, 0] = False
  if dirty:
    for m, name in enumerate(NAMES):
      there = valid_BT & present_BTM[..., m]
      inputs[name][~there] = 10**6 if name == 'unit' else np.nan
  return {'inputs': inputs, 'valid': valid_BT, 'present': present_BTM}


def _said(inputs, valid_BT, corrupt_BTM, present_BTM):
  assert corrupt_BTM is None
  return {'reads': jax.tree.map(jnp.float32, HEADS)}


APPLY = fakes.Apply(_said, STREAMS)


def _reference(batch):
  """(what, stream) -> errors of its targets, one at a time."""
  found = {}
  for m, name in enumerate(NAMES):
    x, y = batch['inputs'][name], HEADS[name][:, :, 0]
    there = batch['valid'] & batch['present'][..., m]
    for b, t in np.argwhere(there):
      said = t if name == 'action' else t - 1
      if said < 0 or not batch['valid'][b, said]:
        continue
      seen = [s for s in range(t) if there[b, s]]
      if name == 'unit':
        nats = np.log(np.exp(y[b, said]).sum(-1))
        nats -= y[b, said][range(L), x[b, t]]
        same = x[b, seen[-1]] == x[b, t] if seen else np.zeros(L)
        errors = {'error': nats / np.log(V), 'copy_last': 1 - same}
        errors['wrong'] = y[b, said].argmax(-1) != x[b, t]
      else:
        copy = x[b, seen[-1]] if seen else 0.0
        line = copy
        if seen[-2:] == [t - 2, t - 1]:
          line = 2 * x[b, t - 1] - x[b, t - 2]
        guess = {'error': y[b, said], 'copy_last': copy, 'linear': line}
        errors = {k: (v - x[b, t]) ** 2 for k, v in guess.items()}
      for what, error in errors.items():
        found.setdefault(f'{what}/{name}', []).append(np.mean(error))
  return found


def test_loss_and_counts_equal_the_reference():
  batch = _batch()
  loss, metrics = jax.jit(
    lambda batch: next_streams.loss(APPLY, batch, KEY, SETTINGS)
  )(batch)
  found = _reference(batch)
  assert set(found) == set(metrics)
  for name, values in found.items():
    total, count = metrics[name]
    assert count == len(values), name
    np.testing.assert_allclose(total, np.sum(values), rtol=1e-5, err_msg=name)
  errors = [np.mean(found[f'error/{name}']) for name in NAMES]
  np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-5)
  # By hand: 5 + 5 + 3 + 3 + 0 + 1 steps, of which clip 1 has no action;
  # observations follow all but the first of each clip; one is absent.
  assert metrics['error/action'][1] == 12
  assert metrics['error/unit'][1] == 4 + 4 + 2 + 2
  assert metrics['error/latent/see'][1] == 4 + 4 + 2 + 2 - 1


def test_one_step_has_its_action_alone():
  batch = {'inputs': {k: x[:, :1] for k, x in _batch()['inputs'].items()}}
  batch['valid'] = np.ones((B, 1), bool)
  heads = {name: jnp.float32(y[:, :1]) for name, y in HEADS.items()}
  apply = fakes.Apply(lambda *_: {'reads': heads}, STREAMS)
  loss, metrics = next_streams.loss(apply, batch, KEY, SETTINGS)
  total, count = metrics['error/action']
  assert count == B and metrics['error/unit'][1] == 0
  np.testing.assert_allclose(loss, total / count, rtol=1e-6)


def _model(streams, depth):
  model = sequence.SequenceModel(
    streams,
    next_streams.heads(SETTINGS, streams, streams),
    transformer.Settings(depth, 2),
    16,
    T,
    visibility=next_streams.VISIBILITY,
  )
  return model, sequence.init(model, jax.random.key(0))


CAMERAS = tuple(
  StreamSpec(name, 'continuous', dim=D) for name in ('latent/a', 'latent/b')
)


@pytest.mark.parametrize('action', [True, False])
def test_causality_by_gradient(action):
  streams = CAMERAS + (STREAMS[2:] if action else ())
  model, params = _model(streams, depth=2)
  rng = np.random.default_rng(2)
  inputs = {
    s.name: rng.normal(size=(1, T, s.dim)).astype(np.float32) for s in streams
  }

  @jax.jit
  @jax.jacobian
  def outputs(inputs):
    apply = sequence.bind(model, params)
    reads = apply(inputs, np.ones((1, T), bool))['reads']
    return {k: apply.head(k)(x)[0, :, 0].sum(-1) for k, x in reads.items()}

  upto = np.tril(np.ones((T, T), bool))
  before = np.tril(upto, -1)
  for head, jacobian in outputs(inputs).items():
    for name, x in jacobian.items():
      influence = np.abs(x[:, 0]).max(-1)  # [said at, of step]
      sees = before if head == name == 'action' else upto
      np.testing.assert_array_equal(influence > 0, sees, f'{head} of {name}')


def test_absent_and_padded_change_no_bit_of_loss_and_gradients():
  model, params = _model(STREAMS, depth=1)

  @jax.jit
  def gradient(params, batch):
    def loss(params):
      apply = sequence.bind(model, params)
      return next_streams.loss(apply, batch, KEY, SETTINGS)

    return jax.value_and_grad(loss, has_aux=True)(params)

  clean, dirty = gradient(params, _batch()), gradient(params, _batch(True))
  for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
    assert np.isfinite(a).all()
    np.testing.assert_array_equal(a, b)
  free = _batch(True)
  free['present'][..., 2] = False
  (loss, metrics), grads = gradient(params, free)
  assert loss > 0 and metrics['error/action'] == (0, 0)
  assert not np.any(grads['head_action']['project']['kernel'])
  assert not np.any(grads['stem_action']['project']['kernel'])


def test_the_action_is_last():
  with pytest.raises(ValueError, match="expected 'action' last"):
    next_streams.heads(SETTINGS, STREAMS[::-1], STREAMS[::-1])
  with pytest.raises(ValueError, match="expected 'action' last"):
    next_streams.heads(SETTINGS, STREAMS[2:], STREAMS[2:])
  reads = [h.reads for h in next_streams.heads(SETTINGS, STREAMS, STREAMS)]
  assert reads == [
    ('latent/see', 'action'),
    ('unit', 'action'),
    ('latent/see', 'unit'),
  ]
