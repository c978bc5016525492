"""Ways of behaving, as policies for `rollout`.

Each factory returns one object per environment for ever, so that jitting a
rollout twice does not compile twice.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.envs.rollout import episode_keys
from rpt_jax.types import Array


@functools.cache
def random(env):
  """Uniformly random actions; policy_state is ()."""

  def policy(policy_state, observation, keys):
    del observation
    return policy_state, jax.vmap(env.sample_action)(keys)

  return policy


@functools.cache
def expert(env):
  """The scripted expert; policy_state is ()."""

  def policy(policy_state, observation, keys):
    del keys
    return policy_state, jax.vmap(env.expert)(observation['internal'])

  return policy


class Mixture(NamedTuple):
  """Per episode [N]: how often the expert lets go, how long, and the hold."""

  wander: Array  # share of the time spent on random actions, in [0, 1]
  switch: Array  # probability of drawing anew at a step
  lost: Array  # bool: on random actions now
  held: Array  # the random action held, [N] or [N, A]


def mixture_start(env, key, num_envs, first_index=0, wander=None):
  """The policy_state of `mixture`, a function of (key, index) as episodes are.

  Episodes range evenly from actions drawn anew at every step to ones held for
  about ten decisions; and from pure expert to pure random, unless `wander` says
  which share of the time all of them are random.
  """

  def one(key):
    key = jax.random.fold_in(key, 0)
    own, switch = jax.random.uniform(key, (2,))
    own = own if wander is None else jnp.float32(wander)
    lost = jax.random.uniform(jax.random.fold_in(key, 1)) < own
    held = env.sample_action(jax.random.fold_in(key, 2))
    return Mixture(own, 0.1 + 0.9 * switch**2, lost, held)

  return jax.vmap(one)(episode_keys(key, num_envs, first_index))


@functools.cache
def mixture(env):
  """Expert and sticky random actions in turn; for action-free pretraining.

  Takes `mixture_start` as policy_state. At each step an episode may draw anew:
  with probability `wander` it takes up a random action, held until the next
  draw, otherwise it follows the expert.
  """

  def one(mix, internal, key):
    draw, choose, act = jax.random.split(key, 3)
    anew = jax.random.uniform(draw) < mix.switch
    lost = jax.random.uniform(choose) < mix.wander
    lost = jnp.where(anew, lost, mix.lost)
    held = jnp.where(anew, env.sample_action(act), mix.held)
    action = jnp.where(lost, held, env.expert(internal))
    return mix._replace(lost=lost, held=held), action

  def policy(policy_state, observation, keys):
    return jax.vmap(one)(policy_state, observation['internal'], keys)

  return policy
