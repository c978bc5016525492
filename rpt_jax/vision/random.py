"""Control: a vision transformer with random weights."""

import jax
import jax.numpy as jnp

from rpt_jax.vision import vit
from rpt_jax.vision.model import VisionModel, encoder_model
from rpt_jax.vision.preprocessing import Preprocess


def load(
  name: str,
  *,
  output: str = 'patches',
  layer: int = -1,
  seed: int = 0,
  **shape,
) -> VisionModel:
  """An untrained `vit.Encoder(**shape)`, the same one for the same seed."""
  encoder = vit.Encoder(**shape)
  frame = jnp.zeros((1, encoder.image_size, encoder.image_size, 3))
  params = jax.jit(encoder.init)(jax.random.key(seed), frame)['params']
  preprocess = Preprocess(2 * (encoder.image_size,))
  return encoder_model(name, encoder, params, output, layer, preprocess)
