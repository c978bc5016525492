"""Every frame decoded once, at the size the image model trains on.

Writes `<domain>/<split>.npy`, uint8 [N, size, size, 3], the cameras of an
episode one after the other: a file on disk that training reads at random, so
that memory does not grow with the dataset. Of several processes one writes.
"""

import contextlib
import os

import jax
import numpy as np

from rpt_jax.episodes import CorruptEpisode, reading
from rpt_jax.stages import domains, pipeline
from rpt_jax.training import distributed
from rpt_jax.vision import preprocessing

SPLITS = ('pretrain', 'heldout')
_BATCH = 64  # Frames resized at once.


def run(config, inputs, directory):
  """Write frames of all domains; rows: how many."""
  rows = []
  for name in domains.pretraining(config):
    cameras = domains.cameras(config, name)
    for split in SPLITS:
      source = domains.source(config, inputs['collect'], name, split)
      path = directory / name / f'{split}.npy'
      if distributed.is_first() and not path.exists():
        _write(source, cameras, path, config.frames)
      distributed.wait(f'{name}/{split}')
      count = len(np.load(path, mmap_mode='r'))
      print(f'  {name} {split}: {count} frames', flush=True)
      tags = {'env': name, 'split': split}
      rows.append(pipeline.row('frames', 'frames', count, **tags))
  return rows


def load(config, folder, split) -> list[np.ndarray]:
  """Frames of a split, an array a domain, mapped from disk."""
  return [
    np.load(folder / name / f'{split}.npy', mmap_mode='r')
    for name in domains.pretraining(config)
  ]


def _write(source, cameras, path, settings):
  """Decodes a split into `path`; a killed run begins the split again."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'.{path.stem}.partial.npy')
  size = settings.size
  resize = jax.jit(lambda x: preprocessing.resize(x, (size, size), 'bilinear'))
  total = int(source.lengths.sum()) * len(cameras)
  out = np.lib.format.open_memmap(
    partial, mode='w+', dtype=np.uint8, shape=(total, size, size, 3)
  )
  label = f'{path.parent.name}/{path.stem}'
  budget = reading.Budget(len(source), settings.error_budget, label)
  reader = reading.read_ahead(
    source, cameras, range(len(source)), workers=settings.workers
  )
  count = 0
  with contextlib.closing(reader):
    for frames in _decoded(reader, budget):
      for batch, real in reading.batches([{'image': frames}], _BATCH):
        out[count : count + real] = np.asarray(resize(batch['image']))[:real]
        count += real
  out.flush()
  if count < total:  # Some episodes were skipped.
    shorter = path.with_name(f'.{path.stem}.shorter.partial.npy')
    np.save(shorter, out[:count])
    os.replace(shorter, partial)
  os.replace(partial, path)


def _decoded(reader, budget):
  """Frames [T, H, W, 3] of each camera of each episode."""
  for episode, found in reader:
    if isinstance(found, CorruptEpisode):
      budget.skip(episode, found)
    else:
      yield from found.values()
