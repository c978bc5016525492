"""Random changes of frames on the device, one key an image.

Each operation is a pure function of one frame f32 [H, W, 3] in [0, 1] and of
numbers; `draw` makes the numbers, `augment` puts them together. Colours are
changed as tf.image (and dm-pix) do.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What may change, and how much; the default changes nothing.

  `shift` pixels either way (DrQ, Kostrikov et al. 2020: 4 at 84 pixels);
  `crop_scale` the range of the share of the area that is kept, and
  `crop_ratio` that of its width to its height (R3M: (0.2, 1)); `brightness`
  and `hue` the largest step (hue: 1 is once round the circle), `contrast` and
  `saturation` the largest distance of a factor from 1; `flip` half of them.
  With `same_over_time` all frames of a window change alike (R3M).
  """

  shift: int = 0
  crop_scale: tuple[float, float] = (1.0, 1.0)
  crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
  brightness: float = 0.0
  contrast: float = 0.0
  saturation: float = 0.0
  hue: float = 0.0
  flip: bool = False
  same_over_time: bool = True

  def __post_init__(self):
    """Raises ValueError for values out of range."""
    low, high = self.crop_scale
    wide, wider = self.crop_ratio
    for name, fits, expected in (
      ('shift', self.shift >= 0, 'at least 0'),
      ('crop_scale', 0 < low <= high <= 1, '(low, high) in (0, 1]'),
      ('crop_ratio', 0 < wide <= wider, '(low, high) above 0'),
      ('brightness', 0 <= self.brightness <= 1, 'from 0 to 1'),
      ('contrast', 0 <= self.contrast <= 1, 'from 0 to 1'),
      ('saturation', 0 <= self.saturation <= 1, 'from 0 to 1'),
      ('hue', 0 <= self.hue <= 0.5, 'from 0 to 0.5'),
    ):
      if not fits:
        raise ValueError(
          f'augment: {name} is {getattr(self, name)}, expected {expected}'
        )

  @property
  def crops(self) -> bool:
    """Whether anything is cut away."""
    return self.crop_scale[0] < 1


class Draw(NamedTuple):
  """The numbers of one image."""

  offset: Array  # [2] int32, rows and columns to shift by
  box: Array  # [4] f32: top, left, height, width in pixels
  brightness: Array
  contrast: Array
  saturation: Array
  hue: Array
  flip: Array  # bool


def draw(key: Array, settings: Augmentation, height: int, width: int) -> Draw:
  """Random numbers for one image; the same key gives the same ones."""
  keys = jax.random.split(key, 7)

  def around(key, centre, reach):
    return jax.random.uniform(key, minval=centre - reach, maxval=centre + reach)

  shift = settings.shift
  return Draw(
    offset=jax.random.randint(keys[0], (2,), -shift, shift + 1),
    box=_draw_box(keys[1], settings, height, width),
    brightness=around(keys[2], 0.0, settings.brightness),
    contrast=around(keys[3], 1.0, settings.contrast),
    saturation=around(keys[4], 1.0, settings.saturation),
    hue=around(keys[5], 0.0, settings.hue),
    flip=jax.random.bernoulli(keys[6]),
  )


def _draw_box(key, settings, height, width):
  """A part of the frame: area uniform, ratio log-uniform, place uniform.

  A side longer than the frame is cut to it (torchvision draws again).
  """
  keys = jax.random.split(key, 4)
  low, high = settings.crop_scale
  area = jax.random.uniform(keys[0], minval=low, maxval=high) * height * width
  low, high = settings.crop_ratio
  ratio = jax.random.uniform(keys[1], minval=jnp.log(low), maxval=jnp.log(high))
  root = jnp.exp(ratio / 2)
  tall = jnp.minimum(jnp.sqrt(area) / root, height)
  wide = jnp.minimum(jnp.sqrt(area) * root, width)
  top = jax.random.uniform(keys[2]) * (height - tall)
  left = jax.random.uniform(keys[3]) * (width - wide)
  return jnp.stack([top, left, tall, wide])


def shift(image_HWC: Array, offset: Array) -> Array:
  """Moves the view `offset` rows and columns; edge pixels are repeated."""
  height, width, _ = image_HWC.shape
  rows = jnp.clip(jnp.arange(height) + offset[0], 0, height - 1)
  columns = jnp.clip(jnp.arange(width) + offset[1], 0, width - 1)
  return image_HWC[rows][:, columns]


def resized_crop(image_HWC: Array, box: Array) -> Array:
  """The part `box` (top, left, height, width) at the size of the frame.

  Bilinear, antialiased where it shrinks.
  """
  scale = jnp.array(image_HWC.shape[:2]) / box[2:]
  return jax.image.scale_and_translate(
    image_HWC, image_HWC.shape, (0, 1), scale, -box[:2] * scale, 'linear'
  )


def brightness(image_HWC: Array, delta: Array) -> Array:
  """Adds `delta`; clipped to [0, 1]."""
  return jnp.clip(image_HWC + delta, 0, 1)


def contrast(image_HWC: Array, factor: Array) -> Array:
  """Distances from each channel's mean times `factor`; clipped to [0, 1]."""
  mean = image_HWC.mean(axis=(0, 1), keepdims=True)
  return jnp.clip((image_HWC - mean) * factor + mean, 0, 1)


def saturation(image_HWC: Array, factor: Array) -> Array:
  """The S of HSV times `factor`, at most 1."""
  hue, chroma, value = _hexcone(image_HWC)
  return _rgb(hue, jnp.minimum(chroma * factor, value), value)


def hue(image_HWC: Array, delta: Array) -> Array:
  """The H of HSV plus `delta`, in turns."""
  angle, chroma, value = _hexcone(image_HWC)
  return _rgb(angle + 6 * delta, chroma, value)


def _hexcone(image_HWC):
  """(hue in [0, 6), chroma, value), each [H, W]; grey has hue 0."""
  value, low = image_HWC.max(axis=-1), image_HWC.min(axis=-1)
  chroma = value - low
  red, green, blue = jnp.moveaxis(image_HWC, -1, 0)
  safe = jnp.where(chroma > 0, chroma, 1.0)
  # Not `value == red`: a compiler may compute a channel anew for the maximum,
  # rounded otherwise, and then none of them is it.
  angle = jnp.where(
    (red >= green) & (red >= blue),
    (green - blue) / safe % 6,
    jnp.where(green >= blue, (blue - red) / safe + 2, (red - green) / safe + 4),
  )
  return jnp.where(chroma > 0, angle, 0.0), chroma, value


def _rgb(hue, chroma, value):
  """The inverse of `_hexcone`."""
  channels = []
  for corner in (5, 3, 1):
    k = (corner + hue) % 6
    channels.append(value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1))
  return jnp.stack(channels, axis=-1)


def apply(drawn: Draw, image_HWC: Array, settings: Augmentation) -> Array:
  """One frame, f32 in [0, 1], changed by what was drawn.

  Order: crop, shift, flip, brightness, contrast, saturation, hue; what
  `settings` leaves out is not computed.
  """
  x_HWC = image_HWC
  if settings.crops:
    x_HWC = jnp.clip(resized_crop(x_HWC, drawn.box), 0, 1)
  if settings.shift:
    x_HWC = shift(x_HWC, drawn.offset)
  if settings.flip:
    x_HWC = jnp.where(drawn.flip, x_HWC[:, ::-1], x_HWC)
  if settings.brightness:
    x_HWC = brightness(x_HWC, drawn.brightness)
  if settings.contrast:
    x_HWC = contrast(x_HWC, drawn.contrast)
  if settings.saturation:
    x_HWC = saturation(x_HWC, drawn.saturation)
  if settings.hue:
    x_HWC = hue(x_HWC, drawn.hue)
  return x_HWC


def augment(key: Array, image: Array, settings: Augmentation) -> Array:
  """Frames [N, H, W, 3], or windows of them [N, T, H, W, 3], changed.

  uint8 comes back as uint8 (rounded), f32 in [0, 1] as f32 in [0, 1]. Image i
  depends on `key` and i alone. Jit with `settings` static.
  Raises ValueError for other shapes.
  """
  if image.ndim not in (4, 5) or image.shape[-1] != 3:
    raise ValueError(
      f'augment: frames are {list(image.shape)}, expected [N, H, W, 3] or '
      '[N, T, H, W, 3]'
    )
  height, width, _ = frame = image.shape[-3:]
  alike = image.ndim == 5 and settings.same_over_time
  windows = image.reshape(-1, image.shape[1] if alike else 1, *frame)

  def one(index, image_THWC):
    drawn = draw(jax.random.fold_in(key, index), settings, height, width)
    return jax.vmap(lambda x: apply(drawn, x, settings))(image_THWC)

  levels = image.dtype == jnp.uint8
  x = windows.astype(jnp.float32) / 255 if levels else windows
  x = jax.vmap(one)(jnp.arange(len(x)), x).reshape(image.shape)
  return jnp.round(x * 255).astype(jnp.uint8) if levels else x
