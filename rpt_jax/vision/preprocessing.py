"""Frames as image models were trained to see them: resize, crop, normalise.

The resize is Pillow's, to the level, as two matrix products. What a published
model wants is in its folder's preprocessor_config.json (transformers).
"""

import dataclasses
import os
import pathlib

import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax import files
from rpt_jax.types import Array

MOST_PIXELS = 1 << 14  # Of the side of a frame.
CONFIGS = ('preprocessor_config.json', 'processor_config.json')
# Pillow's numbers, which configs use.
INTERPOLATIONS = (
  'nearest',
  'lanczos',
  'bilinear',
  'bicubic',
  'box',
  'hamming',
)
HALF = (0.5, 0.5, 0.5)
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = (
  (0.48145466, 0.4578275, 0.40821073),
  (0.26862954, 0.26130258, 0.27577711),
)
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
  mean: tuple[float, ...] = HALF
  std: tuple[float, ...] = HALF
  scale: float = 1 / 255

  def check(self) -> None:
    """Raises ValueError for numbers that no frame can be prepared by."""
    pair = self.resize if isinstance(self.resize, tuple) else (self.resize,)
    for pixels in (*pair, self.crop):
      if pixels is not None and not (
        type(pixels) is int and 0 < pixels <= MOST_PIXELS
      ):
        raise ValueError(f'size {pixels!r}, expected 1 to {MOST_PIXELS} pixels')
    numbers = (*self.mean, *self.std, self.scale)
    whole = all(isinstance(x, (int, float)) for x in numbers)
    if not (
      whole
      and np.isfinite(np.array(numbers, np.float32)).all()
      and len(self.mean) == len(self.std) == 3
      and np.array(self.std, np.float32).all()
    ):
      raise ValueError(
        f'mean {self.mean}, std {self.std}, scale {self.scale!r}, expected '
        'three numbers, three that are not 0, and one'
      )

  @property
  def size(self) -> int | None:
    """The height of what comes out, where it is the same for all frames."""
    whole = self.resize[0] if isinstance(self.resize, tuple) else None
    return self.crop or whole

  @classmethod
  def from_config(
    cls, folder: str | os.PathLike, image_size: int | None = None
  ) -> 'Preprocess':
    """What the model in `folder` wants, at `image_size` if one is given.

    Reads preprocessor_config.json (or the image part of
    processor_config.json); where there is none, what is published for the
    'model_type' of config.json, at that config's image size.
    Raises ValueError for settings that are not understood.
    """
    folder = pathlib.Path(folder)
    for path in (folder / name for name in CONFIGS):
      if path.exists():
        config = files.read_json(path)
        with files.reading(path):
          preprocess = _parse(path, config.get('image_processor', config))
          preprocess.check()
          if image_size:
            preprocess = preprocess.at(image_size)
            preprocess.check()
        return preprocess
    path = folder / 'config.json'
    config = files.read_json(path)
    kind = config.get('model_type')
    if kind not in PUBLISHED:
      raise ValueError(
        f'{path}: model_type {kind!r} has no known preprocessing; add a '
        f'{CONFIGS[0]}, or use one of {sorted(PUBLISHED)}'
      )
    size = config.get('vision_config', config).get('image_size', 224)
    return PUBLISHED[kind].at(image_size or size)

  def at(self, image_size: int) -> 'Preprocess':
    """The same for `image_size` squared; the share cut away stays the same."""
    if self.crop is None or not isinstance(self.resize, int):
      crop = self.crop and image_size
      return dataclasses.replace(self, resize=2 * (image_size,), crop=crop)
    edge = self.resize * image_size // self.crop
    return dataclasses.replace(self, resize=edge, crop=image_size)

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


PUBLISHED = {
  'clip': Preprocess(224, 224, 'bicubic', *CLIP),
  'dinov2': Preprocess(256, 224, 'bicubic', *IMAGENET),
  'resnet': Preprocess(256, 224, 'bicubic', *IMAGENET),
  'siglip': Preprocess((224, 224), None, 'bicubic'),
  'vit': Preprocess((224, 224), None, 'bilinear'),
  'vit_mae': Preprocess((224, 224), None, 'bilinear', *IMAGENET),
}
PUBLISHED |= {
  'clip_vision_model': PUBLISHED['clip'],
  'dinov2_with_registers': PUBLISHED['dinov2'],
  'siglip_vision_model': PUBLISHED['siglip'],
}
# Image processors of transformers: (what their absent fields are, and which
# edge a bare number is: that of a square, or the shortest).
_PROCESSORS = {
  'BitImageProcessor': (Preprocess(224, 224, 'bicubic', *CLIP), 'shortest'),
  'CLIPImageProcessor': (Preprocess(224, 224, 'bicubic', *CLIP), 'shortest'),
  'ConvNextImageProcessor': (Preprocess(384, None, 'bicubic'), 'shortest'),
  'SiglipImageProcessor': (PUBLISHED['siglip'], 'square'),
  'ViTImageProcessor': (PUBLISHED['vit'], 'square'),
}


# Of a model whose folder names none, as transformers finds it.
_PROCESSOR_OF = {
  'clip': 'CLIPImageProcessor',
  'clip_vision_model': 'CLIPImageProcessor',
  'dinov2': 'BitImageProcessor',
  'dinov2_with_registers': 'BitImageProcessor',
  'resnet': 'ConvNextImageProcessor',
  'siglip': 'SiglipImageProcessor',
  'siglip_vision_model': 'SiglipImageProcessor',
  'vit': 'ViTImageProcessor',
  'vit_mae': 'ViTImageProcessor',
}


def _model_type(folder):
  """What the model in a folder is, '' where it does not say so."""
  path = folder / 'config.json'
  return files.read_json(path).get('model_type') if path.exists() else ''


def _parse(path, config):
  """A Preprocess of the fields transformers writes, absent ones as there."""
  kind = config.get(
    'image_processor_type', config.get('feature_extractor_type')
  )
  kind = kind or _PROCESSOR_OF.get(_model_type(path.parent))
  name = str(kind).removesuffix('Fast').removesuffix('Pil')
  name = name.replace('FeatureExtractor', 'ImageProcessor')
  if name not in _PROCESSORS:
    raise ValueError(
      f'{path}: image processor {kind!r}, expected one of {sorted(_PROCESSORS)}'
    )
  default, edge = _PROCESSORS[name]
  size = _size(path, config.get('size', default.resize), edge)
  crop = None
  if config.get('do_center_crop', default.crop is not None):
    crop = _size(path, config.get('crop_size', default.crop), 'square')
    if crop[0] != crop[1]:
      raise ValueError(f'{path}: crop_size {crop}, expected a square')
    crop = crop[0]
  if name == 'ConvNextImageProcessor':
    size, crop = _convnext(size, config.get('crop_pct'))
  if config.get('do_resize', True) is False:
    size = None
  mean = config.get('image_mean', default.mean)
  std = config.get('image_std', default.std)
  if config.get('do_normalize', True) is False:
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
  scale = config.get('rescale_factor', default.scale)
  if config.get('do_rescale', True) is False:
    scale = 1.0
  number = config.get('resample')
  if number is None:
    number = INTERPOLATIONS.index(default.interpolation)
  if number not in range(len(INTERPOLATIONS)):
    raise ValueError(f'{path}: resample {number!r}, expected 0 to 5')
  name = INTERPOLATIONS[number]
  return Preprocess(size, crop, name, tuple(mean), tuple(std), scale)


def _size(path, size, edge):
  """(height, width), or the shortest edge, of the forms a size is given in."""
  if isinstance(size, dict) and size.keys() == {'height', 'width'}:
    return size['height'], size['width']
  if isinstance(size, dict) and size.keys() == {'shortest_edge'}:
    return size['shortest_edge']
  if isinstance(size, int):
    return size if edge == 'shortest' else (size, size)
  if isinstance(size, tuple):
    return size
  raise ValueError(
    f"{path}: size {size!r}, expected a number, 'height' and 'width', or "
    "'shortest_edge'"
  )


def _convnext(size, crop_pct):
  """(resize, crop): a share of the middle below 384, all squeezed above."""
  if not isinstance(size, int):
    size = size[0]
  if size >= 384:
    return (size, size), None
  return int(size / (crop_pct or 224 / 256)), size


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

  Horizontal, then vertical (the other way round where frames become wider
  and lower, as in Pillow 13), each rounded to whole levels; filters widen
  when shrinking. `interpolation`: 'nearest' or one of `FILTERS`.
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
  passes = [(2, width, size[1]), (1, height, size[0])]
  if size[1] > width and size[0] < height:
    passes.reverse()
  for axis, old, new in passes:
    if old != new:
      x = _resample(x, axis, _weights(old, new, interpolation))
  return x


def _nearest(size, new):
  """Source indices; summed step by step as in Pillow, which decides ties."""
  steps = np.full(new, size / new)
  steps[0] /= 2
  return np.cumsum(steps).astype(np.int32)


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
