"""What a run learns from: simulated environments and recorded datasets.

All are *domains*: named sets of episodes in splits. `collect` leaves a folder
for each; what reads episodes afterwards asks here and need not know which kind
it is: gymnax environments (`config.envs`), tasks of Meta-World
(`config.metaworld`) or recorded datasets (`config.datasets`).
"""

import json
import pathlib
from collections.abc import Sequence

import numpy as np

from rpt_jax import envs, episodes
from rpt_jax.episodes import statistics, streams, windows
from rpt_jax.types import StreamSpec

INDEX, STATISTICS = 'index.json', 'statistics.json'


def names(config) -> tuple[str, ...]:
  """All domains of a config, environments first."""
  return (*config.envs, *tasks(config), *config.datasets)


def tasks(config) -> tuple[str, ...]:
  """The tasks of Meta-World, those of pretraining first."""
  if 'metaworld' not in config:
    return ()
  return (*config.metaworld.tasks, *config.metaworld.unseen)


def pretraining(config) -> tuple[str, ...]:
  """The domains whose episodes pretraining may see."""
  unseen = config.metaworld.unseen if 'metaworld' in config else ()
  return tuple(n for n in names(config) if n not in unseen)


def acting(config) -> tuple[str, ...]:
  """Those domains that have actions to learn."""
  acts = (n for n, d in config.datasets.items() if 'action' in d.mapping)
  return (*config.envs, *tasks(config), *acts)


def splits(config, name: str) -> tuple[str, ...]:
  """Demonstrations of a dataset are its pretraining episodes, with actions.

  Of a task that pretraining may not see there is nothing else.
  """
  if name not in pretraining(config):
    return ('demos',)
  common = ('pretrain', 'heldout')
  if name in config.datasets:
    return common
  failing = name in tasks(config) and config.metaworld.failures
  return (*common, 'demos', *(('failures',) if failing else ()))


def demos_split(config, name: str) -> str:
  """The split whose actions fine-tuning may see."""
  return 'pretrain' if name in config.datasets else 'demos'


def cameras(config, name: str) -> tuple[str, ...]:
  """The observations that hold frames; their latents lie end to end."""
  if name in config.envs:
    return ('image',)
  if name in config.datasets:
    return tuple(config.datasets[name].cameras)
  return tuple(config.metaworld.cameras)


def source(config, collected: pathlib.Path, name: str, split: str):
  """The episodes of one split, wherever they lie."""
  if name not in config.datasets:
    return episodes.open(collected / name, split=split)
  return Subset(
    open_dataset(config.datasets[name]), index(collected, name)[split]
  )


def open_dataset(settings):
  """The recorded dataset that `config.datasets.<name>` describes."""
  return episodes.open(
    settings.path, split=settings.split, **settings.mapping.to_dict()
  )


def index(collected: pathlib.Path, name: str) -> dict:
  """What `collect` wrote down of a dataset: splits and lengths."""
  return json.loads((collected / name / INDEX).read_text())


class Subset:
  """Some of a source's episodes, in a given order; read as that source is."""

  def __init__(self, whole, indices: Sequence[int]):
    self.whole, self.indices = whole, list(indices)

  def __len__(self):
    return len(self.indices)

  @property
  def streams(self):
    return self.whole.streams

  @property
  def lengths(self):
    return np.asarray(self.whole.lengths)[self.indices]

  def read(self, i, fields):
    return self.whole.read(self.indices[i], fields)

  def read_all(self, fields, indices):
    return self.whole.read_all(fields, [self.indices[i] for i in indices])

  def metadata(self, i):
    return self.whole.metadata(self.indices[i])


def labels(
  config, inputs, name: str, split: str, fields: Sequence[str]
) -> windows.Clips:
  """Streams of the episodes themselves, row for row beside their latents.

  What no action-free stage may ask for: 'action', 'state', 'reward'. Episodes
  that could not be encoded are left out here, too.
  """
  found = source(config, inputs['collect'], name, split)
  kept = streams.kept(inputs['encode'] / name / split)
  return found.read_all(fields, kept)


def instructions(config, inputs, name: str, split: str) -> np.ndarray:
  """Which instruction each frame's episode follows: [N] integers."""
  found = source(config, inputs['collect'], name, split)
  kept = streams.kept(inputs['encode'] / name / split)
  texts = [found.metadata(i).get('instruction', '') for i in kept]
  _, ids = np.unique(texts, return_inverse=True)
  return np.repeat(ids, found.lengths[kept])


def action_spec(config, collected: pathlib.Path, name: str) -> StreamSpec:
  """The action stream of a domain; no dimensions where it has no actions.

  Discrete ones share the largest vocabulary of the config, so that one
  compiled training serves them all.
  """
  if name in config.datasets:
    mean_A, _ = action_scale(config, collected, name)
    return StreamSpec('action', 'continuous', dim=len(mean_A))
  if name in tasks(config):
    found = source(config, collected, name, 'demos').streams['action']
    return StreamSpec('action', 'continuous', dim=found.shape[0])
  env = envs.make(name)
  if not env.num_actions:
    return StreamSpec('action', 'continuous', dim=env.action_dim)
  vocab = max(envs.make(n).num_actions for n in config.envs)
  return StreamSpec('action', 'discrete', vocab=vocab)


def action_scale(config, collected: pathlib.Path, name: str):
  """(centre [A], scale [A]): policies act in (action - centre) / scale."""
  if name in config.datasets:
    table = statistics.load(collected / name / STATISTICS)
    mode = config.datasets[name].normalise
    centre, scale = statistics.affine(table.streams['action'], mode)
    return np.asarray(centre, np.float32), np.asarray(scale, np.float32)
  if name in tasks(config):
    return np.float32(0.0), np.float32(1.0)
  env = envs.make(name)
  return np.float32(0.0), np.float32(env.action_limit)
