"""A point goes round an obstacle to a goal: on either side, or on one.

Which side the expert takes is drawn when an episode begins and shown to nobody,
so that the same observation is followed by one of two chunks of actions, in
equal shares; their mean runs into the obstacle. Twice the same simulator: of
`Detour` experts differ, of `OneWay` none does.

After gymnax's interface (`reset_env`, `step_env`), of our own: positions within
-1 and 1, an action is a velocity of at most `SPEED` a step, moved by a little
noise; the reward is 1 at the goal, where the episode ends, as it does in the
obstacle.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rpt_jax.envs.gymnax import raster
from rpt_jax.types import Array

START, GOAL, WAY = (0.0, -0.9), (0.0, 0.9), (0.6, 0.05)
OBSTACLE, REACHED = 0.35, 0.15  # Radii.
SPEED, NOISE = 0.1, 0.02  # A step, and its standard deviation.
NAMES = ('x', 'y')

_ORANGE, _TEAL, _RED = (250, 150, 50), (70, 210, 190), (240, 80, 80)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """Where the point is, and on which side its expert goes round: -1 or 1."""

  x: Array
  y: Array
  side: Array

  def replace(self, **changes) -> 'State':
    """The state with other values."""
    return dataclasses.replace(self, **changes)


@dataclasses.dataclass(frozen=True)
class Detour:
  """The simulator; `both`: experts go left and right in equal shares."""

  both: bool = True
  default_params: Any = None
  goal: tuple[float, float] = GOAL

  def reset_env(self, key, params):
    """(observation, state) of an episode that begins near `START`."""
    del params
    place_key, side_key = jax.random.split(key)
    x, y = 0.05 * jax.random.uniform(place_key, (2,), minval=-1.0)
    right = jax.random.bernoulli(side_key) if self.both else False
    side = jnp.where(right, 1.0, -1.0)
    state = State(START[0] + x, START[1] + y, side)
    return self._seen(state), state

  def step_env(self, key, state, action, params):
    """(observation, state, reward, whether it ends, {})."""
    del params
    moved = SPEED * action + NOISE * jax.random.normal(key, (2,))
    x = (state.x + moved[0]).clip(-1.0, 1.0)
    y = (state.y + moved[1]).clip(-1.0, 1.0)
    state = state.replace(x=x, y=y)
    hit = jnp.hypot(x, y) < OBSTACLE
    reached = jnp.hypot(x - self.goal[0], y - self.goal[1]) < REACHED
    reward = jnp.float32(reached)
    return self._seen(state), state, reward, hit | reached, {}

  def _seen(self, state):
    return jnp.stack([state.x, state.y])


def physical(state):
  """Where the point is."""
  return state.x, state.y


def expert(state):
  """At full speed past the obstacle on its side, then to the goal."""
  way_x = jnp.where(state.y < WAY[1], state.side * WAY[0], GOAL[0])
  way_y = jnp.where(state.y < WAY[1], WAY[1], GOAL[1])
  move = jnp.stack([way_x - state.x, way_y - state.y])
  return move / jnp.maximum(jnp.linalg.norm(move), 1e-3)


def backdrop(scene):
  """The obstacle and the goal."""
  xy = raster.grid(scene.shift)
  return raster.repaint(
    scene,
    [
      (raster.disc(xy, _pixel(0.0, 0.0), 26.0 * OBSTACLE), _RED),
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
