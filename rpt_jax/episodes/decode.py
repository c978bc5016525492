"""Encoded images, by Pillow."""

import contextlib
import io

import numpy as np
from PIL import Image

from rpt_jax import files

# No other format of Pillow's: some run programs (EPS), or read other files.
_IMAGES = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')


def image(data: bytes) -> np.ndarray:
  """An encoded image (JPEG, PNG, ...) as uint8 [H, W, 3].

  Raises OSError where Pillow cannot decode it, it declares more pixels than can
  be in so many bytes, or has more than 8 bits a channel: that is no colour.
  """
  with opened(data) as image:
    if is_depth(image):
      raise OSError(
        f'an image of mode {image.mode}, perhaps of depth, expected 8 bits a '
        'channel'
      )
    return np.asarray(image.convert('RGB'))


def is_depth(image: Image.Image) -> bool:
  """Whether its numbers have more than 8 bits, and so are no brightness."""
  return image.mode.startswith(('I', 'F'))


def depth(data: bytes) -> np.ndarray:
  """An image of one channel of more than 8 bits, as uint16 [H, W, 1].

  Raises OSError as `image` does, and for any other image.
  """
  with opened(data) as image:
    if not is_depth(image):
      raise OSError(f'an image of mode {image.mode}, expected 16 bits')
    values_HW = np.asarray(image)
  if values_HW.dtype.kind == 'f' or not 0 <= values_HW.max() < 1 << 16:
    raise OSError('values beyond 16 bits')
  return values_HW.astype(np.uint16)[..., None]


@contextlib.contextmanager
def opened(data: bytes):
  """Pillow's image of encoded bytes, not yet decoded; errors as `image`."""
  try:
    with Image.open(io.BytesIO(data), formats=_IMAGES) as image:
      declared = 3 * image.width * image.height
      files.holds('an image', image.format, declared, len(data))
      yield image
  except (Image.DecompressionBombError, ValueError, SyntaxError) as error:
    raise OSError(str(error)) from error


def resize(image_THWC: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  """uint8 frames at `size` (H, W): bilinear, antialiased."""
  if image_THWC.shape[1:3] == tuple(size):
    return image_THWC
  return np.stack([
    np.asarray(fit(Image.fromarray(frame), size)) for frame in image_THWC
  ])  # fmt: skip


def fit(frame: Image.Image, size: tuple[int, int]) -> Image.Image:
  """One image at `size` (H, W): bilinear, antialiased."""
  height, width = size
  return frame.resize((width, height), Image.Resampling.BILINEAR)
