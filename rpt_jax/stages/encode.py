"""Every frame through the frozen image model, once.

Writes `<domain>/<split>/`: shards of the stream `latent` (several cameras:
their latents end to end) and a manifest, and nothing an action-free stage must
not see. Episodes are decoded ahead while the device computes; a batch is split
over the devices of this process, shards over processes. No more than a shard's
latents are in memory.
"""

import collections
import contextlib
import functools
import itertools
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rpt_jax import domains, results
from rpt_jax.episodes import CorruptEpisode, reading, store
from rpt_jax.learning import encoders
from rpt_jax.training import distributed, sharding


def run(config, inputs, directory, splits=()):
  """Write latents of all splits; rows: their width, frames, skipped ones.

  Where `splits` are named, nothing is encoded of others.
  """
  places = domains.of(config)
  encoder = encoders.load(config.encoder, config.encode, inputs, places)
  cameras = max(len(domain.cameras) for domain in places)
  names = results.Encode
  rows = [results.row(names.STAGE, names.LATENT_DIM, encoder.dim * cameras)]
  for domain in places:
    views = _views(domain, encoder)
    encode = _compiled(encoder, encoder.shown.get(domain.name))
    for split in domain.splits:
      if splits and split not in splits:
        continue
      source = domain.source(inputs['collect'], split)
      folder = directory / domain.name / split
      rows += _encode_split(source, views, folder, encode, config.encode)
  frames = results.select(rows, names.FRAMES, split='pretrain')
  if not any(row['value'] for row in frames):
    raise ValueError(f'{directory}: no frame could be encoded')
  return rows


def _compiled(encoder, shown_D):
  """(numpy batch -> f16 latents on device), split over local devices."""
  mesh = sharding.local_mesh()
  params = encoder.params if shown_D is None else shown_D
  params = jax.device_put(params, sharding.replicated(mesh))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  apply = _half(encoder.apply)
  return lambda batch: apply(params, jax.device_put(batch, rows))


@functools.lru_cache(maxsize=4)
def _half(apply):
  """Jitted (params, seen) -> f16 latents."""
  return jax.jit(lambda params, seen: apply(params, seen).astype(jnp.float16))


def _views(domain, encoder):
  """What the encoder looks at, one after the other: [{'image': field}]."""
  if encoder.field == encoders.STATE:
    return [{'state': 'state'}]
  return [{'image': camera} for camera in domain.cameras]


def _encode_split(source, views, folder, encode, settings):
  """Writes the shards of a split that are not there yet, then the manifest."""
  name = f'{folder.parent.name}/{folder.name}'
  if (folder / store.MANIFEST).exists():
    entries = store.manifest(folder)['shards']
  else:
    shards = store.plan(source.lengths, settings.shard_frames)
    own_shards = shards[jax.process_index() :: jax.process_count()]
    _write_shards(source, views, folder, own_shards, encode, settings)
    distributed.wait(f'{name} written')
    entries = store.finished(folder, shards)
    _budget(source, settings, name, entries).check()  # Of all processes.
    distributed.wait(f'{name} counted')
  if distributed.is_first():
    store.seal(folder, entries)
  distributed.wait(f'{name} sealed')
  tags = {'domain': folder.parent.name, 'split': folder.name}
  frames, names = sum(sum(e['lengths']) for e in entries), results.Encode
  return [
    results.row(names.STAGE, names.FRAMES, frames, **tags),
    results.row(names.STAGE, names.SKIPPED, len(_skipped(entries)), **tags),
  ]


def _budget(source, settings, name, entries):
  """What may yet be skipped, after what finished shards have skipped."""
  total, share = len(source), settings.error_budget
  return reading.Budget(total, share, name, _skipped(entries))


def _skipped(entries):
  """{episode: why} of finished shards; None stands for an unfinished one."""
  return {
    int(episode): why
    for entry in entries
    if entry is not None
    for episode, why in entry['skipped'].items()
  }


def _write_shards(source, views, folder, shards, encode, settings):
  """Writes those of `shards` that are not finished."""
  name = f'{folder.parent.name}/{folder.name}'
  entries = [store.read_entry(folder, shard) for shard in shards]
  todo = [s for s, e in zip(shards, entries, strict=True) if e is None]
  due = [e for shard in todo for e in range(shard.start, shard.stop)]
  budget = _budget(source, settings, name, entries)
  progress = _Progress(name, int(source.lengths[due].sum()), len(views))
  reader = reading.read_ahead(
    source,
    tuple(dict.fromkeys(f for view in views for f in view.values())),
    due,
    workers=settings.workers,
    ahead=settings.ahead,
  )
  with contextlib.closing(reader):
    decoded = progress.waiting_for(reader)
    for shard in todo:
      lengths, skipped = {}, {}
      episodes = _sound(decoded, shard, budget, lengths, skipped)
      latent_ND = _latents(episodes, views, encode, settings, progress)
      latents = _by_episode(latent_ND, lengths, name)
      store.write_shard(folder, shard, latents, skipped)
  progress.close()


def _sound(decoded, shard, budget, lengths, skipped):
  """The episodes of a shard that could be decoded; notes which could not."""
  for episode, content in itertools.islice(decoded, shard.stop - shard.start):
    if isinstance(content, CorruptEpisode):
      budget.skip(episode, content)
      skipped[episode] = str(content)
    else:
      lengths[episode] = len(next(iter(content.values())))
      yield content


def _latents(episodes, views, encode, settings, progress):
  """[N, D] f16 of all frames; two batches are on the device at a time."""
  done, running = [], collections.deque()

  def finish():
    latents, count = running.popleft()
    done.append(np.concatenate([np.asarray(x) for x in latents], -1)[:count])
    progress(count)

  devices = jax.local_device_count()
  size = -(-settings.batch_size // devices) * devices
  for batch, count in reading.batches(episodes, size):
    seen = [{k: batch[field] for k, field in view.items()} for view in views]
    running.append(([encode(x) for x in seen], count))
    if len(running) > 1:
      finish()
  while running:
    finish()
  return np.concatenate(done) if done else np.zeros((0, 0), np.float16)


def _by_episode(latent_ND, lengths, name):
  """{episode: {'latent': [T, D]}}; ValueError where one is not finite."""
  by_episode, start = {}, 0
  for episode, length in lengths.items():
    latent_TD = latent_ND[start : start + length]
    if not np.isfinite(latent_TD).all():
      raise ValueError(
        f'{name}: episode {episode}: latents that float16 cannot hold; the '
        'image model diverges on it: choose another config.encode.output or '
        'layer'
      )
    by_episode[episode] = {'latent': latent_TD}
    start += length
  return by_episode


class _Progress:
  """Prints frames done, images a second, how long decoding was waited for."""

  _EVERY = 5.0  # Seconds.

  def __init__(self, label: str, total: int, views: int):
    self._label, self._total, self._views = label, total, views
    self._done, self._printed_frames, self._waited = 0, 0, 0.0
    self._began = self._printed = time.perf_counter()

  def __call__(self, count: int):
    """`count` frames more are done."""
    self._done += count
    if time.perf_counter() - self._printed > self._EVERY:
      self._print()

  def waiting_for(self, items: Iterator) -> Iterator:
    """The same items, the time they took counted as waiting."""
    while True:
      began = time.perf_counter()
      item = next(items, None)
      self._waited += time.perf_counter() - began
      if item is None:
        return
      yield item

  def close(self):
    if self._done > self._printed_frames:
      self._print()

  def _print(self):
    self._printed, self._printed_frames = time.perf_counter(), self._done
    elapsed = max(self._printed - self._began, 1e-9)
    rate = max(self._done / elapsed, 1e-9)
    print(
      f'  {self._label} {self._done}/{self._total} frames '
      f'{rate * self._views:.0f} images/s '
      f'wait {self._waited / elapsed:.0%} '
      f'ETA {(self._total - self._done) / rate:.0f}s',
      flush=True,
    )
