"""An expert that watches a policy, and takes over where progress stalls.

It stands in for the human of Sirius (Liu et al. 2022, arXiv 2211.08416). How
far an episode is from its goal it knows by how many decisions it would itself
still need, once what the policy is about to do is done. A policy stalls that
has come no nearer for a while, or is about to go where the expert would get no
further. Then the expert acts for some decisions and hands back.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.envs.environment import freeze
from rpt_jax.types import Array, PyTree


class Rule(NamedTuple):
  """When the expert takes over, and for how long; all in decisions.

  It does after `patience` of the policy in which less than the share `progress`
  of as many of the expert's own way was covered, and then acts `hold` times.
  """

  patience: int
  progress: float
  hold: int


class Overseen(NamedTuple):
  """The policy's own state, and what the expert remembers of N episodes."""

  policy: PyTree
  ahead_NP: Array  # How far it was, of the last `patience`; inf: not looked at.
  left_N: Array  # How often the expert still acts.
  took_N: Array  # bool: whether it was the expert who acted last.


def start(rule: Rule, policy_state: PyTree, num_envs: int) -> Overseen:
  """What an episode begins with: the policy acts, and was not looked at."""
  ahead_NP = jnp.full((num_envs, rule.patience), jnp.inf)
  left_N = jnp.zeros(num_envs, jnp.int32)
  return Overseen(policy_state, ahead_NP, left_N, left_N > 0)


def overseen(env, rule: Rule, policy):
  """`policy` with the expert beside it, as a policy of `Overseen`."""

  def both(own, observation, keys):
    state, action = policy(own.policy, observation, keys)
    internal = observation['internal']
    ahead_N = jax.vmap(functools.partial(ahead, env))(internal, action)
    ahead_NP, left_N, expert_N = watched(rule, own, ahead_N, env.horizon)
    action = freeze(expert_N, jax.vmap(env.expert)(internal), action)
    return Overseen(state, ahead_NP, left_N, expert_N), action

  return both


def watched(rule: Rule, own: Overseen, ahead_N: Array, lost: int):
  """(what is remembered [N, P], what is left [N], whether the expert acts [N]).

  `ahead_N` is how far the episodes are from the goal, `lost` or more that they
  do not reach it. What was before the expert took over is forgotten: a policy
  has its patience again.
  """
  needed = rule.progress * rule.patience
  stalls_N = (ahead_N > own.ahead_NP[:, 0] - needed) | (ahead_N >= lost)
  left_N = jnp.where((own.left_N == 0) & stalls_N, rule.hold, own.left_N)
  expert_N = left_N > 0
  seen_NP = jnp.concatenate([own.ahead_NP[:, 1:], ahead_N[:, None]], axis=1)
  seen_NP = jnp.where(expert_N[:, None], jnp.inf, seen_NP)
  return seen_NP, jnp.maximum(left_N - 1, 0), expert_N


def ahead(env, state, action) -> Array:
  """Decisions [] to the goal: `action`, and then those of the expert.

  As many as an episode has where it does not reach it. Rewards are above 0 at
  the goal alone. What is random is drawn alike at every call.
  """
  keys = jax.random.split(jax.random.key(0), env.horizon)

  def once(carry, key):
    state, action, going, count = carry
    new, reward, ended = env.step(key, state, action)
    # An end without a reward is no way to the goal.
    failed = going & ended & (reward <= 0)
    count = jnp.where(failed, env.horizon, count + going)
    return (new, env.expert(new), going & ~ended, count), None

  begin = state, action, jnp.bool_(True), jnp.int32(0)
  (*_, count), _ = jax.lax.scan(once, begin, keys)
  return count.astype(jnp.float32)
