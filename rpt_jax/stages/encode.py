"""Every frame through the frozen image model, once.

Writes `<domain>/<split>/`: shards of the stream `latent` (several cameras:
their latents side by side) and a manifest, and nothing an action-free stage
must not see (`learning/sweep.py` says how).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rpt_jax import domains, results
from rpt_jax.episodes import store
from rpt_jax.learning import encoders, sweep
from rpt_jax.training import sharding
from rpt_jax.types import LATENT


def run(config, inputs, directory, splits=()):
  """Write latents of all splits; rows: their width, frames, skipped ones.

  Where `splits` are named, nothing is encoded of others.
  """
  c, places = config.encode, domains.of(config)
  encoder = encoders.load(config.encoder, c, inputs, places)
  views = max(len(_views(domain, encoder)) for domain in places)
  names = results.Encode
  rows = [results.row(names.STAGE, names.LATENT_DIM, encoder.dim * views)]
  for domain in places:
    how = sweep.Sweep(
      _views(domain, encoder),
      _compiled(encoder, encoder.shown.get(domain.name)),
      c.batch_size,
      c.shard_frames,
      c.error_budget,
      c.workers,
      c.ahead,
      _overflow,
    )
    for split in domain.splits:
      if splits and split not in splits:
        continue
      source = domain.source(inputs['collect'], split)
      entries = sweep.split(source, how, directory / domain.name / split)
      frames, left_out = store.steps(entries), len(sweep.skipped(entries))
      tags = {'domain': domain.name, 'split': split}
      rows += [
        results.row(names.STAGE, names.FRAMES, frames, **tags),
        results.row(names.STAGE, names.SKIPPED, left_out, **tags),
      ]
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
  """What the encoder looks at: a camera after the other, or the true state."""
  if encoder.field == encoders.STATE:
    return (sweep.View({'state': 'state'}, LATENT),)
  return tuple(sweep.View({'image': c}, LATENT) for c in domain.cameras)


def _overflow(arrays):
  """What is wrong with the latents of an episode; '' where nothing is."""
  if np.isfinite(arrays[LATENT]).all():
    return ''
  return (
    'latents that float16 cannot hold; the image model diverges on it: choose '
    'another config.encode.output or layer'
  )
