"""Encoded images, by Pillow."""

import contextlib
import io
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image

from rpt_jax import files

# No other format of Pillow's: some run programs (EPS), or read other files.
_IMAGES = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')
_MOST = 1 << 30  # Bytes of the frames of an episode that are of few bytes.


def image(data: bytes) -> np.ndarray:
  """An encoded image (JPEG, PNG, ...) as uint8 [H, W, 3].

  Raises OSError where Pillow cannot decode it, it declares more pixels than can
  be in so many bytes, or has more than 8 bits a channel: that is no colour.
  """
  with opened(data) as image:
    if is_depth(image):
      raise OSError(
        'found a frame of more than 8 bits a channel, perhaps depth, expected 8'
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
      raise OSError(
        'found a frame of 8 bits a channel, expected 16, as in the first'
      )
    values_HW = np.asarray(image)
  if values_HW.dtype.kind == 'f' or not 0 <= values_HW.max() < 1 << 16:
    raise OSError('found depth beyond 65535 or below 0, expected 16 bits')
  return values_HW.astype(np.uint16)[..., None]


@contextlib.contextmanager
def opened(data: bytes):
  """Pillow's image of encoded bytes, not yet decoded; errors as `image`."""
  try:
    with Image.open(io.BytesIO(data), formats=_IMAGES) as image:
      declared = 3 * image.width * image.height
      files.holds('an image', image.format, declared, len(data))
      yield image
  except Image.UnidentifiedImageError as error:  # It says where in memory.
    raise OSError(
      f'found {len(data)} bytes that begin with {data[:4].hex() or "nothing"}, '
      f'expected an image ({", ".join(_IMAGES)})'
    ) from error
  except (Image.DecompressionBombError, ValueError, SyntaxError) as error:
    raise OSError(str(error)) from error


def stack(
  values: Iterable[Any],
  read: Callable[[bytes], np.ndarray],
  bytes_of: Callable[[Any], bytes] = bytes,
) -> np.ndarray:
  """[T, H, W, C]: the frames that `read` makes of T values, of one size.

  `bytes_of` are those of a value. Raises ValueError, naming the step, for one
  that cannot be read, for one of another size than the first, and where a few
  bytes stand for so many frames that these are far more than they can hold.
  """
  frames, stored, taken = [], {}, 0
  for step, value in enumerate(values):
    try:
      data = bytes_of(value)
      frames.append(read(data))
      stored[hash(data)] = len(data)
      taken += frames[-1].nbytes
      if taken > _MOST:
        files.holds('frames', 'all', taken, sum(stored.values()), _MOST)
    except (OSError, ValueError) as error:
      raise ValueError(f'step {step}: {error}') from error
    if frames[-1].shape != frames[0].shape:
      raise ValueError(
        f'step {step}: found a frame {frames[-1].shape}, expected '
        f'{frames[0].shape} as in the first'
      )
  return np.stack(frames) if frames else np.zeros((0, 0, 0, 3), np.uint8)


def encoded(value: Any, folder: pathlib.Path) -> bytes:
  """The bytes of a frame in a table: its own, or those of a file in `folder`.

  Raises ValueError for what is neither, and for a file that lies elsewhere.
  """
  if isinstance(value, dict):
    value = value.get('bytes') or value.get('path')
  if isinstance(value, bytes):
    return value
  if not value or not isinstance(value, str):
    raise ValueError('found no image, expected its bytes or a path')
  return files.regular(files.inside(folder, value)).read_bytes()


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
