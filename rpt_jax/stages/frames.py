"""Every frame decoded once, at the size the image model trains on.

Writes `<domain>/<split>/`: shards of the streams `image/<camera>`, uint8
[N, size, size, 3], which training reads at random, so that memory does not grow
with the dataset; and `clips.npz`, what is known of their clips.
"""

import functools

import jax
import numpy as np

from rpt_jax import domains, results
from rpt_jax.episodes import frames as stored
from rpt_jax.episodes import store
from rpt_jax.learning import sweep
from rpt_jax.training import distributed
from rpt_jax.vision import preprocessing

SPLITS = ('pretrain', 'heldout')
_BATCH, _SHARD = 64, 4096  # Frames resized at once; of a shard.


def run(config, inputs, directory):
  """Write frames of all domains; rows: how many."""
  rows, c = [], config.frames
  for domain in domains.seen(domains.of(config)):
    views = tuple(
      sweep.View({'image': camera}, f'{stored.IMAGE}{camera}')
      for camera in domain.cameras
    )
    make = functools.partial(_resized, size=c.size)
    how = sweep.Sweep(views, make, _BATCH, _SHARD, c.error_budget, c.workers)
    for split in SPLITS:
      source = domain.source(inputs['collect'], split)
      folder = directory / domain.name / split
      entries = sweep.split(source, how, folder)
      if distributed.is_first():
        rate = domain.fps(inputs['collect']) or 0.0
        _describe(source, entries, len(views), rate, folder)
      distributed.wait(f'{domain.name}/{split} described')
      count = len(views) * store.steps(entries)
      print(f'  {domain.name} {split}: {count} frames', flush=True)
      names, tags = results.Frames, {'env': domain.name, 'split': split}
      rows.append(results.row(names.STAGE, names.FRAMES, count, **tags))
  return rows


@functools.partial(jax.jit, static_argnames='size')
def _resized(seen, size):
  return preprocessing.resize(seen['image'], (size, size), 'bilinear')


def _describe(source, entries, cameras, rate, folder):
  """Writes what is known of the clips: all of a camera, then of the next."""
  kept = [episode for entry in entries for episode in entry['episodes']]
  texts = [source.metadata(i).get('instruction', '') for i in kept]
  rates = np.full(len(kept) * cameras, rate)
  stored.save_clips(folder, rates, np.tile(np.array(texts, np.str_), cameras))
