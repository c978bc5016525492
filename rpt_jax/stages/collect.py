"""Episodes from every environment, as TFDS datasets in ArrayRecord.

Three splits: `pretrain` and `heldout` are clips of mixed behaviour, `demos`
are whole expert episodes. The returns of a random and of the expert policy,
which scores are normalised by, are the stage's results.
"""

import dataclasses
import re
import zlib

import jax
import numpy as np

from rpt_jax import envs
from rpt_jax.envs import behaviours, rollout
from rpt_jax.episodes import clips, rlds
from rpt_jax.stages import pipeline

# Every split draws from its own range of episode indices.
_FIRST_INDEX = {'pretrain': 0, 'heldout': 1 << 20, 'demos': 2 << 20}
_SCORING = 3 << 20
_RECORD = ('image', 'state', 'action', 'reward', 'valid', 'terminated')


def run(config, inputs, directory):
  """Write `<env>/` datasets; rows: expert and random return per environment."""
  del inputs
  rows = []
  for name in config.envs:
    env = envs.make(name)
    key = environment_key(config.seed, name)
    splits = {s: _episodes(env, key, s, config) for s in _FIRST_INDEX}
    frames = {split: sum(map(len, e)) for split, e in splits.items()}
    snake_case = re.sub(r'\W', '_', name).lower()
    rlds.write(directory / name, splits, name=snake_case)
    print(f'  {name}: frames {frames}', flush=True)
    rows += _returns(env, key, config.collect.score_episodes)
  return rows


def environment_key(seed: int, name: str) -> jax.Array:
  """The key of all episodes of an environment, whichever others are there."""
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def _episodes(env, key, split, config):
  settings, first = config.collect, _FIRST_INDEX[split]
  if split == 'demos':
    num, policy, state = settings.demos, behaviours.expert(env), ()
  else:
    num = settings[f'{split}_clips']
    policy = behaviours.mixture(env)
    state = behaviours.mixture_start(env, key, num, first)
    length = min(settings.clip_length, env.horizon)
    env = dataclasses.replace(env, horizon=length)
  steps = rollout.rollout(
    env,
    policy,
    state,
    key,
    num,
    record=_RECORD,
    nuisance=config.nuisance,
    first_index=first,
  )
  return clips.from_rollout(jax.tree.map(np.asarray, steps))


def _returns(env, key, num):
  rows = []
  for name, behaviour in (
    ('expert_return', behaviours.expert),
    ('random_return', behaviours.random),
  ):
    returns_N = np.asarray(
      rollout.returns(env, behaviour(env), (), key, num, first_index=_SCORING)
    )
    mean, error = returns_N.mean(), returns_N.std() / np.sqrt(num)
    interval = (mean - 1.96 * error, mean + 1.96 * error)
    rows.append(
      pipeline.row(
        'collect', name, mean, interval, env=env.name, episodes=num
      )
    )
    print(f'  {env.name}: {name} {mean:.2f} ± {1.96 * error:.2f}', flush=True)
  return rows
