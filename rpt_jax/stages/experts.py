"""Meta-World tasks shown by their scripted experts, stored as RLDS.

Of what an expert tries, successes are kept: `pretrain` and `heldout` at every
level of noise, `demos` without any. The split `failures` has deliberate
failures instead.
"""

import contextlib

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


def first_seed(config, part: int) -> int:
  """The first seed of a part of all episodes there could be."""
  return (config.seed * 8 + part) * SEEDS


def record(config, name: str, directory) -> pipeline.Rows:
  """Writes all splits of a task; rows: how many, and how often it succeeds.

  Raises ValueError where too few episodes could be kept.
  """
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
  return rows


def _kept(config, name, split):
  """([(episode, metadata)] of those wanted, how many were tried)."""
  c, failing = config.metaworld, split == 'failures'
  noise = (0.0,) if split == 'demos' else tuple(c.noise)
  behaviour = metaworld.Behaviour(noise=noise, failure=float(failing))
  first = first_seed(config, _FIRST_SEED[split])
  seeds = range(first, first + _TRIES * c[split])
  label, kept = f'  {name} {split}', []
  episodes = simulators.record(
    name, settings(config), seeds, behaviour, c.workers, label
  )
  with contextlib.closing(episodes):
    for tried, (episode, about) in enumerate(episodes, 1):
      if bool(about['success']) != failing:
        kept.append((episode, about))
      if len(kept) == c[split]:
        return kept, tried
  raise ValueError(
    f'{name} {split}: {len(kept)} episodes of {tried} could be kept, wanted '
    f'{c[split]}; try less noise, a longer horizon, or another task'
  )
