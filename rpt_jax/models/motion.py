"""What changed since the step before, and how a state carries that step along.

A frame shows no velocity, and a small trunk hardly learns to subtract one frame
from another; so streams may be read as [x_t, x_t - x_(t-1)].

A difference would give away what is hidden: x_t - x_(t-1) beside x_t is
x_(t-1), and so is the next difference with what lies before. It is therefore
zero unless both steps are visible: there, and not hidden by an objective.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from rpt_jax.types import Array, PyTree, StreamSpec


class Last(NamedTuple):
  """The last step of a stream that a model has read.

  `visible_B` is False where nothing was, `x_BD` may then be anything.
  """

  x_BD: Array
  visible_B: Array


class Carried(NamedTuple):
  """What a model takes along from one window to the next.

  `trunk` is what its trunk carries, `last` {stream: Last} of those read with
  their motion.
  """

  trunk: PyTree
  last: dict[str, Last]


def start(streams: Sequence[StreamSpec], trunk: PyTree, batch: int) -> Carried:
  """What is carried when `batch` episodes begin: no stream has a last step."""
  last = {
    s.name: Last(jnp.zeros((batch, s.dim)), jnp.zeros(batch, bool))
    for s in streams
    if s.motion
  }
  return Carried(trunk, last)


def change(
  x_BTD: Array, visible_BT: Array, last: Last | None = None
) -> tuple[Array, Last]:
  """x_t - x_(t-1), zeros unless both are visible; and the last step.

  Args:
    x_BTD: finite, also where it is not visible.
    last: the step before the first; None: there is none.
  """
  if last is None:
    last = Last(jnp.zeros_like(x_BTD[:, 0]), jnp.zeros_like(visible_BT[:, 0]))
  before_BTD = jnp.concatenate([last.x_BD[:, None], x_BTD[:, :-1]], axis=1)
  seen_BT = jnp.concatenate(
    [last.visible_B[:, None], visible_BT[:, :-1]], axis=1
  )
  both_BT1 = (visible_BT & seen_BT)[..., None]
  change_BTD = jnp.where(both_BT1, x_BTD - before_BTD, 0.0)
  return change_BTD, Last(x_BTD[:, -1], visible_BT[:, -1])
