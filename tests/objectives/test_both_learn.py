"""Both objectives learn how actions move a robot, better than guesses.

A damped oscillator pushed by smooth actions, filmed: `proprio` is position and
velocity, `latent/camera` a fixed nonlinear picture of the position.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import presets, sequence
from rpt_jax.objectives import masked_streams, next_streams
from rpt_jax.training import optimizer, step
from rpt_jax.types import StreamSpec

B, T = 64, 16
STREAMS = (
  StreamSpec('latent/camera', 'continuous', dim=8),
  StreamSpec('proprio', 'continuous', dim=2),
  StreamSpec('action', 'continuous', dim=1),
)
NAMES = tuple(s.name for s in STREAMS)
SETTINGS = {
  masked_streams: masked_streams.Settings('token', (0.5, 0.7)),
  next_streams: next_streams.Settings(),
}


def _trajectories(size, seed):
  """Standardised windows of `size` oscillators, each with its own start."""
  rng = np.random.default_rng(seed)
  state = rng.normal(size=(size, 2))
  phase, rate = rng.uniform(0, 6, size), rng.uniform(0.5, 2.5, size)
  picture = np.random.default_rng(0).normal(size=(2, 8))
  found = {'proprio': [], 'action': [], 'latent/camera': []}
  for t in range(T):
    action = np.sin(phase + rate * t)
    position = np.stack([state[:, 0], np.ones(size)], 1)
    found['proprio'].append(state)
    found['action'].append(action[:, None])
    found['latent/camera'].append(np.tanh(position @ picture))
    velocity = 0.9 * state[:, 1] - 0.6 * state[:, 0] + 1.2 * action
    state = np.stack([state[:, 0] + 0.5 * velocity, velocity], 1)
  arrays = {k: np.stack(x, 1).astype(np.float32) for k, x in found.items()}
  return {
    k: (x - x.mean((0, 1), keepdims=True)) / x.std((0, 1), keepdims=True)
    for k, x in arrays.items()
  }


def _trained(objective, steps):
  """Metrics on trajectories never trained on."""
  settings = SETTINGS[objective]
  size = presets.SIZES['paper'] | {'width': 64}
  model = sequence.SequenceModel(
    STREAMS,
    objective.heads(settings, STREAMS, STREAMS),
    context=T,
    visibility=objective.VISIBILITY,
    **size,
  )
  data = _trajectories(4096, seed=1)
  valid_BT = np.ones((B, T), bool)

  def loss_fn(params, inputs, key):
    batch = {'inputs': inputs, 'valid': valid_BT}
    apply = sequence.bind(model, params)
    return objective.loss(apply, batch, key, settings)

  tx = optimizer.adamw(3e-3, steps, warmup=0.1)
  params = sequence.init(model, jax.random.key(0))
  state = step.init_state(params, tx, jax.random.key(1))
  update = step.make_train_step(loss_fn, tx)
  rng = np.random.default_rng(2)
  for _ in range(steps):
    rows = rng.integers(0, 4096, B)
    state, _ = update(state, {k: x[rows] for k, x in data.items()})
  _, metrics = jax.jit(loss_fn)(
    state.params,
    jax.tree.map(jnp.asarray, _trajectories(B, seed=3)),
    jax.random.key(4),
  )
  return step.read_metrics(metrics)


@pytest.mark.slow
def test_masked_streams_fill_in_better_than_interpolation():
  found = _trained(masked_streams, 600)
  print(found)
  for name in NAMES:
    assert found[f'error/{name}'] < found[f'interpolation/{name}']
  assert found['error/proprio'] < 0.5 * found['interpolation/proprio']


@pytest.mark.slow
def test_next_streams_predict_better_than_going_on():
  found = _trained(next_streams, 400)
  print(found)
  for name in NAMES:
    assert found[f'error/{name}'] < found[f'copy_last/{name}']
  assert found['error/proprio'] < 0.5 * found['linear/proprio']
