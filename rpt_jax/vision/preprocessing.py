"""Frames as image models were trained to see them: resize, crop, normalise.

The resize is Pillow's, to the level, as two matrix products.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax.types import Array

_BITS = 22  # Fixed-point weights, as in Pillow's 8-bit resampling.


def _cubic(x):
  """Keys' kernel with a = -0.5."""
  x = np.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x):
  return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _hamming(x):
  window = 0.54 + 0.46 * np.cos(np.pi * x)
  return np.where(np.abs(x) < 1, np.sinc(x) * window, 0.0)


# Name: (filter, half its width in source pixels).
FILTERS = {
  'box': (lambda x: np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0), 0.5),
  'bilinear': (lambda x: np.maximum(1 - np.abs(x), 0.0), 1.0),
  'hamming': (_hamming, 1.0),
  'bicubic': (_cubic, 2.0),
  'lanczos': (_lanczos, 3.0),
}


@dataclasses.dataclass(frozen=True)
class Preprocess:
  """uint8 frames [N, H, W, 3] to what a model takes, f32 [N, h, w, 3].

  `resize` is (height, width), the length of the shortest edge, or None;
  then the middle `crop` x `crop`, if any; then (x * scale - mean) / std.
  """

  resize: tuple[int, int] | int | None = None
  crop: int | None = None
  interpolation: str = 'bilinear'
  mean: tuple[float, ...] = (0.5, 0.5, 0.5)
  std: tuple[float, ...] = (0.5, 0.5, 0.5)
  scale: float = 1 / 255

  def __call__(self, image_NHWC: Array) -> Array:
    """Raises ValueError for frames that are not uint8 [N, H, W, C]."""
    height, width = image_NHWC.shape[1:3]
    size = self.resize
    if isinstance(size, int):
      short = min(height, width)
      size = (size * height // short, size * width // short)
    x_NHWC = image_NHWC
    if size is not None:
      x_NHWC = resize(x_NHWC, size, self.interpolation)
    if self.crop is not None:
      x_NHWC = centre_crop(x_NHWC, self.crop)
    x_NHWC = x_NHWC.astype(jnp.float32) * self.scale
    mean, std = (np.asarray(x, np.float32) for x in (self.mean, self.std))
    return (x_NHWC - mean[None, None, None]) / std[None, None, None]


def centre_crop(image_NHWC: Array, size: int) -> Array:
  """The middle `size` x `size` of each frame; ValueError if it is smaller."""
  height, width = image_NHWC.shape[1:3]
  if min(height, width) < size:
    raise ValueError(
      f'crop: frames are {height}x{width}, expected at least {size}x{size}'
    )
  top, left = (height - size) // 2, (width - size) // 2
  return image_NHWC[:, top : top + size, left : left + size]


def resize(
  image_NHWC: Array, size: tuple[int, int], interpolation: str = 'bilinear'
) -> Array:
  """uint8 frames at (height, width) `size`, as `PIL.Image.resize` makes them.

  Horizontal, then vertical, each rounded to whole levels; filters widen when
  shrinking. `interpolation`: 'nearest' or one of `FILTERS`.
  Raises ValueError for frames that are not uint8 and for unknown names.
  """
  if image_NHWC.dtype != np.uint8 or image_NHWC.ndim != 4:
    raise ValueError(
      f'image: found {image_NHWC.dtype}{list(image_NHWC.shape)}, expected '
      'uint8 [N, H, W, C]'
    )
  height, width = image_NHWC.shape[1:3]
  if interpolation == 'nearest':
    rows, columns = _nearest(height, size[0]), _nearest(width, size[1])
    return jnp.asarray(image_NHWC)[:, rows][:, :, columns]
  if interpolation not in FILTERS:
    raise ValueError(
      f"interpolation: found {interpolation!r}, expected 'nearest' or one of "
      f'{sorted(FILTERS)}'
    )
  x = jnp.asarray(image_NHWC)
  if width != size[1]:
    x = _resample(x, 2, _weights(width, size[1], interpolation))
  if height != size[0]:
    x = _resample(x, 1, _weights(height, size[0], interpolation))
  return x


def _nearest(size, new):
  return np.floor((np.arange(new) + 0.5) * (size / new)).astype(np.int32)


def _weights(size, new, interpolation):
  """Fixed-point weights of a pass: integers [new, size], rows sum to ~2^22."""
  kernel, support = FILTERS[interpolation]
  scale = size / new
  stretch = max(scale, 1.0)
  centre = (np.arange(new) + 0.5) * scale
  reach = support * stretch
  first = np.maximum(np.trunc(centre - reach + 0.5), 0)
  last = np.minimum(np.trunc(centre + reach + 0.5), size)
  place = np.arange(size)
  weight = kernel((place - centre[:, None] + 0.5) / stretch)
  inside = (place >= first[:, None]) & (place < last[:, None])
  weight = np.where(inside, weight, 0.0)
  weight /= weight.sum(1, keepdims=True)
  fixed = np.abs(weight) * 2**_BITS + 0.5
  return (np.sign(weight) * np.floor(fixed)).astype(np.int64)


def _resample(image_NHWC, axis, weight):
  """One pass along `axis`, bit-exact.

  Weights are cut into three signed bytes. Levels and bytes are whole numbers
  bf16 holds, and sums of their products ones f32 holds, so a bf16 product
  loses nothing; the parts are put together in int32.
  """
  parts = []
  for _ in range(2):
    low = (weight + 128) % 256 - 128
    parts.append(low)
    weight = (weight - low) // 256
  parts.append(weight)
  new = weight.shape[0]
  matrix = jnp.asarray(np.concatenate(parts), jnp.bfloat16)
  sums = lax.dot_general(
    image_NHWC.astype(jnp.bfloat16),
    matrix,
    (((axis,), (1,)), ((), ())),
    preferred_element_type=jnp.float32,
  ).astype(jnp.int32)
  low, middle, high = (sums[..., i * new : (i + 1) * new] for i in range(3))
  total = (high << 16) + (middle << 8) + low + (1 << (_BITS - 1))
  level = jnp.clip(total >> _BITS, 0, 255).astype(jnp.uint8)
  return jnp.moveaxis(level, -1, axis)
