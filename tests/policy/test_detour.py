"""Closed loop where demonstrators differ: which head, and what delays cost.

Three trainings of every head on 64 demonstrations of `Detour-v0` (left and
right) and `OneWay-v0`; 128 episodes of each, the same for all.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rpt_jax import envs, settings
from rpt_jax.domains import playing
from rpt_jax.envs import behaviours, rollout
from rpt_jax.models import heads, sequence
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Execution, Policy, program
from rpt_jax.types import StreamSpec

SEEDS, DEMOS, EPISODES, C, UPDATES = 3, 64, 128, 8, 2500
STATE = StreamSpec('proprio', 'continuous', dim=2)
ACTION = StreamSpec('action', 'continuous', dim=2)
UNIT = np.zeros(2, np.float32), np.ones(2, np.float32)
HEADS = {'linear': {}, 'mixture': {}, 'flow': {}}


@functools.cache
def demonstrations(name):
  """Steps [N] of an expert: seen [N, 2], next [N, C, 2], which of them are."""
  env = envs.make(name)
  steps = rollout.rollout(
    env, behaviours.expert(env), (), jax.random.key(0), DEMOS,
    record=('state', 'action', 'valid'),
  )  # fmt: skip
  steps = jax.tree.map(np.asarray, steps)
  ahead_TC = np.arange(env.horizon)[:, None] + np.arange(C)[None]
  inside_TC = ahead_TC < env.horizon
  ahead_TC = np.minimum(ahead_TC, env.horizon - 1)
  valid = steps['valid'][:, ahead_TC] & inside_TC[None]
  rows = steps['valid']
  return steps['state'][rows], steps['action'][:, ahead_TC][rows], valid[rows]


@functools.cache
def trained(name, kind):
  """(model, parameters [S, ...], constants) of a head."""
  seen_ND, next_NCA, valid_NC = map(jnp.asarray, demonstrations(name))
  chosen = settings.module('models/heads', kind).Settings(**HEADS[kind])
  specs = behaviour_cloning.heads(chosen, C, (STATE,), ACTION)
  trunk = transformer.Settings(1, 2)
  model = sequence.SequenceModel((STATE,), specs, trunk, 64, 1)
  constants = {'action': heads.fit(specs[0], next_NCA[:, 0])}
  tx = optax.adam(optax.cosine_decay_schedule(2e-3, UPDATES))

  def loss(params, key):
    pick_key, key = jax.random.split(key)
    row_B = jax.random.randint(pick_key, (64,), 0, len(seen_ND))
    apply = sequence.bind(model, params, constants)
    read = apply({'proprio': seen_ND[row_B][:, None]}, jnp.ones((64, 1), bool))
    valid_B1C = valid_NC[row_B][:, None]
    each_B1C, _ = apply.head('action').loss(
      read['reads']['action'], next_NCA[row_B][:, None], valid_B1C, key
    )
    return jnp.where(valid_B1C, each_B1C, 0.0).sum() / valid_B1C.sum()

  def update(carry, key):
    params, state = carry
    updates, state = tx.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None

  def train(key):
    params = sequence.init(model, key)
    keys = jax.random.split(key, UPDATES)
    return jax.lax.scan(update, (params, tx.init(params)), keys)[0][0]

  keys_S = jax.random.split(jax.random.key(1), SEEDS)
  return model, jax.jit(jax.vmap(train))(keys_S), constants


@functools.cache
def success(name, kind, execution):
  """Share of episodes at the goal [S], and how many went left [S]."""
  model, params_S, constants = trained(name, kind)
  env, shares = envs.make(name), []
  for seed in range(SEEDS):
    params = jax.tree.map(lambda x, seed=seed: x[seed], params_S)
    policy = Policy(
      model, params, {'proprio': UNIT, 'action': UNIT}, constants=constants,
      execution=execution, action_limit=(-1.0, 1.0),
    )  # fmt: skip
    start = policy.weights, program.start(policy.program, EPISODES)
    steps = rollout.rollout(
      env, playing.in_rollouts(policy.program, (0, 1)), start,
      jax.random.key(2), EPISODES, record=('state', 'reward'),
    )  # fmt: skip
    there_N = np.asarray(steps['reward']).sum(1) > 0
    x_NT = np.asarray(steps['state'][..., 0])
    left_N = x_NT[np.arange(EPISODES), np.abs(x_NT).argmax(1)] < 0
    shares.append((there_N.mean(), left_N[there_N].sum() / there_N.sum()))
  return np.array(shares).T


EACH = Execution(execute=4)


@pytest.mark.slow
def test_the_mean_runs_into_the_obstacle_and_draws_do_not():
  mean, _ = success('Detour-v0', 'linear', EACH)
  for kind in ('flow', 'mixture'):
    share, left = success('Detour-v0', kind, EACH)
    assert (share > mean + 0.1).all() and (share > 0.8).all()
    assert (0.15 < left).all() and (left < 0.85).all()


@pytest.mark.slow
def test_where_demonstrators_agree_heads_are_level():
  for kind in HEADS:
    assert (success('OneWay-v0', kind, EACH)[0] > 0.9).all()


@pytest.mark.slow
def test_a_delay_costs_and_going_on_from_the_chunk_before_wins_nothing_here():
  """One step off the middle shows the side, so that chunks never disagree."""

  def at(delay, **how):
    return success('Detour-v0', 'flow', Execution(delay=delay, **how))[0]

  late = at(4, execute=4)
  assert (late < at(0, execute=4) - 0.1).all()
  assert at(4, ensemble=-0.01).mean() < at(0, ensemble=-0.01).mean() - 0.05
  assert (np.abs(at(4, execute=4, realtime=True) - late) < 0.1).all()
