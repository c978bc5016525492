"""A critic chooses among what a policy draws (value-guided policy steering).

Of K chunks that the head draws the one is played whose first actions are worth
most, or one drawn by softmax(Q / temperature) (V-GPS, Nakamoto et al. 2024,
arXiv 2410.13816, equation 2). With K = 1 it is the policy as it was, to the
bit; with an infinite temperature the choice is random, which is the control.
Where several actions of a chunk are played, a critic may value them together
(Q-chunking, Li et al. 2025, arXiv 2507.07969).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.episodes import scales
from rpt_jax.models.critic import Critic
from rpt_jax.types import ACTION, Array, PyTree

_OWN = 0xC417  # Folded into a key: drawing a choice moves no draw of the head.


@dataclasses.dataclass(frozen=True)
class Ranking:
  """Who ranks, and how.

  `streams` are what of a step the critic reads, side by side, in the units of
  the robot; `samples` is K; `actions` is how many of a chunk it values, side
  by side.
  """

  critic: Critic
  streams: tuple[str, ...]
  samples: int = 10
  actions: int = 1

  def check(self, program) -> None:
    """Raises ValueError where it cannot rank what such a policy draws."""
    names = [s.name for s in program.model.streams]
    if program.num_actions or program.execution.realtime:
      raise ValueError(
        'critic: discrete actions, or realtime chunks, expected continuous '
        'actions that are drawn anew, of which it can choose'
      )
    if missing := sorted(set(self.streams) - set(names)):
      raise ValueError(
        f'critic: reads {missing}, which the policy is not shown; expected '
        f'some of {names}'
      )
    if type(self.samples) is not int or self.samples < 1:
      raise ValueError(
        f'critic: samples={self.samples!r}, expected a whole number from 1 on'
      )
    if not 1 <= self.actions <= program.head.steps:
      raise ValueError(
        f'critic: values {self.actions} actions of a chunk, expected 1 to '
        f'{program.head.steps}, as many as are drawn'
      )


class Values(NamedTuple):
  """Arrays of a ranking: parameters, and the limit [A] of actions that is 1.

  `temperature` 0 takes the best, infinity any.
  """

  params: PyTree
  limit: Array
  temperature: float | Array = 0.0

  def check(self) -> None:
    """Raises ValueError for a temperature that is none."""
    if not self.temperature >= 0:
      raise ValueError(
        f'critic: temperature={self.temperature}, expected 0 (the best), a '
        'number above it, or infinity (any)'
      )


def choose(ranking: Ranking, weights, memory, chunk_BKCA, keys) -> Array:
  """One chunk [B, C, A] of K, standardised as they are; `keys` [B] typed."""
  if ranking.samples == 1:
    return chunk_BKCA[:, 0]
  value_BK = values(ranking, weights, memory, chunk_BKCA)
  temperature = weights.values.temperature
  logits_BK = value_BK / jnp.where(temperature > 0, temperature, 1.0)
  own = jax.vmap(jax.random.fold_in, (0, None))(keys, _OWN)
  drawn_B = jax.vmap(jax.random.categorical)(own, logits_BK)
  index_B = jnp.where(temperature > 0, drawn_B, value_BK.argmax(-1))
  index = index_B[:, None, None, None]
  return jnp.take_along_axis(chunk_BKCA, index, axis=1)[:, 0]


def values(ranking: Ranking, weights, memory, chunk_BKCA) -> Array:
  """[B, K]: what the first actions of a chunk are worth, the lesser value."""
  seen = [
    scales.invert(memory.windows[name][:, -1], weights.scales[name])
    for name in ranking.streams
  ]
  first_BKCA = chunk_BKCA[:, :, : ranking.actions]
  action_BKCA = scales.invert(first_BKCA, weights.scales[ACTION])
  action_BKCA = action_BKCA / weights.values.limit[None, None, None]
  action_BKD = action_BKCA.reshape(*action_BKCA.shape[:2], -1)
  state_BS = jnp.concatenate(seen, axis=-1)
  params = {'params': weights.values.params}
  return ranking.critic.apply(params, state_BS, action_BKD.clip(-1, 1)).min(0)
