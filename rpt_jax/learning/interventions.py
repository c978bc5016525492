"""Whose step it was: classes, what each counts, and which episodes are kept.

Sirius (Liu et al. 2022, arXiv 2211.08416): where a human took over is where a
policy has most to learn, what it did just before is what led there, and the
rest of its own steps are worth less than a demonstration. Of the published code
(UT-Austin-RPL/sirius) the memory keeps what it should drop, so that it is made
here as the paper says.
"""

import jax
import jax.numpy as jnp

from rpt_jax.results import Deployed
from rpt_jax.types import Array

# Of the robot, of the expert who took over, of the robot just before that.
CLASSES = DEMO, ROBOT, INTERVENTION, BEFORE = range(4)
# Least and most frequently intervened, first in first out, first in last out.
STRATEGIES = (
  Deployed.LFI,
  Deployed.MFI,
  Deployed.FIFO,
  Deployed.FILO,
  Deployed.RANDOM,
)


def classes(expert_NT: Array, before: int) -> Array:
  """Classes int32 [N, T] of deployed episodes.

  `expert_NT` says where the expert acted; the `before` steps of the robot
  before it took over are a class of their own.
  """
  earlier_NT = jnp.pad(expert_NT[:, :-1], ((0, 0), (1, 0)))
  taken_NT = expert_NT & ~earlier_NT
  t_T = jnp.arange(expert_NT.shape[1])
  never = expert_NT.shape[1] + before
  next_NT = jnp.where(taken_NT, t_T[None], never)
  next_NT = jax.lax.cummin(next_NT, axis=1, reverse=True)
  soon_NT = next_NT - t_T[None] <= before
  robot_NT = jnp.where(soon_NT, BEFORE, ROBOT)
  return jnp.where(expert_NT, INTERVENTION, robot_NT)


def weights(count_C: Array, intervention: float, before: float) -> Array:
  """What a step of each class counts, [4], so that all together count 1.

  The classes are to have the shares P* of what is learned from: interventions
  and what was before them those that are given, demonstrations what they have
  anyway, and the robot the rest; a step counts P*(c) / count. Where
  demonstrations are so many that nothing would be left for the robot, they have
  the rest (the paper's robot would count less than nothing); the shares of
  classes without a step fall to the others.
  """
  share_C = count_C / jnp.maximum(count_C.sum(), 1)
  rest = 1.0 - intervention - before
  demo = jnp.minimum(share_C[DEMO], rest)
  wanted_C = jnp.stack([demo, rest - demo, intervention, before])
  wanted_C = jnp.where(count_C > 0, wanted_C, 0.0)
  each_C = wanted_C / jnp.maximum(count_C, 1)
  return each_C / jnp.maximum(wanted_C.sum(), 1e-12)


def kept(
  strategy: Array,
  size: Array,
  member_E: Array,
  intervened_E: Array,
  age_E: Array,
  key: Array,
) -> Array:
  """Which of the episodes a memory keeps, bool [E], `size` at most.

  Args:
    strategy: index into STRATEGIES, which say what is dropped first: what was
      intervened in least or most, what is oldest or newest, or any.
    member_E: bool, what there is to choose from.
    intervened_E: steps of the expert in each.
    age_E: the larger, the older; decides between equals.
  """
  any_E = jax.random.uniform(key, member_E.shape)
  values = jnp.stack([intervened_E, -intervened_E, -age_E, age_E, any_E])
  value_E = jnp.where(member_E, values[strategy], -jnp.inf)
  order_E = jnp.lexsort((age_E, -value_E))  # The last key counts most.
  place_E = jnp.zeros_like(order_E).at[order_E].set(jnp.arange(len(order_E)))
  return member_E & (place_E < size)
