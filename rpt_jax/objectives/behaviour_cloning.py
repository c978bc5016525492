"""Behaviour cloning: predict the next C actions at once.

How actions are given (by values, logits, samples) is the head's. A causal trunk
learns at every step; any other has seen the future of all steps but the last,
so that it learns at the last one only. So does one that sees actions, as every
step but the last shows what to do there; the last is hidden and its token read
(RPT, arXiv 2306.10007).
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from rpt_jax.models import visibility
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import targets as targets_lib
from rpt_jax.types import ACTION, Array, Batch, StreamSpec

VISIBILITY = 'causal'


def heads(
  head: Any, chunk: int, streams: Sequence[StreamSpec], action: StreamSpec
) -> tuple[HeadSpec, ...]:
  """One head, of the settings `head`, that gives a chunk of actions.

  It reads the action's token where `streams`, those of the model, have one.
  """
  reads = tuple(s.name for s in streams if s.name == ACTION)
  return (HeadSpec(action, head, chunk, reads),)


def hidden(valid_BT: Array, streams: Sequence[StreamSpec]) -> Array | None:
  """What a policy cannot know yet of a window: the action of its last step.

  `streams` are those of the model, in order. Bool [B, T, M], what
  `corrupt_BTM` is in training and in acting; None where no stream is the
  action.
  """
  names = [stream.name for stream in streams if stream.timed]
  if ACTION not in names:
    return None
  last_T = np.arange(valid_BT.shape[1]) == valid_BT.shape[1] - 1
  action_M = np.asarray([name == ACTION for name in names])
  hide_TM = last_T[:, None] & action_M[None]
  return jnp.broadcast_to(hide_TM[None], (len(valid_BT), *hide_TM.shape))


def loss(apply, batch: Batch, key: Array):
  """The head's loss of the next `chunk` actions.

  Args:
    apply: of `sequence.bind`, with a head of the next actions.
    batch: 'targets' 'action', integers [B, S, 1] or floats [B, S, A]; action[t]
      follows the observation at t; S >= T, see `objectives/targets.py`.

  Returns:
    (loss, metrics as (sum, count)).
  """
  valid_BT = batch['valid']
  corrupt_BTM = hidden(valid_BT, apply.streams)
  learn_BT = valid_BT
  if corrupt_BTM is not None or apply.visibility not in visibility.CAUSAL:
    last = jnp.arange(valid_BT.shape[1]) == valid_BT.shape[1] - 1
    learn_BT = valid_BT & last[None]
  output = apply(batch['inputs'], valid_BT, corrupt_BTM, batch.get('present'))
  head, action = apply.head(ACTION), batch['targets'][ACTION]
  target, valid_BTC = targets_lib.ahead(action, batch, 0, head.spec.steps)
  valid_BTC &= learn_BT[..., None]
  each_BTC, measures = head.loss(
    output['reads'][ACTION], target, valid_BTC, key
  )
  return targets_lib.mean(each_BTC, valid_BTC), {
    name: targets_lib.pair(x_BTC, valid_BTC) for name, x_BTC in measures.items()
  }
