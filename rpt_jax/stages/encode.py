"""Every frame through the frozen image model, once.

Writes `<env>/<split>/` streams: `latent` for what follows, and `state`,
`action`, `reward` for those stages that may see them (unit quality, probes,
fine-tuning). Also `statistics.safetensors`: mean and standard deviation of
the latents over all pretraining frames.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import episodes, vision
from rpt_jax.episodes import streams
from rpt_jax.stages import pipeline
from rpt_jax.training import checkpoint

SPLITS = ('pretrain', 'heldout', 'demos')
_BATCH = 256


def run(config, inputs, directory):
  """Write latents of all splits; rows: frames encoded."""
  model = load_vision(config, inputs)
  encode = jax.jit(model.encode)
  latents = []
  for env in config.envs:
    for split in SPLITS:
      source = episodes.open(inputs['collect'] / env, split=split)
      clips = source.read_all(('image', 'state', 'action', 'reward'))
      latent = _batched(encode, clips.arrays.pop('image'))
      clips.arrays['latent'] = latent
      streams.save(directory / env / split, clips)
      if split == 'pretrain':
        latents.append(latent)
    print(f'  {env}: latents of {model.dim} dimensions', flush=True)
  frames = np.concatenate(latents).astype(np.float32)
  checkpoint.save_params(
    directory / 'statistics.safetensors',
    {'mean': frames.mean(0), 'std': np.maximum(frames.std(0), 1e-3)},
  )
  return [pipeline.row('encode', 'latent_dim', model.dim)]


def load_vision(config, inputs):
  """The image model that `config.encoder` names."""
  name = config.encoder.name
  path = inputs['mae'] / 'model' if name == 'mae' else name
  return vision.load(path, output=config.encoder.output)


def _batched(encode, image_NHWC):
  """f16 latents [N, D], in batches of one static shape."""
  padded = -len(image_NHWC) % _BATCH
  image_NHWC = np.pad(image_NHWC, ((0, padded), (0, 0), (0, 0), (0, 0)))
  parts = [
    np.asarray(encode(jnp.asarray(batch)), np.float16)
    for batch in np.split(image_NHWC, len(image_NHWC) // _BATCH)
  ]
  return np.concatenate(parts)[: len(image_NHWC) - padded]
