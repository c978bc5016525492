"""Frames of videos, by PyAV, when and as they are to be shown.

Nothing stays open between calls, so that what reads them can be pickled.
Animated images need no PyAV.
"""

import contextlib
import functools
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import animations
from rpt_jax.episodes.errors import CorruptEpisode, needs

# No other format of FFmpeg's, whose lists and playlists name files, and the
# network.
_OPTIONS = {
  'format_whitelist': 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi',
  'protocol_whitelist': 'file',
}
# Names of FFmpeg's for pixels of one number of more than 8 bits.
DEPTH = re.compile(r'(gray|ya?)(9|1\d|f?32|f16)(le|be)?|gray10msb.*')
VIDEO = ('.mp4', '.webm', '.mkv', '.mov', '.avi', '.m4v', *animations.SUFFIXES)


class Probe(NamedTuple):
  """When the frames of a video are shown, undecoded, and at what size.

  Frame i is shown at `tick_N[i] * second` seconds; they ascend. `size` is (H,
  W) as it is to be shown.
  """

  tick_N: np.ndarray
  size: tuple[int, int]
  second: float

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
      return Probe(*animations.probe(path), 1e-3)
    with av.open(_place(path), options=_OPTIONS) as container:
      stream = _stream(container)
      packets = [p for p in container.demux(stream) if p.pts is not None]
      expected, second = stream.frames, float(stream.time_base)
      if packets:
        container.seek(0)
        first = next(container.decode(stream), None)
        if first is None:
          raise _no_pictures()
        _check_colour(first)
        width = round(first.width * _aspect(stream))
        size = _turned((first.height, width), first)
      rate = _rate_untimed(container, stream)
  if not packets or len(packets) < expected:
    raise CorruptEpisode(
      f'{path}: found {len(packets)} frames, expected {expected or "some"}; it '
      'is truncated, copy it again'
    )
  if rate:
    return Probe(np.arange(len(packets)), size, 1 / rate)
  ticks = sorted(p.pts for p in packets if not p.is_discard)
  return Probe(np.array(ticks, np.int64), size, second)


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
      shown = animations.frames(path, size)
      frames = _pick(itertools.starmap(_animated, shown), times)
    else:
      if since_first:
        times = np.asarray(times) + _first_time(av, path)
      frames = _seek_and_pick(av, path, times, tolerance, size)
  if len(frames) < len(times):
    raise CorruptEpisode(f'{path}: found no frame; copy it again')
  for time, frame in zip(times, frames, strict=True):
    if not abs(frame.time - time) <= tolerance:  # Nor where it is NaN.
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
    """uint8 [H, W, 3]."""
    if self._pixels is None:
      self._pixels, self._convert = self._convert(), None
    return self._pixels


def _animated(milliseconds, image_HWC):
  return _Frame(milliseconds / 1000, lambda: image_HWC)


def _seek_and_pick(av, path, times, tolerance, size):
  with av.open(_place(path), options=_OPTIONS) as container:
    stream = _stream(container)
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


def _stream(container):
  """The pictures of a video; ValueError where there are none."""
  if not container.streams.video:
    raise _no_pictures()
  return container.streams.video[0]


def _no_pictures() -> ValueError:
  return ValueError('found no pictures, expected a video')


def _first_time(av, path):
  """When the first frame is shown, in seconds of the file's own clock."""
  with av.open(_place(path), options=_OPTIONS) as container:
    stream = _stream(container)
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
  if before is None:
    return nearest
  before.pixels()  # Now, as a video that is closed says nothing of its shape.
  return nearest + [before] * (len(times) - len(nearest))


def _converter(av, stream, size):
  """frame -> uint8 [H, W, 3] as it is to be shown, at `size` where given.

  One for all frames of a video: to plan a conversion anew takes longer than to
  decode a small frame, and to start its threads longer than to convert one.
  """
  convert = av.video.reformatter.VideoReformatter().reformat
  aspect = _aspect(stream)  # Now: frames may be converted when it is closed.

  def pixels(frame):
    _check_colour(frame)
    height, width = frame.height, round(frame.width * aspect)
    if size:
      height, width = _turned(size, frame)
    image = convert(
      frame, width, height, 'rgb24', interpolation='AREA', threads=1
    ).to_ndarray()
    quarters, is_mirrored = _placed(frame)
    return np.rot90(image[:, ::-1] if is_mirrored else image, quarters)

  return pixels


def _check_colour(frame):
  """Raises ValueError for a frame whose numbers can only be distances."""
  if DEPTH.fullmatch(frame.format.name):
    raise ValueError(
      f'frames of {frame.format.name}, which are no colour, expected 8 bits; '
      'keep depth as PNG of 16 bits'
    )


def _aspect(stream) -> float:
  """Width of a pixel over its height, which a file may say of its own."""
  return float(stream.sample_aspect_ratio or 1)


def _turned(size, frame):
  """(H, W) of what is turned into `size`, or what it is turned into."""
  quarters, _ = _placed(frame)
  return tuple(size) if quarters % 2 == 0 else tuple(size)[::-1]


def _placed(frame) -> tuple[int, bool]:
  """(quarters of a turn, counterclockwise; whether it is mirrored before).

  A frame is to be shown by a matrix that leads its columns and rows elsewhere.
  """
  matrix = frame.side_data.get('DISPLAYMATRIX')
  if matrix is None:
    return 0, False
  a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
  is_mirrored = a * d - b * c < 0
  right = complex(a, -b) * (-1 if is_mirrored else 1)  # Where columns lead to.
  return round(np.angle(right) / (np.pi / 2)) % 4, is_mirrored


def _place(path):
  """As FFmpeg takes nothing but the name of a file."""
  return str(files.regular(path).absolute())


def _is_animated(path):
  return pathlib.Path(path).suffix.lower() in animations.SUFFIXES


@contextlib.contextmanager
def _faults(path):
  """Whatever a decoder raises, as CorruptEpisode naming the file."""
  try:
    yield
  except CorruptEpisode:
    raise
  except Exception as error:  # FFmpeg's and Pillow's have no common base.
    words = files.words(error).removeprefix(f'{path}: ')
    raise CorruptEpisode(
      f'{path}: cannot be decoded ({words}); copy it again'
    ) from error


def _av():
  try:
    import av
  except ImportError as error:
    raise needs('av', 'video') from error
  return av  # Its log level stays unset: a callback deadlocks its threads.
