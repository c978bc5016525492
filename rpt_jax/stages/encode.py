"""Every frame through the frozen image model, once.

Writes `<domain>/<split>/`: shards of the stream `latent` (several cameras:
their latents end to end) and a manifest, and nothing an action-free stage must
not see. Episodes are decoded ahead while the device computes; a batch is split
over the devices of this process, shards over processes. No more than a shard's
latents are in memory. Also `statistics.safetensors`: mean and standard
deviation over the pretraining frames.
"""

import collections
import contextlib
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rpt_jax import envs, vision
from rpt_jax.episodes import CorruptEpisode, reading, streams
from rpt_jax.stages import domains, pipeline
from rpt_jax.training import checkpoint, distributed, sharding
from rpt_jax.types import Array, PyTree


class FrameEncoder(NamedTuple):
  """`apply(params, {'image': u8 [N, H, W, 3], 'state': f32 [N, P]})`.

  Gives latents [N, dim]; looks at 'image' or at 'state', as `field` says.
  """

  apply: Callable[[PyTree, dict[str, Array]], Array]
  params: PyTree
  dim: int
  field: str = 'image'


def run(config, inputs, directory):
  """Write latents of all splits; rows: their width, frames, skipped ones."""
  encoder = load_encoder(config, inputs)
  encode = _compiled(encoder)
  rows = []
  for name in domains.names(config):
    views = _views(config, name, encoder)
    for split in domains.splits(config, name):
      source = domains.source(config, inputs['collect'], name, split)
      folder = directory / name / split
      rows += _encode_split(source, views, folder, encode, config.encode)
  names = domains.pretraining(config)
  folders = [directory / name / 'pretrain' for name in names]
  mean_D, std_D = _moments(folders)
  statistics = {'mean': mean_D, 'std': np.maximum(std_D, 1e-3)}
  checkpoint.save_params(directory / 'statistics.safetensors', statistics)
  return [pipeline.row('encode', 'latent_dim', len(mean_D)), *rows]


def load_encoder(config, inputs) -> FrameEncoder:
  """The encoder that `config.encoder` names.

  'mae' is the one pretrained before. 'state' is the control that sees: the
  physical state itself, padded with zeros to the widest environment's.
  """
  if config.encoder == 'state':
    dim = max(len(envs.make(env).state_names) for env in config.envs)

    def pad(params, seen):
      del params
      missing = dim - seen['state'].shape[-1]
      return jnp.pad(seen['state'], ((0, 0), (0, missing)))

    return FrameEncoder(pad, {}, dim, 'state')
  model = load_model(config, inputs)

  def apply(params, seen):
    return model.apply(params, model.preprocess(seen['image']))

  return FrameEncoder(apply, model.params, model.dim)


def load_model(config, inputs) -> vision.VisionModel:
  """The image model of `config.encoder`, pretrained before or published."""
  path, settings = image_from(config, inputs)
  return vision.load(path, **settings)


def image_from(config, inputs) -> tuple:
  """(what, settings) that `vision.load(what, **settings)` takes."""
  name = config.encoder
  path = inputs['mae'] / 'model' if name == 'mae' else name
  return path, vision_settings(config.encode)


def vision_settings(settings) -> dict:
  """What of `config.encode` goes to `vision.load`."""
  chosen = {'output': settings.output}
  if settings.layer != -1:
    chosen['layer'] = settings.layer
  if settings.image_size:
    chosen['image_size'] = settings.image_size
  return chosen


def _compiled(encoder):
  """(numpy batch -> f16 latents on device), split over local devices."""
  mesh = sharding.local_mesh()
  params = jax.device_put(encoder.params, sharding.replicated(mesh))
  rows = NamedSharding(mesh, PartitionSpec('data'))
  apply = jax.jit(lambda p, seen: encoder.apply(p, seen).astype(jnp.float16))
  return lambda batch: apply(params, jax.device_put(batch, rows))


def _views(config, name, encoder):
  """What the encoder looks at, one after the other: [{'image': field}]."""
  if encoder.field == 'state':
    return [{'state': 'state'}]
  return [{'image': camera} for camera in domains.cameras(config, name)]


def _encode_split(source, views, folder, encode, settings):
  """Writes the shards of a split that are not there yet, then the manifest."""
  name = f'{folder.parent.name}/{folder.name}'
  if (folder / streams.MANIFEST).exists():
    entries = streams.manifest(folder)['shards']
  else:
    shards = streams.plan(source.lengths, settings.shard_frames)
    mine = shards[jax.process_index() :: jax.process_count()]
    _write_shards(source, views, folder, mine, encode, settings)
    distributed.wait(f'{name} written')
    entries = streams.finished(folder, shards)
    _budget(source, settings, name, entries).check()  # Of all processes.
    distributed.wait(f'{name} counted')
  if distributed.is_first():
    streams.seal(folder, entries)
  distributed.wait(f'{name} sealed')
  tags = {'domain': folder.parent.name, 'split': folder.name}
  frames = sum(sum(entry['lengths']) for entry in entries)
  return [
    pipeline.row('encode', 'frames', frames, **tags),
    pipeline.row('encode', 'skipped_episodes', len(_skipped(entries)), **tags),
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
  entries = [streams.read_entry(folder, shard) for shard in shards]
  todo = [s for s, e in zip(shards, entries, strict=True) if e is None]
  wanted = [e for shard in todo for e in range(shard.start, shard.stop)]
  budget = _budget(source, settings, name, entries)
  progress = _Progress(name, int(source.lengths[wanted].sum()), len(views))
  reader = reading.read_ahead(
    source,
    tuple(dict.fromkeys(f for view in views for f in view.values())),
    wanted,
    workers=settings.workers,
    ahead=settings.ahead,
  )
  with contextlib.closing(reader):
    decoded = progress.waiting_for(reader)
    for shard in todo:
      lengths, skipped = {}, {}
      episodes = _sound(decoded, shard, budget, lengths, skipped)
      latent_ND = _latents(episodes, views, encode, settings, progress)
      found = _by_episode(latent_ND, lengths, name)
      streams.write_shard(folder, shard, found, skipped)
  progress.close()


def _sound(decoded, shard, budget, lengths, skipped):
  """The episodes of a shard that could be decoded; notes which could not."""
  for episode, found in itertools.islice(decoded, shard.stop - shard.start):
    if isinstance(found, CorruptEpisode):
      budget.skip(episode, found)
      skipped[episode] = str(found)
    else:
      lengths[episode] = len(next(iter(found.values())))
      yield found


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
  found, start = {}, 0
  for episode, length in lengths.items():
    latent_TD = latent_ND[start : start + length]
    if not np.isfinite(latent_TD).all():
      raise ValueError(
        f'{name}: episode {episode}: latents that float16 cannot hold; the '
        'image model diverges on it: choose another config.encode.output or '
        'layer'
      )
    found[episode] = {'latent': latent_TD}
    start += length
  return found


def _moments(folders: Sequence[pathlib.Path]):
  """(mean, standard deviation) [D] f32 of all latents, an episode at a time.

  Sums of float16 and of their squares are all but exact in float64, so the
  variance needs no shift. Raises ValueError where widths differ or there is
  nothing to sum.
  """
  count, sum_D, squares_D = 0, np.float64(0), np.float64(0)
  for folder in folders:
    for episode in streams.iterate(folder, ('latent',)):
      x_TD = episode['latent'].astype(np.float64)
      if count and x_TD.shape[1:] != sum_D.shape:
        raise ValueError(
          f'{folder}: latents of width {x_TD.shape[1]}, those of '
          f'{folders[0]} have {len(sum_D)}; give every dataset as many cameras'
        )
      count += len(x_TD)
      sum_D = sum_D + x_TD.sum(0)
      squares_D = squares_D + (x_TD**2).sum(0)
  if not count:
    raise ValueError(f'{folders[0].parents[1]}: no frame could be encoded')
  mean_D = sum_D / count
  variance_D = np.maximum(squares_D / count - mean_D**2, 0)
  return mean_D.astype(np.float32), np.sqrt(variance_D).astype(np.float32)


class _Progress:
  """Prints frames done, images a second, how long decoding was waited for."""

  _EVERY = 5.0  # Seconds.

  def __init__(self, label: str, total: int, views: int):
    self._label, self._total, self._views = label, total, views
    self._done, self._told, self._waited = 0, 0, 0.0
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
    if self._done > self._told:
      self._print()

  def _print(self):
    self._printed, self._told = time.perf_counter(), self._done
    elapsed = max(self._printed - self._began, 1e-9)
    rate = max(self._done / elapsed, 1e-9)
    print(
      f'  {self._label} {self._done}/{self._total} frames '
      f'{rate * self._views:.0f} images/s '
      f'wait {self._waited / elapsed:.0%} '
      f'ETA {(self._total - self._done) / rate:.0f}s',
      flush=True,
    )
