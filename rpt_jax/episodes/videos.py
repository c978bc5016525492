"""Frames of videos, by PyAV, when and as they are to be shown.

Nothing stays open between calls, so that what reads them can be pickled.
Animated images (GIF, WebP) go through Pillow, and so need no PyAV.
"""

import contextlib
import functools
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from rpt_jax import files
from rpt_jax.episodes import decode
from rpt_jax.episodes.errors import CorruptEpisode, needs

ANIMATED = ('.gif', '.webp')
_KEPT_BYTES = 1 << 28  # Of the frames of an animation.
_ANIMATIONS = ('GIF', 'WEBP')
# No other format of FFmpeg's, whose lists and playlists name files, and the
# network.
_OPTIONS = {
  'format_whitelist': 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi',
  'protocol_whitelist': 'file',
}
VIDEO = ('.mp4', '.webm', '.mkv', '.mov', '.avi', '.m4v', *ANIMATED)


class Probe(NamedTuple):
  """When the frames of a video are shown, undecoded, and at what size.

  Frame i is shown at `tick_N[i] * second` seconds; they ascend. `size` is (H,
  W) as it is to be shown.
  """

  tick_N: np.ndarray
  second: float
  size: tuple[int, int]

  @property
  def times(self) -> np.ndarray:
    """[N] seconds."""
    return self.tick_N * self.second


def probe(path: str | os.PathLike) -> Probe:
  """What a video says of its frames.

  Raises CorruptEpisode for a file that is no video, or has fewer frames than
  its own index counts.
  """
  av = None if _is_animated(path) else _av()
  with _faults(path):
    if av is None:
      return _probe_animated(path)
    with av.open(_place(path), options=_OPTIONS) as container:
      stream = container.streams.video[0]
      packets = [p for p in container.demux(stream) if p.pts is not None]
      expected, second = stream.frames, float(stream.time_base)
      if packets:
        container.seek(0)
        first = next(container.decode(stream))
        size = _turned(_shown(first.height, first.width, stream), first)
      rate = _rate_untimed(container, stream)
  if not packets or len(packets) < expected:
    raise CorruptEpisode(
      f'{path}: {len(packets)} of {expected or "unknown"} frames found; the '
      'file is truncated'
    )
  if rate:
    return Probe(np.arange(len(packets)), 1 / rate, size)
  ticks = sorted(p.pts for p in packets if not p.is_discard)
  return Probe(np.array(ticks, np.int64), second, size)


def frames_at(
  path: str | os.PathLike,
  times: Sequence[float],
  tolerance: float,
  size: tuple[int, int] | None = None,
  since_first: bool = False,
) -> np.ndarray:
  """The frames of a video nearest to `times` (seconds, ascending).

  Decodes from the keyframe before the first to the last one, and no more.
  Returns uint8 [len(times), H, W, 3] as they are to be shown: turned, and of
  square pixels, as the file says; scaled to `size` (H, W) where given. Times
  are the file's own, or where it says `since_first` count from its first frame.
  Raises CorruptEpisode where the video cannot be decoded or has no frame
  within `tolerance` seconds of a time.
  """
  av = None if _is_animated(path) else _av()
  with _faults(path):
    if av is None:
      frames = _pick(_decode_animated(path, size), times)
    else:
      if since_first:
        times = np.asarray(times) + _first_time(av, path)
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
    convert = _converter(av, stream, size)
    rate = _rate_untimed(container, stream)

    def decoded():
      for index, frame in enumerate(container.decode(stream)):
        time = index / rate if rate else frame.time
        if time is None:
          raise OSError('a frame has no time stamp')
        yield _Frame(time, functools.partial(convert, frame))

    if rate:
      return _pick(decoded(), times)
    if times[0] > 0:
      container.seek(int(times[0] / stream.time_base), stream=stream)
    frames = _pick(decoded(), times)
    if not times[0] or frames and frames[0].time <= times[0] + tolerance:
      return frames
    container.seek(0)  # The file's index led past the first frame.
    return _pick(decoded(), times)


def _first_time(av, path):
  """When the first frame is shown, in seconds of the file's own clock."""
  with av.open(_place(path), options=_OPTIONS) as container:
    stream = container.streams.video[0]
    if _rate_untimed(container, stream) or stream.start_time is None:
      return 0.0
    return float(stream.start_time * stream.time_base)


def _rate_untimed(container, stream):
  """Frames a second of a file that does not say when they are shown, else 0.

  AVI numbers frames as they are stored, which is not always as they are shown.
  """
  return (
    float(stream.average_rate or 0) if 'avi' in container.format.name else 0
  )


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


def _converter(av, stream, size):
  """frame -> uint8 [H, W, 3] as it is to be shown, at `size` where given.

  One for all frames of a video: to plan a conversion anew takes longer than to
  decode a small frame, and to start its threads longer than to convert one.
  """
  convert = av.video.reformatter.VideoReformatter().reformat

  def pixels(frame):
    height, width = _shown(frame.height, frame.width, stream)
    if size:
      height, width = _turned(size, frame)
    image = convert(
      frame, width, height, 'rgb24', interpolation='AREA', threads=1
    ).to_ndarray()
    return np.rot90(image, _quarters(frame))

  return pixels


def _shown(height, width, stream):
  """(H, W) in square pixels; a file may say that its own are wider or less."""
  return height, round(width * float(stream.sample_aspect_ratio or 1))


def _turned(size, frame):
  """(H, W) of what is turned into `size`, or what it is turned into."""
  return tuple(size) if _quarters(frame) % 2 == 0 else tuple(size)[::-1]


def _quarters(frame):
  """Quarters of a turn, counterclockwise, by which it is to be shown."""
  return round(frame.rotation / 90) % 4


def _place(path):
  """As FFmpeg takes nothing but the name of a file."""
  return str(files.regular(path).absolute())


def _is_animated(path):
  return pathlib.Path(path).suffix.lower() in ANIMATED


def _probe_animated(path):
  with _animation(path) as opened:
    frames = _frames_animated(opened, lambda frame: None)
    ticks = [round(1000 * time) for time, _ in frames]
    size = opened.height, opened.width
  return Probe(np.array(ticks, np.int64), 1e-3, size)


def _decode_animated(path, size):
  """All frames; a small file's are kept for the next clip, which is of it."""
  with _animation(path) as opened:
    height, width = size or (opened.height, opened.width)
    if 3 * height * width * opened.n_frames > _KEPT_BYTES:
      frames = _frames_animated(opened, _pixels_at(size))
      yield from itertools.starmap(_decoded, frames)
      return
  yield from itertools.starmap(
    _decoded, _animated(path, os.stat(path).st_mtime_ns, size)
  )


@functools.lru_cache(maxsize=1)
def _animated(path, changed, size):
  """(seconds, uint8 [H, W, 3]) of every frame."""
  del changed  # Another time of change, another file.
  with _animation(path) as opened:
    return tuple(_frames_animated(opened, _pixels_at(size)))


def _decoded(time, image_HWC):
  return _Frame(time, lambda: image_HWC)


def _pixels_at(size):
  return lambda frame: np.asarray(decode.fit(frame, size) if size else frame)


@contextlib.contextmanager
def _animation(path):
  with Image.open(files.regular(path), formats=_ANIMATIONS) as opened:
    declared = 3 * opened.width * opened.height
    files.holds(path, 'a frame', declared, os.path.getsize(path))
    yield opened


def _frames_animated(opened, pixels):
  """(seconds, `pixels` of the RGB image) of all frames; 0 ms count as 100."""
  milliseconds = 0
  for index in range(opened.n_frames):
    opened.seek(index)
    yield milliseconds / 1000, pixels(opened.convert('RGB'))
    milliseconds += opened.info.get('duration') or 100


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
