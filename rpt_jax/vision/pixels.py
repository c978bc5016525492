"""Control: the pixels themselves, averaged down to a small picture."""

from rpt_jax.vision import vit
from rpt_jax.vision.model import VisionModel, build
from rpt_jax.vision.preprocessing import Preprocess


def load(
  name: str, *, output: str = 'patches', image_size: int = 64, size: int = 16
) -> VisionModel:
  """Frames as `size` x `size` pixels in [-1, 1], read by `vit.readout`.

  A pixel of the small picture is a 'patch'; there is no 'cls'.
  """
  if size < 1 or image_size % size:
    raise ValueError(
      f'size: found {size}, expected a divisor of image_size {image_size}'
    )

  def apply(params, image_NHWC):
    del params
    cell = image_size // size
    num, channels = image_NHWC.shape[0], image_NHWC.shape[-1]
    x = image_NHWC.reshape(num, size, cell, size, cell, channels)
    x_NPC = x.mean(axis=(2, 4)).reshape(num, size * size, channels)
    return vit.readout(x_NPC, output, num_prefix=0)

  return build(name, apply, {}, Preprocess(2 * (image_size,)), image_size)
