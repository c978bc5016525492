"""Episodes of every domain: environments are rolled out, datasets indexed.

Those of gymnax become TFDS datasets in ArrayRecord with three splits:
`pretrain` and `heldout` are clips of mixed behaviour, `demos` are whole expert
episodes. The returns of a random and of the expert policy, which scores are
normalised by, are results. Tasks of Meta-World: `stages/experts.py`. A recorded
dataset stays where it is: what is written down is which episodes are held out,
and the scale of its actions.
"""

import json
import os
import pathlib
import zlib

import jax
import numpy as np

from rpt_jax import envs
from rpt_jax.envs import behaviours, rollout
from rpt_jax.episodes import clips, rlds, statistics
from rpt_jax.episodes.split import hold_out
from rpt_jax.stages import domains, experts, pipeline

# Every split draws from its own range of episode indices.
_FIRST_INDEX = {'pretrain': 0, 'heldout': 1 << 20, 'demos': 2 << 20}
_SCORING = 3 << 20
# Statistics of datasets, by their content, for all runs of this user.
CACHE = pathlib.Path(
  os.environ.get('XDG_CACHE_HOME', '~/.cache'), 'rpt_jax', 'statistics'
).expanduser()
_CHUNK = 32  # Episodes of one call.
_RECORD = ('image', 'state', 'action', 'reward', 'valid', 'terminated')


def run(config, inputs, directory):
  """Write a folder a domain; rows: returns, or sizes of recorded datasets."""
  del inputs
  rows = []
  for name in config.envs:
    env = envs.make(name)
    key = environment_key(config.seed, name)
    splits = _episodes(env, key, config)
    frames = {split: sum(x.length for x in e) for split, e in splits.items()}
    rlds.write(directory / name, name, splits)
    print(f'  {name}: frames {frames}', flush=True)
    rows += _returns(env, key, config.collect.score_episodes)
  for name in domains.tasks(config):
    rows += experts.record(config, name, directory / name)
  for name in config.datasets:
    rows += _index(name, config.datasets[name], directory / name)
  return rows


def environment_key(seed: int, name: str) -> jax.Array:
  """The key of all episodes of an environment, whichever others are there."""
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))


def _episodes(env, key, config):
  """{split: episodes}, all from one compiled rollout of `_CHUNK` episodes."""
  c = config.collect
  numbers = {
    'pretrain': c.pretrain_clips,
    'heldout': c.heldout_clips,
    'demos': c.demos,
  }
  splits = {}
  for split, num in numbers.items():
    length = env.horizon if split == 'demos' else c.clip_length
    steps = []
    for start in range(0, num, _CHUNK):
      first = _FIRST_INDEX[split] + start
      state = behaviours.mixture_start(env, key, _CHUNK, first)
      if split == 'demos':
        never = np.zeros(_CHUNK, np.float32)
        state = state._replace(wander=never, lost=never > 0)
      steps.append(_rollout(env, state, key, first, config.nuisance))
    steps = {
      k: np.concatenate([s[k] for s in steps])[:num, :length] for k in _RECORD
    }
    splits[split] = clips.from_rollout(steps)
  return splits


def _rollout(env, state, key, first, nuisance):
  steps = rollout.rollout(
    env,
    behaviours.mixture(env),
    state,
    key,
    _CHUNK,
    record=_RECORD,
    nuisance=nuisance,
    first_index=first,
  )
  return jax.tree.map(np.asarray, steps)


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
      pipeline.row('collect', name, mean, interval, env=env.name, episodes=num)
    )
    print(f'  {env.name}: {name} {mean:.2f} ± {1.96 * error:.2f}', flush=True)
  return rows


def _index(name, settings, directory):
  """Writes `index.json` of a recorded dataset; rows: its sizes."""
  source = domains.open_dataset(settings)
  train, heldout = hold_out(source, settings.heldout, settings.order)
  found = {
    'pretrain': train.tolist(),
    'heldout': heldout.tolist(),
    'lengths': source.lengths.tolist(),
    'fps': source.fps,
  }
  fields = tuple(k for k in ('state', 'action') if k in source.streams)
  table = statistics.cached(CACHE, source, fields, train) if fields else None
  directory.mkdir(parents=True, exist_ok=True)
  if table:
    statistics.save(directory / domains.STATISTICS, table)
  (directory / domains.INDEX).write_text(json.dumps(found) + '\n')
  rows = []
  for part, episodes in (('pretrain', train), ('heldout', heldout)):
    frames = source.lengths[episodes].sum()
    print(f'  {name} {part}: {len(episodes)} episodes, {frames} frames')
    rows += [
      pipeline.row('collect', 'episodes', len(episodes), env=name, split=part),
      pipeline.row('collect', 'frames', frames, env=name, split=part),
    ]
  return rows
