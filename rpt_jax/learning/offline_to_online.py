"""Values from recorded episodes, and then from the policy's own: does it drop?

A critic and a policy learn offline, from clips of mixed behaviour; then rounds
begin in which the policy plays episodes, which join the recorded ones: every
further batch is half of the one and half of the other. All of it is one
compiled function, rollouts included; methods and seeds are its lanes.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import envs, results, settings
from rpt_jax.envs import behaviours, rollout
from rpt_jax.episodes import returns
from rpt_jax.evals import intervals
from rpt_jax.learning import kept_curves
from rpt_jax.models import critic
from rpt_jax.objectives import cal_ql
from rpt_jax.training import optimizer, step
from rpt_jax.types import Array

METHODS = {'cql': -np.inf, 'cal_ql': 0.0}  # Added to the return-to-go.
_FIELDS = ('state', 'action', 'reward', 'valid', 'terminated')


class Curves(NamedTuple):
  """What came of every lane: [methods, seeds, rounds].

  `played` are mean returns of the episodes of each round, played before its
  updates: first the rounds offline, whose episodes nobody learns from, then
  those online. `bounded` are shares of values that the bound held up, `value`
  what was done is thought to be worth, of each round's last batch.
  """

  played: np.ndarray
  bounded: np.ndarray
  value: np.ndarray


def check(c: settings.Critic, where: str) -> None:
  """Raises ValueError for an environment that is not, or is discrete."""
  continuous = [name for name in envs.NAMES if not envs.make(name).num_actions]
  if unknown := sorted(set(c.envs) - set(continuous)):
    settings.refuse(f'{where}.envs', unknown, f'some of {continuous}')


def rows(c: settings.Critic, seed: int, directory: Path) -> list[results.Row]:
  """Curves of both methods on all environments, kept as they are made."""
  every = kept_curves.by_env(
    c.envs,
    seed,
    lambda name: directory / f'values-{name}.npz',
    functools.partial(learn, c),
    Curves,
  )
  return [row for name, curves in every for row in _of(c, name, curves)]


def _of(c, env, curves):
  """Rows of one environment; round 0 is the switch to online."""
  name, measured, switch = results.Values, [], _offline(c)
  best = curves.played.max()
  for i, method in enumerate(METHODS):
    tags = {'env': env, 'method': method}
    played, held = curves.played[i], curves.bounded[i]
    for j, played_S in enumerate(played.T):
      measured.append(_row(name.PLAYED, played_S, tags | {'steps': j - switch}))
    online = played[:, switch:]
    drop_S = online[:, 1 : 1 + c.switch].min(1) - online[:, 0]
    measured.append(_row(name.DROP, drop_S, tags))
    measured.append(_row(name.REGRET, (best - online[:, 1:]).mean(1), tags))
    for part, at in (('offline', switch - 1), ('online', -1)):
      about = tags | {'split': part}
      measured.append(_row(name.BOUNDED, held[:, at], about))
    change = ', '.join(f'{x:.0f}' for x in online.mean(0)[:: c.switch])
    print(f'  {env} {method}: returns online {change}', flush=True)
  return measured


def _offline(c):
  """Rounds before the switch."""
  return max(c.offline // c.updates, 1)


def _row(name, x_S, tags):
  """A mean over seeds with its t-interval."""
  value, *interval = intervals.t_interval(x_S)
  stage = results.Values.STAGE
  return results.row(stage, name, value, interval, len(x_S), **tags)


def learn(c: settings.Critic, env, key) -> Curves:
  """All methods and seeds in one call; see `Curves`."""
  shift_M = jnp.asarray(list(METHODS.values()))
  keys_S = jax.random.split(key, c.seeds)
  recorded = [_recorded(env, k, c.recorded) for k in keys_S]
  recorded_S = jax.tree.map(lambda *x: jnp.stack(x), *recorded)
  run = functools.partial(_one, c, env)
  every = jax.vmap(jax.vmap(run, (None, 0, 0)), (0, None, None))
  curves = jax.jit(every)(shift_M, keys_S, recorded_S)
  return Curves(*map(np.asarray, curves))


def _one(c, env, shift, key, recorded):
  """One lane: rounds of playing and learning, the first of them offline."""
  learner = _learner(c, env)
  init_key, learn_key, play_key = jax.random.split(key, 3)
  recorded = _steps(c, env, recorded)
  size, offline = len(recorded['reward']), _offline(c)
  own = c.episodes * (env.horizon - 1)  # Steps of a round.
  room = jax.tree.map(
    lambda x: jnp.zeros((c.rounds * own, *x.shape[1:])), recorded
  )
  replay = jax.tree.map(lambda *x: jnp.concatenate(x), recorded, room)
  total = c.updates * (offline + c.rounds)
  # Far from the end of its cosine: online it learns as fast as offline.
  tx = optimizer.adamw(c.learning_rate, 4 * total, weight_decay=0.0, warmup=0.0)
  means = step.Means(teacher=1.0 - c.tau)
  params = cal_ql.init(learner, init_key, recorded['state'].shape[-1])
  state = step.init_state(params, tx, learn_key, means)

  def loss(params, batch, key, target):
    batch = batch | {'bound': batch['bound'] + shift}
    return cal_ql.loss(learner, params, batch, key, target)

  update = step.step_fn(loss, tx, means=means)

  def one_round(carry, i):
    state, replay = carry
    episodes = _played(learner, env, state.params, play_key, c.episodes, i)
    online = jnp.maximum(i - offline, 0)  # Offline all write to one place,
    # which the first round online overwrites.
    replay = jax.tree.map(
      lambda x, new: jax.lax.dynamic_update_slice_in_dim(
        x, new, size + online * own, 0
      ),
      replay,
      _steps(c, env, episodes),
    )
    latest = jnp.where(i < offline, 0, size + (online + 1) * own)

    def once(state, key):
      index = _mixed(key, c.batch_size, size, latest)
      state, metrics = update(state, jax.tree.map(lambda x: x[index], replay))
      return state, (metrics['bounded'], metrics['value'])

    keys = jax.random.split(jax.random.fold_in(learn_key, i), c.updates)
    state, measures = jax.lax.scan(once, state, keys)
    last = jax.tree.map(lambda x: x[-1], measures)
    return (state, replay), (episodes['reward'].sum(1).mean(), *last)

  rounds = jnp.arange(offline + c.rounds)
  return jax.lax.scan(one_round, (state, replay), rounds)[1]


def _learner(c, env):
  """The networks of a lane, and what they learn by."""
  networks = (
    critic.Critic(c.width, c.depth),
    critic.Actor(c.width, c.depth, env.action_dim),
  )
  return cal_ql.Learner(*networks, c.discount, c.weight, c.actions)


def _mixed(key, count, recorded, latest):
  """Which steps a batch has: of the recorded ones, and half of one's own.

  `latest` is where one's own end, which begin at `recorded`; 0: none counts.
  """
  first_key, second_key = jax.random.split(key)
  half = count // 2
  first = jax.random.randint(first_key, (count - half,), 0, recorded)
  start = jnp.where(latest > 0, recorded, 0)
  stop = jnp.where(latest > 0, latest, recorded)
  second = jax.random.randint(second_key, (half,), start, stop)
  return jnp.concatenate([first, second])


def _recorded(env, key, count):
  """Episodes of mixed behaviour, from expert to random."""
  start = behaviours.mixture_start(env, key, count)
  return rollout.rollout(
    env, behaviours.mixture(env), start, key, count, record=_FIELDS
  )


def _played(learner, env, params, key, count, i):
  """Episodes of the policy; every round begins others."""

  def policy(params, observation, keys):
    state = observation['state']
    # One key for all: lanes are drawn side by side.
    action = cal_ql.act(learner, params, state, keys[0])
    return params, action * env.action_limit

  return rollout.rollout.__wrapped__(
    env, policy, params, key, count, record=_FIELDS, first_index=i * count
  )


def _steps(c, env, episodes) -> dict[str, Array]:
  """{name: [N * (T - 1), ...]}: what a critic learns from, rewards scaled.

  The step after the last is not recorded, so that the last is left out unless
  it ended the episode. Steps that are not there repeat an episode's first.
  """
  reward = episodes['reward'] * c.reward_scale
  valid, ended = episodes['valid'], episodes['terminated']
  after = jnp.roll(episodes['state'], -1, axis=1)
  arrays = {
    'state': episodes['state'],
    'next': after,
    'action': episodes['action'] / env.action_limit,
    'reward': reward,
    'ended': ended.astype(jnp.float32),
    'bound': returns.to_go(reward, valid, ended, c.discount),
  }
  whole = valid & (ended | jnp.pad(valid[:, 1:], ((0, 0), (0, 1))))
  at = jnp.where(whole[:, :-1], jnp.arange(whole.shape[1] - 1)[None], 0)
  return {
    name: jnp.take_along_axis(
      x, at.reshape(*at.shape, *(1,) * (x.ndim - 2)), axis=1
    ).reshape(-1, *x.shape[2:])
    for name, x in arrays.items()
  }
