"""Worlds that are not as a policy learned them: what makes it fail.

Each is a simulator of the catalogue with one change, of continuous actions:

  weak       actions do half of what they should: slow
  pushed     something pushes all the time, by 0.4 of the limit
  reversed   the first number of actions has the wrong sign
  shifted    what is measured first is off by 0.2: a camera was moved
  noisy      measurements scatter, with a deviation of 0.1
  moved      the goal of `Detour` lies elsewhere, and nothing shows it

Of `shifted` and `moved` a policy goes wrong with confidence.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from rpt_jax.envs.environment import Env
from rpt_jax.envs.gymnax.detour import Detour

_PUSH, _SHIFT, _NOISE, _GOAL = 0.4, 0.2, 0.1, (0.6, 0.6)


@dataclasses.dataclass(frozen=True)
class _Acted:
  """A simulator in which other actions are done than those it is given."""

  simulator: Any
  gain: float = 1.0
  first: float = 1.0  # Further gain of the first number.
  push: float = 0.0  # Added to it.

  @property
  def default_params(self):
    return self.simulator.default_params

  def reset_env(self, key, params):
    """As the simulator's."""
    return self.simulator.reset_env(key, params)

  def step_env(self, key, state, action, params):
    """As the simulator's, of the action that is done."""
    action = jnp.asarray(action) * self.gain
    action = action.at[0].set(action[0] * self.first + self.push)
    return self.simulator.step_env(key, state, action, params)


def _acted(env, **change):
  return dataclasses.replace(env, simulator=_Acted(env.simulator, **change))


def _shifted(env):
  def measure(state):
    first, *others = env.measure(state)
    return first + _SHIFT, *others

  return dataclasses.replace(env, measure=measure)


def _noisy(env):
  def measure(state):
    values = [jnp.asarray(x, jnp.float32) for x in env.measure(state)]
    # Drawn by the state itself: measuring has no key, and steps never repeat.
    words = jax.lax.bitcast_convert_type(sum(values), jnp.uint32)
    key = jax.random.fold_in(jax.random.key(0), words)
    noise = _NOISE * jax.random.normal(key, (len(values),))
    return tuple(x + noise[i] for i, x in enumerate(values))

  return dataclasses.replace(env, measure=measure)


def _moved(env):
  simulator = dataclasses.replace(env.simulator, goal=_GOAL)
  return dataclasses.replace(env, simulator=simulator)


_WORLDS = {
  'weak': functools.partial(_acted, gain=0.5),
  'pushed': lambda env: _acted(env, push=_PUSH * env.action_limit),
  'reversed': functools.partial(_acted, first=-1.0),
  'shifted': _shifted,
  'noisy': _noisy,
  'moved': _moved,
}
NAMES = tuple(_WORLDS)


def has(env: Env, name: str) -> bool:
  """Whether an environment can be changed so."""
  if name == 'moved' and not isinstance(env.simulator, Detour):
    return False
  return name in _WORLDS and not env.num_actions


@functools.cache
def make(env: Env, name: str) -> Env:
  """The environment in that world, the same object at every call; '': itself.

  Raises ValueError for a world that it has not.
  """
  if not name:
    return env
  if not has(env, name):
    own = [world for world in NAMES if has(env, world)]
    raise ValueError(
      f'world of {env.name}: found {name!r}, expected one of {own}'
    )
  return _WORLDS[name](env)
