"""One small protocol over gymnax: reset, step, physical, render, expert.

All functions act on one instance; callers vmap them. There is no auto-reset
and a time limit is not a termination: whoever rolls out counts to `horizon`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rpt_jax.envs.gymnax import nuisance


@dataclasses.dataclass(frozen=True)
class Env:
  """A gymnax simulator, seen at decision rate; hashable, so static for jit.

  A single frame shows those of the `state_names` that are `visible`.
  `num_actions` is 0 for a continuous action of `action_dim` numbers within
  ±`action_limit`, and `action_dim` is 0 for a discrete one. `start(key, state)`
  varies the start of games that know only one; `noisy` says that steps draw
  random numbers: the others never pay for a key.
  """

  name: str
  simulator: Any
  num_actions: int
  action_dim: int
  action_limit: float
  action_repeat: int
  horizon: int
  state_names: tuple[str, ...]
  visible: tuple[str, ...]
  measure: Callable
  backdrop: Callable
  draw: Callable
  decide: Callable
  start: Callable | None = None
  noisy: bool = False

  def reset(self, key):
    """A fresh simulator state, with the dtypes that `step` keeps."""
    _, state = self.simulator.reset_env(key, self.simulator.default_params)
    if self.start:
      state = self.start(jax.random.fold_in(key, 0), state)
    return jax.tree.map(
      lambda x: jax.lax.convert_element_type(x, jnp.result_type(x)), state
    )

  def step(self, key, state, action):
    """One decision: the action held for `action_repeat` simulator steps.

    Returns (state, reward f32 [], terminated bool []): the reward in native
    units, summed until termination, where the state stays. Continuous actions
    are clipped to the limit.
    """
    if not self.num_actions:
      action = jnp.clip(action, -self.action_limit, self.action_limit)
    params = self.simulator.default_params
    keys = None
    if self.noisy:
      keys = jax.random.split(key, self.action_repeat)

    def once(carry, key):
      state, total, terminated = carry
      key = jax.random.key(0) if key is None else key
      _, new, reward, ended, _ = self.simulator.step_env(
        key, state, action, params
      )
      total += jnp.where(terminated, 0.0, jnp.float32(reward))
      state = freeze(terminated, state, new)
      return (state, total, terminated | jnp.asarray(ended, jnp.bool_)), None

    start = state, jnp.float32(0.0), jnp.bool_(False)
    end, _ = jax.lax.scan(once, start, keys, length=self.action_repeat)
    return end

  def physical(self, state):
    """The physical quantities `state_names` as f32 [P]."""
    values = [jnp.asarray(v, jnp.float32) for v in self.measure(state)]
    return jnp.concatenate([jnp.atleast_1d(v) for v in values])

  def scene(self, key, strength=1.0):
    """The scene of one clip: the nuisance, and what never moves in it."""
    return self.backdrop(nuisance.sample(key, strength))

  def render(self, state, scene):
    """The frame, RGB u8 [64, 64, 3], in the clip's `scene`."""
    return self.draw(self.simulator, state, scene)

  def expert(self, state):
    """The scripted expert's action: int32 [] or f32 [action_dim]."""
    action = self.decide(state)
    if self.num_actions:
      return jnp.asarray(action, jnp.int32)
    limit = self.action_limit
    return jnp.clip(jnp.reshape(action, (self.action_dim,)), -limit, limit)

  def sample_action(self, key):
    """A uniformly random action: int32 [] or f32 [action_dim]."""
    if not self.num_actions:
      limit = self.action_limit
      shape = (self.action_dim,)
      return jax.random.uniform(key, shape, minval=-limit, maxval=limit)
    unit = jax.random.uniform(key)
    return jnp.int32(unit * self.num_actions)


def freeze(stopped, old, new):
  """`old` where `stopped` (bool [...], leading axes), else `new` cast to it."""
  return jax.tree.map(
    lambda o, n: jnp.where(
      jnp.reshape(stopped, stopped.shape + (1,) * (o.ndim - stopped.ndim)),
      o,
      jnp.asarray(n, o.dtype),
    ),
    old,
    new,
  )
