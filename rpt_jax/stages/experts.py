"""Meta-World tasks shown by their scripted experts, stored as RLDS.

Of what an expert tries, successes are kept: `pretrain` and `heldout` at every
level of noise, `demos` without any. The split `failures` has deliberate
failures instead.
"""

import json

import numpy as np

from rpt_jax.envs import metaworld, simulators
from rpt_jax.episodes import rlds
from rpt_jax.evals import statistics
from rpt_jax.stages import domains, pipeline

# Every split draws from its own range of seeds, every config.seed its own.
_FIRST_SEED = {'pretrain': 0, 'heldout': 1, 'demos': 2, 'failures': 3}
SEEDS = 1 << 16
EVALUATION = 4
_TRIES = 3  # Episodes tried for one that is kept, at most.


def settings(config) -> metaworld.Settings:
  """What the simulator is told."""
  c = config.metaworld
  return metaworld.Settings(
    tuple(c.cameras), c.size, c.action_repeat, c.horizon
  )


def check(config) -> None:
  """Raise ValueError for a task, camera or split that cannot be."""
  c = config.metaworld
  tasks = domains.tasks(config)
  for field, found, known in (
    ('tasks', tasks, metaworld.TASKS),
    ('cameras', tuple(c.cameras), metaworld.CAMERAS),
  ):
    unknown = sorted(set(found) - set(known))
    if unknown or not found or len(set(found)) < len(found):
      raise ValueError(
        f'config.metaworld.{field}: found {found}, expected each once of '
        f'{", ".join(known)}'
      )
  if not c.noise:
    raise ValueError(
      'config.metaworld.noise: found (), expected (0.0,) or more'
    )
  if 'finetune' in config and max(config.finetune.demos) > c.demos:
    raise ValueError(
      f'config.finetune.demos: found {tuple(config.finetune.demos)}, but '
      f'config.metaworld.demos is {c.demos}; record as many'
    )
  numbers = ('size', 'action_repeat', 'horizon', 'workers')
  for field in (*numbers, 'pretrain', 'heldout', 'demos'):
    if c[field] < 1:
      raise ValueError(
        f'config.metaworld.{field}: found {c[field]}, expected at least 1'
      )


def first_seed(config, part: int) -> int:
  """The first seed of a part of all episodes there could be."""
  return (config.seed * 8 + part) * SEEDS


def record(config, name: str, directory) -> pipeline.Rows:
  """Writes all splits of a task; rows: how many, and how often it succeeds.

  A task that was written whole before a kill is not recorded again. Raises
  ValueError where too few episodes could be kept.
  """
  done = directory.with_name(f'{name}.json')
  if done.exists():
    return json.loads(done.read_text())
  splits, metadata, rows = {}, {}, []
  for split in domains.splits(config, name):
    kept, tried = _kept(config, name, split)
    splits[split] = [episode for episode, _ in kept]
    metadata[split] = [about for _, about in kept]
    steps = np.array([episode.length for episode in splits[split]])
    print(
      f'  {name} {split}: {len(kept)} of {tried} episodes kept, '
      f'{steps.sum()} steps',
      flush=True,
    )
    tags = {'env': name, 'split': split}
    rate, *interval = statistics.wilson(len(kept), tried)
    rows += [
      pipeline.row('collect', 'episodes', len(kept), **tags),
      pipeline.row('collect', 'frames', steps.sum(), **tags),
      pipeline.row('collect', 'steps_per_episode', steps.mean(), **tags),
      pipeline.row('collect', 'kept', rate, interval, episodes=tried, **tags),
    ]
  rlds.write(directory, name, splits, metadata=metadata)
  pipeline.write_json(done, rows)
  return rows


def _kept(config, name, split):
  """([(episode, metadata)] of those wanted, how many were tried)."""
  wanted, failing = config.metaworld[split], split == 'failures'
  first = first_seed(config, _FIRST_SEED[split])
  kept, tried = [], 0
  while len(kept) < wanted and tried < _TRIES * wanted:
    missing = wanted - len(kept)
    seeds = range(first + tried, first + tried + missing)
    tried += missing
    for episode, about in _shown(config, name, split, seeds):
      if bool(about['success']) != failing:
        kept.append((episode, about))
  if len(kept) < wanted:
    raise ValueError(
      f'{name} {split}: {len(kept)} episodes of {tried} could be kept, wanted '
      f'{wanted}; try less noise, a longer horizon, or another task'
    )
  return kept, tried


def _shown(config, name, split, seeds):
  """What the expert does from these seeds, as `simulators.record` gives it."""
  c, failing = config.metaworld, split == 'failures'
  noise = (0.0,) if split == 'demos' else tuple(c.noise)
  behaviour = metaworld.Behaviour(noise=noise, failure=float(failing))
  label = f'{name} {split}'
  return simulators.record(
    name, settings(config), seeds, behaviour, c.workers, label
  )
