"""Behaviour cloning: predict the next C actions at once.

Discrete actions are classified, continuous ones (normalised by the caller)
regressed. A causal trunk learns at every step; any other has seen the future
of all steps but the last, so that it learns at the last one only. So does one
that sees actions, as every step but the last shows what to do there; the last
is hidden and its token read (RPT, arXiv 2306.10007).
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from rpt_jax.models import visibility
from rpt_jax.models.streams import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import Array, StreamSpec

VISIBILITY = 'causal'
ACTION = 'action'


def heads(
  config: dict,
  streams: tuple[StreamSpec, ...],
  targets: tuple[StreamSpec, ...],
) -> tuple[HeadSpec, ...]:
  """One linear head: logits or values of a chunk of actions.

  It reads the action's token where `streams`, those of the model, have one.
  """
  reads = tuple(s.name for s in streams if s.name == ACTION)
  action = targets_lib.spec(targets, ACTION, 'behaviour_cloning')
  size = action.vocab if action.kind == 'discrete' else action.dim
  return (
    HeadSpec(ACTION, 'linear', dim=size, steps=config['chunk'], reads=reads),
  )


def hidden(valid_BT: Array, streams: Sequence[str]) -> Array | None:
  """What a policy cannot know yet of a window: the action of its last step.

  `streams` are the names of the model's, in order. Bool [B, T, M], what
  `corrupt_BTM` is in training and in acting; None where no stream is the
  action.
  """
  if ACTION not in streams:
    return None
  last_T = np.arange(valid_BT.shape[1]) == valid_BT.shape[1] - 1
  action_M = np.asarray([name == ACTION for name in streams])
  hide_TM = last_T[:, None] & action_M[None]
  return jnp.broadcast_to(hide_TM[None], (len(valid_BT), *hide_TM.shape))


def loss(apply, batch: dict, key: Array, config: dict):
  """Cross-entropy or squared error of the next `chunk` actions.

  Args:
    apply: `apply(inputs, valid_BT, corrupt_BTM) -> model output`.
    batch: 'targets' 'action', integers [B, S] or floats [B, S, A]; action[t]
      follows the observation at t; S >= T, see `objectives/targets.py`.
    config: 'chunk', 'visibility' (of the trunk), 'streams' (the names of the
      model's, in order; none where no action is among them).

  Returns:
    (loss, metrics as (sum, count)).
  """
  del key
  valid_BT = batch['valid']
  corrupt_BTM = hidden(valid_BT, config.get('streams', ()))
  if corrupt_BTM is not None or config['visibility'] not in visibility.CAUSAL:
    last = jnp.arange(valid_BT.shape[1]) == valid_BT.shape[1] - 1
    learn_BT = valid_BT & last[None]
  else:
    learn_BT = valid_BT
  output = apply(batch['inputs'], valid_BT, corrupt_BTM)
  predicted = output['heads'][ACTION]
  action = batch['targets'][ACTION]
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
  predicted = output['heads'][ACTION][:, -1]
  if action.kind == 'discrete':
    return predicted.argmax(-1).astype(jnp.int32)
  return predicted
