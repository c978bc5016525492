"""Control: the pixels themselves, averaged down to a small picture."""

import functools

from rpt_jax.types import Array
from rpt_jax.vision import vit
from rpt_jax.vision.model import VisionModel, build
from rpt_jax.vision.preprocessing import Preprocess


def load(
  name: str,
  *,
  output: str = 'patches',
  layer: int = -1,
  image_size: int = 64,
  size: int = 16,
) -> VisionModel:
  """Frames as `size` x `size` pixels in [-1, 1], read by `vit.readout`.

  A pixel of the small picture is a 'patch'; there is no 'cls'.
  """
  check(name, layer, image_size, size)

  apply = _reading(output, size)
  return build(name, apply, {}, Preprocess(2 * (image_size,)), image_size)


@functools.cache
def _reading(output, size):
  """(params, frames) -> latents: one function, so that it compiles once."""

  def apply(params, image_NHWC):
    del params
    return vit.readout(cells(image_NHWC, size), output, num_prefix=0)

  return apply


def check(name: str, layer: int, image_size: int, size: int) -> None:
  """ValueError for a layer, or frames that are not cut into whole cells."""
  if layer != -1:
    raise ValueError(
      f'layer: found {layer}, expected -1: {name} have no blocks'
    )
  if size < 1 or image_size % size:
    raise ValueError(
      f'image_size: found {image_size}, expected a multiple of size {size}'
    )


def cells(x_NHWC: Array, size: int) -> Array:
  """Means over `size` x `size` cells [N, size * size, C]."""
  num, height, width, channels = x_NHWC.shape
  cell = num, size, height // size, size, width // size, channels
  x = x_NHWC.reshape(cell).mean(axis=(2, 4))
  return x.reshape(num, size * size, channels)
