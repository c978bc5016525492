"""A point goes through a narrow gap in a wall to a goal behind it.

What misses the gap runs into the wall and stays where it is: nothing ends, but
nothing goes on either, as of a robot that is to insert something. It takes
little precision anywhere but at the gap.

After gymnax's interface (`reset_env`, `step_env`), of our own: positions within
-1 and 1, an action is a velocity of at most `SPEED` a step, moved by a little
noise; the reward is 1 at the goal, where the episode ends.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rpt_jax.envs.gymnax import raster
from rpt_jax.types import Array

GOAL, ENTRY, GAP = (0.0, 0.8), (0.0, -0.1), 0.06  # Half of its width; y = 0.
REACHED = 0.15  # A radius.
SPEED, NOISE = 0.1, 0.01  # A step, and its standard deviation.
NAMES = ('x', 'y')

_ORANGE, _TEAL, _STEEL = (250, 150, 50), (70, 210, 190), (186, 196, 214)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """Where the point is."""

  x: Array
  y: Array

  def replace(self, **changes) -> 'State':
    """The state with other values."""
    return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Gate:
  """The simulator."""

  default_params: Any = None

  def reset_env(self, key, params):
    """(observation, state) of an episode that begins before the wall."""
    del params
    x, y = jax.random.uniform(key, (2,), minval=-1.0)
    state = State(0.8 * x, -0.75 + 0.15 * y)
    return self._seen(state), state

  def step_env(self, key, state, action, params):
    """(observation, state, reward, whether it ends, {})."""
    del params
    moved = SPEED * action + NOISE * jax.random.normal(key, (2,))
    x = (state.x + moved[0]).clip(-1.0, 1.0)
    y = (state.y + moved[1]).clip(-1.0, 1.0)
    across = (state.y < 0) != (y < 0)
    # Where the way meets the wall.
    share = state.y / jnp.where(across, state.y - y, 1.0)
    blocked = across & (jnp.abs(state.x + share * (x - state.x)) > GAP)
    x, y = jnp.where(blocked, state.x, x), jnp.where(blocked, state.y, y)
    state = State(x, y)
    reached = jnp.hypot(x - GOAL[0], y - GOAL[1]) < REACHED
    return self._seen(state), state, jnp.float32(reached), reached, {}

  def _seen(self, state):
    return jnp.stack([state.x, state.y])


def physical(state):
  """Where the point is."""
  return state.x, state.y


def expert(state):
  """To a place before the gap, as fast as it can; straight through; on."""
  aligned = jnp.abs(state.x) < GAP / 2
  past = (state.y >= 0) | (aligned & (state.y > 2 * ENTRY[1]))
  move_x = jnp.where(past, GOAL[0], ENTRY[0]) - state.x
  move_y = jnp.where(past, GOAL[1], ENTRY[1]) - state.y
  move = jnp.stack([move_x, move_y]) / SPEED
  return move / jnp.maximum(jnp.linalg.norm(move), 1.0)


def backdrop(scene):
  """The wall and the goal; the gap wider than it is, to be legible."""
  xy, gap = raster.grid(scene.shift), 3 * GAP
  half = 13.0 * (1.0 - gap)
  left, right = (_pixel(side * (1.0 + gap) / 2, 0.0) for side in (-1.0, 1.0))
  return raster.repaint(
    scene,
    [
      (raster.box(xy, left, (half, 1.0)), _STEEL),
      (raster.box(xy, right, (half, 1.0)), _STEEL),
      (raster.disc(xy, _pixel(*GOAL), 26.0 * REACHED), _TEAL),
    ],
  )


def draw(_, state, scene):
  """The point."""
  xy = raster.grid(scene.shift)
  return raster.paint(
    scene, [(raster.disc(xy, _pixel(state.x, state.y), 3.0), _ORANGE)]
  )


def _pixel(x, y):
  return 32.0 + 26.0 * x, 32.0 - 26.0 * y
