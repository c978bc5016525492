"""Every frame through the frozen image model, once.

Writes `<domain>/<split>/`: shards of the stream `latent` (several cameras:
their latents end to end) and a manifest, and nothing an action-free stage must
not see. Episodes are decoded ahead while the device computes; a batch is split
over the devices of this process, shards over processes. Also
`statistics.safetensors`: mean and standard deviation over the pretraining
frames.
"""

import collections
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from rpt_jax import envs, vision
from rpt_jax.episodes import CorruptEpisode, reading, streams
from rpt_jax.stages import domains, pipeline
from rpt_jax.training import checkpoint, sharding
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
  rows, moments = [], []
  for name in domains.names(config):
    for split in domains.splits(config, name):
      source = domains.source(config, inputs['collect'], name, split)
      folder = directory / name / split
      views = _views(config, name, encoder)
      rows += _encode_split(source, views, folder, encode, config.encode)
      if split == 'pretrain':
        latent = streams.load(folder, ('latent',)).arrays['latent']
        moments.append(latent.astype(np.float32))
  frames = np.concatenate(moments)
  checkpoint.save_params(
    directory / 'statistics.safetensors',
    {'mean': frames.mean(0), 'std': np.maximum(frames.std(0), 1e-3)},
  )
  return [pipeline.row('encode', 'latent_dim', frames.shape[1]), *rows]


def load_encoder(config, inputs) -> FrameEncoder:
  """The encoder that `config.encoder` names.

  'mae' is the one pretrained before. 'state' is the control that sees: the
  physical state itself, padded with zeros to the widest environment's.
  """
  name, c = config.encoder, config.encode
  if name == 'state':
    dim = max(len(envs.make(env).state_names) for env in config.envs)

    def pad(params, seen):
      del params
      missing = dim - seen['state'].shape[-1]
      return jnp.pad(seen['state'], ((0, 0), (0, missing)))

    return FrameEncoder(pad, {}, dim, 'state')
  path = inputs['mae'] / 'model' if name == 'mae' else name
  model = vision.load(path, **vision_settings(c))

  def apply(params, seen):
    return model.apply(params, model.preprocess(seen['image']))

  return FrameEncoder(apply, model.params, model.dim)


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
  shards = streams.plan(source.lengths, settings.shard_frames)
  if not (folder / streams.MANIFEST).exists():
    mine = shards[jax.process_index() :: jax.process_count()]
    todo = [s for s in mine if streams.read_entry(folder, s) is None]
    _write_shards(source, views, folder, todo, encode, settings, name)
    multihost_utils.sync_global_devices(name)
    if jax.process_index() == 0:
      streams.seal(folder, shards)
    multihost_utils.sync_global_devices(name)
  parts = streams.manifest(folder)['shards']
  tags = {'domain': folder.parent.name, 'split': folder.name}
  frames = sum(sum(part['lengths']) for part in parts)
  skipped = sum(len(part['skipped']) for part in parts)
  return [
    pipeline.row('encode', 'frames', frames, **tags),
    pipeline.row('encode', 'skipped_episodes', skipped, **tags),
  ]


def _write_shards(source, views, folder, shards, encode, settings, name):
  fields = tuple(dict.fromkeys(f for view in views for f in view.values()))
  wanted = [e for shard in shards for e in range(shard.start, shard.stop)]
  reader = reading.read_ahead(
    source,
    fields,
    wanted,
    workers=settings.workers,
    ahead=settings.ahead,
  )
  budget = reading.Budget(len(source), settings.error_budget, name)
  progress = _Progress(name, int(source.lengths[wanted].sum()))
  for shard in shards:
    lengths = {}

    def decoded(shard=shard, lengths=lengths):
      for _ in range(shard.start, shard.stop):
        began = time.perf_counter()
        episode, found = next(reader)
        progress.waited += time.perf_counter() - began
        if isinstance(found, CorruptEpisode):
          budget.skip(episode, found)
        else:
          lengths[episode] = len(next(iter(found.values())))
          yield found

    latent_ND = _latents(decoded(), views, encode, settings, progress)
    cuts = np.cumsum(list(lengths.values()))[:-1]
    parts = np.split(latent_ND, cuts) if lengths else []
    skipped = {
      e: why
      for e, why in budget.skipped.items()
      if shard.start <= e < shard.stop
    }
    found = {
      episode: {'latent': part}
      for episode, part in zip(lengths, parts, strict=True)
    }
    streams.write_shard(folder, shard, found, skipped)
  progress.close()


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


class _Progress:
  """Prints frames done, their rate, how long decoding was waited for, ETA."""

  _EVERY = 5.0  # Seconds.

  def __init__(self, label, total):
    self._label, self._total, self._done = label, total, 0
    self._began = self._printed = time.perf_counter()
    self.waited = 0.0

  def __call__(self, count):
    self._done += count
    if time.perf_counter() - self._printed > self._EVERY:
      self._print()

  def close(self):
    if self._done:
      self._print()

  def _print(self):
    self._printed = time.perf_counter()
    elapsed = max(self._printed - self._began, 1e-9)
    rate = max(self._done / elapsed, 1e-9)
    print(
      f'  {self._label} {self._done}/{self._total} frames {rate:.0f} images/s '
      f'wait {self.waited / elapsed:.0%} '
      f'ETA {(self._total - self._done) / rate:.0f}s',
      flush=True,
    )
