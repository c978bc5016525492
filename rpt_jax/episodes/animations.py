"""Animated images (GIF, WebP) as videos, by Pillow."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from rpt_jax import files
from rpt_jax.episodes import decode

SUFFIXES = ('.gif', '.webp')
_FORMATS = ('GIF', 'WEBP')
_KEPT_BYTES = 1 << 28  # Of the frames of an animation.
_MOST_FRAMES = 1 << 17  # More than an hour: seconds to come to the last one.


def probe(path: str | os.PathLike) -> tuple[np.ndarray, tuple[int, int]]:
  """(milliseconds [N] at which frames are shown, their (H, W)), undecoded."""
  with _opened(path) as image:
    times = [time for time, _ in _frames(image, lambda frame: None)]
    return np.array(times, np.int64), (image.height, image.width)


def frames(
  path: str | os.PathLike, size: tuple[int, int] | None
) -> Iterator[tuple[int, np.ndarray]]:
  """(milliseconds, uint8 [H, W, 3]) of all frames, at `size` where given.

  Those of a small file are kept for its next clip, which comes next.
  """
  with _opened(path) as image:
    height, width = size or (image.height, image.width)
    if 3 * height * width * image.n_frames > _KEPT_BYTES:
      yield from _frames(image, _pixels_at(size))
      return
  yield from _kept(pathlib.Path(path), os.stat(path).st_mtime_ns, size)


@functools.lru_cache(maxsize=1)
def _kept(path, changed, size):
  del changed  # Another time of change, another file.
  with _opened(path) as image:
    return tuple(_frames(image, _pixels_at(size)))


def _pixels_at(size):
  def pixels(image):
    frame = image.convert('RGB')
    return np.asarray(decode.fit(frame, size) if size else frame)

  return pixels


@contextlib.contextmanager
def _opened(path):
  with Image.open(files.regular(path), formats=_FORMATS) as image:
    frame, stored = 3 * image.width * image.height, os.path.getsize(path)
    files.holds(path, 'a frame', frame, stored)
    if image.n_frames > _MOST_FRAMES:
      raise ValueError(
        f'{path}: found {image.n_frames} frames, expected {_MOST_FRAMES} at '
        'most; cut it, or make a video of it'
      )
    whole = frame * image.n_frames
    files.holds(path, 'the animation', whole, stored, _KEPT_BYTES)
    yield image


def _frames(image, pixels):
  """(milliseconds, `pixels` of the image there) of all; 0 ms count as 100."""
  milliseconds = 0
  for index in range(image.n_frames):
    image.seek(index)
    image.load()  # WebP says only then how long it is shown.
    yield milliseconds, pixels(image)
    milliseconds += image.info.get('duration') or 100
