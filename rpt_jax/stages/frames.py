"""Every frame decoded once, at the size the image model trains on.

Writes `<domain>/<split>.npy`, uint8 [N, size, size, 3], the cameras of an
episode one after the other, and beside it where those clips lie: files on disk
that training reads at random, so that memory does not grow with the dataset. Of
several processes one writes.
"""

import contextlib
import os

import jax
import numpy as np

from rpt_jax import domains, files, results
from rpt_jax.episodes import CorruptEpisode, reading
from rpt_jax.episodes import frames as stored
from rpt_jax.training import distributed
from rpt_jax.vision import preprocessing

SPLITS = ('pretrain', 'heldout')
_BATCH = 64  # Frames resized at once.


def run(config, inputs, directory):
  """Write frames of all domains; rows: how many."""
  rows = []
  for domain in domains.seen(domains.of(config)):
    name = domain.name
    for split in SPLITS:
      source = domain.source(inputs['collect'], split)
      path = directory / name / f'{split}.npy'
      if distributed.is_first() and not path.exists():
        kept = _write(source, domain.cameras, path, config.frames)
        rate = domain.fps(inputs['collect']) or 0.0
        _describe(source, kept, len(domain.cameras), rate, path)
        os.replace(_partial(path), path)
      distributed.wait(f'{name}/{split}')
      count = len(np.load(path, mmap_mode='r'))
      print(f'  {name} {split}: {count} frames', flush=True)
      names, tags = results.Frames, {'env': name, 'split': split}
      rows.append(results.row(names.STAGE, names.FRAMES, count, **tags))
  return rows


def _write(source, cameras, path, settings):
  """Decodes a split beside `path`; returns the episodes that could be.

  A killed run begins the split again.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  partial, kept = _partial(path), []
  size = settings.size
  resize = jax.jit(lambda x: preprocessing.resize(x, (size, size), 'bilinear'))
  total = int(source.lengths.sum()) * len(cameras)
  shape = (total, size, size, 3)
  np.lib.format.open_memmap(partial, 'w+', np.uint8, shape)
  try:
    files.reserve(partial)
  except OSError:
    partial.unlink()
    raise
  out = np.lib.format.open_memmap(partial, 'r+')
  label = f'{path.parent.name}/{path.stem}'
  budget = reading.Budget(len(source), settings.error_budget, label)
  reader = reading.read_ahead(
    source, cameras, range(len(source)), workers=settings.workers
  )
  count = 0
  with contextlib.closing(reader):
    for frames in _decoded(reader, budget, kept):
      for batch, real in reading.batches([{'image': frames}], _BATCH):
        out[count : count + real] = np.asarray(resize(batch['image']))[:real]
        count += real
  out.flush()
  if count < total:  # Some episodes were skipped.
    files.write_array(partial, out[:count])
  return kept


def _partial(path):
  return path.with_name(f'.{path.stem}.partial.npy')


def _describe(source, kept, cameras, rate, path):
  """Writes what is known of the clips: one of each camera of an episode."""
  lengths = np.repeat(source.lengths[kept], cameras)
  texts = [source.metadata(i).get('instruction', '') for i in kept]
  rates = np.full(len(lengths), rate)
  stored.save_clips(path, lengths, rates, np.repeat(texts, cameras))


def _decoded(reader, budget, kept):
  """Frames [T, H, W, 3] of each camera of each episode; adds it to `kept`."""
  for episode, frames in reader:
    if isinstance(frames, CorruptEpisode):
      budget.skip(episode, frames)
    else:
      kept.append(episode)
      yield from frames.values()
