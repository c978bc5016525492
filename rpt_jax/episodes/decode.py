"""Frames of compressed images and videos, by Pillow and PyAV.

Nothing stays open between calls, so that what reads them can be pickled.
"""

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rpt_jax.episodes.source import CorruptEpisode, needs


def image(data: bytes) -> np.ndarray:
  """An encoded image (JPEG, PNG, ...) as uint8 [H, W, 3].

  Raises OSError where Pillow cannot decode it.
  """
  with Image.open(io.BytesIO(data)) as opened:
    return np.asarray(opened.convert('RGB'))


def frames_at(
  path: str | os.PathLike,
  times: Sequence[float],
  tolerance: float,
  size: tuple[int, int] | None = None,
) -> np.ndarray:
  """The frames of a video nearest to `times` (seconds, ascending).

  Decodes from the keyframe before the first to the last one, and no more.
  Returns uint8 [len(times), H, W, 3], scaled to `size` (H, W) where given.
  Raises CorruptEpisode where the video cannot be decoded or has no frame
  within `tolerance` seconds of a time.
  """
  av = _av()
  try:
    found = _nearest(av, path, times, tolerance, size)
  except (av.FFmpegError, OSError, IndexError) as error:
    raise CorruptEpisode(f'{path}: cannot be decoded ({error})') from error
  for time, (at, _) in zip(times, found, strict=False):
    if abs(at - time) > tolerance:
      raise CorruptEpisode(
        f'{path}: no frame at {time:.3f} s, the nearest is at {at:.3f} s'
      )
  if len(found) < len(times):
    raise CorruptEpisode(f'{path}: found no frame')
  return np.stack([frame for _, frame in found])


def _nearest(av, path, times, tolerance, size):
  """[(time, frame)], the frame nearest to each time."""
  with av.open(str(path)) as container:
    stream = container.streams.video[0]
    stream.thread_type = 'AUTO'
    if times[0] > 0:
      container.seek(int(times[0] / stream.time_base), stream=stream)
    found = _pick(container.decode(stream), times, size)
    if not times[0] or found and found[0][0] <= times[0] + tolerance:
      return found
    container.seek(0)  # The file's index led past the first frame.
    return _pick(container.decode(stream), times, size)


def _pick(decoded, times, size):
  found, before, pixels = [], None, None

  def take(frame):
    nonlocal pixels
    if pixels is None or pixels[0] is not frame:
      pixels = (frame, _pixels(frame, size))
    found.append((frame.time, pixels[1]))

  for frame in decoded:
    while len(found) < len(times) and frame.time >= times[len(found)]:
      time = times[len(found)]
      nearer = before is None or frame.time - time < time - before.time
      take(frame if nearer else before)
    if len(found) == len(times):
      return found
    before = frame
  while before is not None and len(found) < len(times):
    take(before)
  return found


def _pixels(frame, size):
  if size is None:
    return frame.to_ndarray(format='rgb24')
  return frame.to_ndarray(
    format='rgb24', height=size[0], width=size[1], interpolation='AREA'
  )


def _av():
  try:
    import av
  except ImportError as error:
    raise needs('av', 'video') from error
  av.logging.set_level(av.logging.PANIC)
  return av
