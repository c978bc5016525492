"""Pretraining reads no action and no reward: changing them changes nothing."""

import jax
import numpy as np
import pytest

from rpt_jax.models import sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import masked_units, next_units
from rpt_jax.types import StreamSpec

B, T, D, V = 2, 6, 3, 5
STREAMS = (StreamSpec('latent', 'continuous', dim=D),)
UNIT = StreamSpec('unit', 'discrete', vocab=V)
TRUNK = transformer.Settings(1, 2)
OBJECTIVES = {  # With all that each can predict.
  masked_units: (masked_units.Settings(span=2), (UNIT,)),
  next_units: (next_units.Settings(horizon=2), (UNIT, *STREAMS)),
}


@pytest.mark.parametrize('objective', OBJECTIVES)
def test_actions_and_rewards_change_nothing(objective):
  settings, targets = OBJECTIVES[objective]
  heads = objective.heads(settings, STREAMS, targets)
  model = sequence.SequenceModel(
    STREAMS,
    heads,
    transformer.Settings(1, 2),
    16,
    T,
    visibility=objective.VISIBILITY,
  )
  params = sequence.init(model, jax.random.key(0))
  rng = np.random.default_rng(0)
  latent = rng.normal(size=(B, T, D)).astype(np.float32)

  @jax.jit
  def gradient(params, batch):
    def loss(params):
      apply = sequence.bind(model, params)
      return objective.loss(apply, batch, jax.random.key(1), settings)[0]

    return jax.value_and_grad(loss)(params)

  def run(action, reward):
    batch = {
      'inputs': {'latent': latent, 'action': action, 'reward': reward},
      'targets': {
        'unit': np.zeros((B, T, 1), np.int32),
        'latent': latent,
        'action': action,
      },
      'valid': np.ones((B, T), bool),
    }
    return gradient(params, batch)

  zero = run(np.zeros((B, T)), np.zeros((B, T)))
  other = run(np.full((B, T), np.nan), rng.normal(size=(B, T)))
  assert float(zero[0]) > 0
  for a, b in zip(jax.tree.leaves(zero), jax.tree.leaves(other), strict=True):
    np.testing.assert_array_equal(a, b)
