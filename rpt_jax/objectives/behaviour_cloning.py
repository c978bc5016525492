"""Behaviour cloning: predict the next C actions at once.

Discrete actions are classified, continuous ones (normalised by the caller)
regressed. A causal trunk learns at every step; any other has seen the future
of all steps but the last, so that it learns at the last one only.
"""

import jax.numpy as jnp

from rpt_jax.models import visibility
from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, StreamSpec

VISIBILITY = 'causal'


def heads(
  config: dict,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One linear head: logits or values of a chunk of actions."""
  del streams
  action = targets_lib.spec(targets, 'action', 'behaviour_cloning')
  size = action.vocab if action.kind == 'discrete' else action.dim
  return (HeadSpec('action', 'linear', dim=size, steps=config['chunk']),)


def loss(apply, batch: dict, key: Array, config: dict):
  """Cross-entropy or squared error of the next `chunk` actions.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM) -> model output`.
    batch: 'targets' 'action', integers [B, S] or floats [B, S, A]; action[t]
      follows the observation at t; S >= T, see `objectives/targets.py`.
    config: 'chunk', 'visibility' (of the trunk).

  Returns:
    (loss, metrics as (sum, count)).
  """
  del key
  valid_BT = batch['valid']
  if config['visibility'] not in visibility.CAUSAL:
    last = jnp.arange(valid_BT.shape[1]) == valid_BT.shape[1] - 1
    learn_BT = valid_BT & last[None]
  else:
    learn_BT = valid_BT
  predicted = apply(batch['inputs'], valid_BT, None)['heads']['action']
  action = batch['targets']['action']
  target, valid_BTC = targets_lib.ahead(action, batch, 0, config['chunk'])
  valid_BTC &= learn_BT[..., None]
  if jnp.issubdtype(action.dtype, jnp.integer):
    nats_BTC = targets_lib.cross_entropy(predicted, target)
    right_BTC = (predicted.argmax(-1) == target).astype(jnp.float32)
    return targets_lib.mean(nats_BTC, valid_BTC), {
      'accuracy': targets_lib.pair(right_BTC, valid_BTC)
    }
  error = jnp.where(valid_BTC[..., None], predicted - target, 0.0)
  return targets_lib.mean((error**2).mean(-1), valid_BTC), {
    'absolute_error': targets_lib.pair(jnp.abs(error).mean(-1), valid_BTC)
  }


def actions(output: dict, action: StreamSpec) -> Array:
  """The chunk a policy plays after the window's last step.

  int32 [B, C] (the likeliest) or float [B, C, A] (as predicted, still
  normalised).
  """
  predicted = output['heads']['action'][:, -1]
  if action.kind == 'discrete':
    return predicted.argmax(-1).astype(jnp.int32)
  return predicted
