"""Control: how steep the grey of a frame is, on a small map; nothing learned.

The length of the gradient of luminance, averaged over cells: what moves stands
out of a smooth background, wherever its colours come from.
"""

import functools

import jax.numpy as jnp

from rpt_jax.types import Array
from rpt_jax.vision import pixels, vit
from rpt_jax.vision.model import VisionModel, build
from rpt_jax.vision.preprocessing import Preprocess

_LUMA = (0.299, 0.587, 0.114)  # Of red, green and blue: ITU-R BT.601.


def load(
  name: str,
  *,
  output: str = 'patches',
  layer: int = -1,
  image_size: int = 64,
  size: int = 32,
) -> VisionModel:
  """Frames as `size` x `size` steepnesses >= 0, read by `vit.readout`.

  A cell of the small map is a 'patch' of one number; there is no 'cls'.
  Raises ValueError for settings that do not fit.
  """
  pixels.check(name, layer, image_size, size)
  apply = _reading(output, size)
  return build(name, apply, {}, Preprocess(2 * (image_size,)), image_size)


@functools.cache
def _reading(output, size):
  """(params, frames) -> latents: one function, so that it compiles once."""

  def apply(params, image_NHWC):
    del params
    steep_NHW = steepness(image_NHWC @ jnp.asarray(_LUMA))
    x_NP1 = pixels.cells(steep_NHW[..., None], size)
    return vit.readout(x_NP1, output, num_prefix=0)

  return apply


def steepness(grey_NHW: Array) -> Array:
  """Length of the gradient, by central differences; borders are repeated."""
  x = jnp.pad(grey_NHW, ((0, 0), (1, 1), (1, 1)), mode='edge')
  down_NHW = (x[:, 2:, 1:-1] - x[:, :-2, 1:-1]) / 2
  right_NHW = (x[:, 1:-1, 2:] - x[:, 1:-1, :-2]) / 2
  return jnp.sqrt(down_NHW**2 + right_NHW**2)
