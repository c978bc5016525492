"""Every frame through the frozen image model, once.

Writes `<env>/<split>/` streams: `latent` for what follows, and `state`,
`action`, `reward` for those stages that may see them (unit quality, probes,
fine-tuning). Also `statistics.safetensors`: mean and standard deviation of
the latents over all pretraining frames.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import envs, episodes, vision
from rpt_jax.episodes import streams
from rpt_jax.stages import pipeline
from rpt_jax.training import checkpoint

SPLITS = ('pretrain', 'heldout', 'demos')
_BATCH = 256


class FrameEncoder(NamedTuple):
  """`encode({'image': u8 [N, 64, 64, 3], 'state': f32 [N, P]}) -> [N, dim]`."""

  encode: Callable
  dim: int


def run(config, inputs, directory):
  """Write latents of all splits; rows: their width."""
  encoder = load_encoder(config, inputs)
  encode = jax.jit(encoder.encode)
  latents = []
  for env in config.envs:
    for split in SPLITS:
      source = episodes.open(inputs['collect'] / env, split=split)
      clips = source.read_all(('image', 'state', 'action', 'reward'))
      seen = {
        'image': clips.arrays.pop('image'),
        'state': clips.arrays['state'],
      }
      clips.arrays['latent'] = _batched(encode, seen)
      streams.save(directory / env / split, clips)
      if split == 'pretrain':
        latents.append(clips.arrays['latent'])
    print(f'  {env}: latents of {encoder.dim} dimensions', flush=True)
  frames = np.concatenate(latents).astype(np.float32)
  checkpoint.save_params(
    directory / 'statistics.safetensors',
    {'mean': frames.mean(0), 'std': np.maximum(frames.std(0), 1e-3)},
  )
  return [pipeline.row('encode', 'latent_dim', encoder.dim)]


def load_encoder(config, inputs) -> FrameEncoder:
  """The encoder that `config.encoder` names.

  'state' is the control that sees: the physical state itself, padded with
  zeros to the widest of the config's environments.
  """
  name = config.encoder.name
  if name == 'state':
    dim = max(len(envs.make(env).state_names) for env in config.envs)

    def encode_state(seen):
      missing = dim - seen['state'].shape[-1]
      return jnp.pad(seen['state'], ((0, 0), (0, missing)))

    return FrameEncoder(encode_state, dim)
  path = inputs['mae'] / 'model' if name == 'mae' else name
  model = vision.load(path, output=config.encoder.output)
  return FrameEncoder(lambda seen: model.encode(seen['image']), model.dim)


def _batched(encode, seen):
  """f16 latents [N, D], in batches of one static shape."""
  size = len(seen['image'])
  padded = -size % _BATCH
  seen = jax.tree.map(
    lambda x: np.pad(x, ((0, padded),) + ((0, 0),) * (x.ndim - 1)), seen
  )
  parts = []
  for i in range(0, size + padded, _BATCH):
    batch = {k: jnp.asarray(x[i : i + _BATCH]) for k, x in seen.items()}
    parts.append(np.asarray(encode(batch), np.float16))
  return np.concatenate(parts)[:size]
