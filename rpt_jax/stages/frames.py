"""Every frame decoded once, at the size the image model trains on.

Writes `<domain>/<split>.npy`, uint8 [N, size, size, 3], the cameras of an
episode one after the other: a file on disk that training reads at random, so
that memory does not grow with the dataset.
"""

import os

import jax
import numpy as np

from rpt_jax.episodes import CorruptEpisode, reading
from rpt_jax.stages import domains, pipeline
from rpt_jax.vision import preprocessing

SPLITS = ('pretrain', 'heldout')


def run(config, inputs, directory):
  """Write frames of all domains; rows: how many."""
  rows = []
  for name in domains.names(config):
    cameras = domains.cameras(config, name)
    for split in SPLITS:
      source = domains.source(config, inputs['collect'], name, split)
      path = directory / name / f'{split}.npy'
      count = _write(source, cameras, path, config.frames)
      print(f'  {name} {split}: {count} frames', flush=True)
      tags = {'env': name, 'split': split}
      rows.append(pipeline.row('frames', 'frames', count, **tags))
  return rows


def load(config, folder, split) -> list[np.ndarray]:
  """Frames of a split, an array a domain, mapped from disk."""
  return [
    np.load(folder / name / f'{split}.npy', mmap_mode='r')
    for name in domains.names(config)
  ]


def _write(source, cameras, path, settings):
  """Decodes a split into `path`; a killed run begins the split again."""
  if path.exists():
    return len(np.load(path, mmap_mode='r'))
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'.{path.name}.partial')
  size = settings.size
  resize = jax.jit(lambda x: preprocessing.resize(x, (size, size), 'bilinear'))
  total = int(source.lengths.sum()) * len(cameras)
  out = np.lib.format.open_memmap(
    partial, mode='w+', dtype=np.uint8, shape=(total, size, size, 3)
  )
  label = f'{path.parent.name}/{path.stem}'
  budget = reading.Budget(len(source), settings.error_budget, label)
  count = 0
  for frames in _decoded(source, cameras, settings, budget):
    for batch, real in reading.batches([{'image': frames}], 64):
      out[count : count + real] = np.asarray(resize(batch['image']))[:real]
      count += real
  out.flush()
  if count < total:  # Some episodes were skipped.
    np.save(path.with_name(f'.{path.stem}.partial.npy'), out[:count])
    os.replace(path.with_name(f'.{path.stem}.partial.npy'), partial)
  os.replace(partial, path)
  return count


def _decoded(source, cameras, settings, budget):
  """Frames [T, H, W, 3] of each camera of each episode."""
  everything = range(len(source))
  for episode, found in reading.read_ahead(
    source, cameras, everything, workers=settings.workers
  ):
    if isinstance(found, CorruptEpisode):
      budget.skip(episode, found)
    else:
      yield from found.values()
