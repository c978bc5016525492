"""Frames of compressed images and videos, by Pillow and PyAV.

Nothing stays open between calls, so that what reads them can be pickled.
Animated images (GIF, WebP) go through Pillow, and so need no PyAV.
"""

import contextlib
import functools
import io
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from rpt_jax import files
from rpt_jax.episodes.errors import CorruptEpisode, needs

ANIMATED = ('.gif', '.webp')
# No other format of Pillow's: some run programs (EPS), or read other files.
_IMAGES = ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP')
_ANIMATIONS = ('GIF', 'WEBP')
# Nor of FFmpeg's, whose lists and playlists name files, and the network.
_OPTIONS = {
  'format_whitelist': 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi',
  'protocol_whitelist': 'file',
}
VIDEO = ('.mp4', '.webm', '.mkv', '.mov', '.avi', '.m4v', *ANIMATED)


def image(data: bytes) -> np.ndarray:
  """An encoded image (JPEG, PNG, ...) as uint8 [H, W, 3].

  Raises OSError where Pillow cannot decode it, or it declares more pixels than
  can be in so many bytes.
  """
  with opened(data) as image:
    return np.asarray(image.convert('RGB'))


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
    np.asarray(_fit(Image.fromarray(frame), size)) for frame in image_THWC
  ])  # fmt: skip


def probe(path: str | os.PathLike) -> tuple[np.ndarray, tuple[int, int]]:
  """When the frames of a video are shown, and their (H, W), undecoded.

  The times are [N] seconds, ascending. Raises CorruptEpisode for a file that
  is no video, or has fewer frames than its own index counts.
  """
  av = None if _is_animated(path) else _av()
  with _faults(path):
    if av is None:
      return _probe_animated(path)
    with av.open(_place(path), options=_OPTIONS) as container:
      stream = container.streams.video[0]
      size = (stream.codec_context.height, stream.codec_context.width)
      packets = [p for p in container.demux(stream) if p.pts is not None]
      expected, base = stream.frames, float(stream.time_base)
  if not packets or len(packets) < expected:
    raise CorruptEpisode(
      f'{path}: {len(packets)} of {expected or "unknown"} frames found; the '
      'file is truncated'
    )
  pts = sorted(p.pts for p in packets if not p.is_discard)
  return np.array(pts, np.float64) * base, size


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
  av = None if _is_animated(path) else _av()
  with _faults(path):
    if av is None:
      frames = _pick(_decode_animated(path, size), times)
    else:
      frames = _seek_and_pick(av, path, times, tolerance, size)
  if len(frames) < len(times):
    raise CorruptEpisode(f'{path}: found no frame')
  for time, frame in zip(times, frames, strict=True):
    if abs(frame.time - time) > tolerance:
      raise CorruptEpisode(
        f'{path}: no frame at {time:.3f} s, the nearest is at '
        f'{frame.time:.3f} s'
      )
  return np.stack([frame.pixels() for frame in frames])


class _Frame:
  """A decoded frame; its pixels are converted once, when asked for."""

  def __init__(self, time, convert):
    self.time, self._convert, self._pixels = time, convert, None

  def pixels(self) -> np.ndarray:
    if self._pixels is None:
      self._pixels, self._convert = self._convert(), None
    return self._pixels


def _seek_and_pick(av, path, times, tolerance, size):
  with av.open(_place(path), options=_OPTIONS) as container:
    stream = container.streams.video[0]
    # What reads episodes reads several at once: a thread for each of them gets
    # more out of a core than threads that share a frame.
    stream.codec_context.thread_count = 1
    convert = _converter(av, size)

    def decoded():
      for frame in container.decode(stream):
        if frame.time is None:
          raise OSError('a frame has no time stamp')
        yield _Frame(frame.time, functools.partial(convert, frame))

    if times[0] > 0:
      container.seek(int(times[0] / stream.time_base), stream=stream)
    frames = _pick(decoded(), times)
    if not times[0] or frames and frames[0].time <= times[0] + tolerance:
      return frames
    container.seek(0)  # The file's index led past the first frame.
    return _pick(decoded(), times)


def _pick(frames: Iterator[_Frame], times) -> list[_Frame]:
  """For each time the nearest of frames in ascending order."""
  nearest, before = [], None
  for frame in frames:
    while len(nearest) < len(times) and frame.time >= times[len(nearest)]:
      time = times[len(nearest)]
      nearer = before is None or frame.time - time < time - before.time
      nearest.append(frame if nearer else before)
      nearest[-1].pixels()  # Now, so that no frame is kept at full size.
    if len(nearest) == len(times):
      return nearest
    before = frame
  rest = [] if before is None else [before] * (len(times) - len(nearest))
  return nearest + rest


def _converter(av, size):
  """frame -> uint8 [H, W, 3], at `size` where given.

  One for all frames of a video: to plan a conversion anew takes longer than to
  decode a small frame, and to start its threads longer than to convert one.
  """
  convert = av.video.reformatter.VideoReformatter().reformat
  height, width = size or (None, None)

  def pixels(frame):
    return convert(
      frame, width, height, 'rgb24', interpolation='AREA', threads=1
    ).to_ndarray()

  return pixels


def _place(path):
  """As FFmpeg takes nothing but the name of a file."""
  return str(files.regular(path).absolute())


def _is_animated(path):
  return pathlib.Path(path).suffix.lower() in ANIMATED


def _probe_animated(path):
  with _animation(path) as opened:
    times = [time for time, _ in _frames_animated(opened)]
    return np.array(times), (opened.height, opened.width)


def _decode_animated(path, size):
  with _animation(path) as opened:
    for time, frame in _frames_animated(opened):
      if size is not None:
        frame = _fit(frame, size)
      pixels = np.asarray(frame)
      yield _Frame(time, lambda pixels=pixels: pixels)


@contextlib.contextmanager
def _animation(path):
  with Image.open(files.regular(path), formats=_ANIMATIONS) as opened:
    declared = 3 * opened.width * opened.height
    files.holds(path, 'a frame', declared, os.path.getsize(path))
    yield opened


def _frames_animated(opened):
  """(seconds, RGB image) of every frame; a duration of 0 counts as 100 ms."""
  milliseconds = 0
  for index in range(opened.n_frames):
    opened.seek(index)
    frame = opened.convert('RGB')
    yield milliseconds / 1000, frame
    milliseconds += opened.info.get('duration') or 100


def _fit(frame, size):
  height, width = size
  return frame.resize((width, height), Image.Resampling.BILINEAR)


@contextlib.contextmanager
def _faults(path):
  """Whatever a decoder raises, as CorruptEpisode naming the file."""
  try:
    yield
  except CorruptEpisode:
    raise
  except Exception as error:  # FFmpeg's and Pillow's have no common base.
    raise CorruptEpisode(f'{path}: cannot be decoded ({error})') from error


def _av():
  try:
    import av
  except ImportError as error:
    raise needs('av', 'video') from error
  return av  # Its log level stays unset: a callback deadlocks its threads.
