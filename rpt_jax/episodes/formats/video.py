"""Folders of video files as action-free episodes.

A file is resampled to a frame rate by taking the nearest frames, and cut into
clips of nearly equal length; each is an episode. Frames are decoded when read.
"""

import concurrent.futures
import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing, videos
from rpt_jax.episodes.columns import Column
from rpt_jax.episodes.errors import CorruptEpisode, no_split
from rpt_jax.episodes.source import reopen

MARK = 'a video, or a folder of them'
_IMAGE = 'image'
_NAMED = 5  # Different rates or sizes, in a warning.
_MOST = 1000  # Times that a frame may be shown.


def sniff(path: pathlib.Path) -> float:
  """A little sure of files of such names: other datasets hold videos, too."""
  return 0.25 * any(listing.visible(path, *videos.VIDEO))


def open(
  path: pathlib.Path,
  split: str,
  size: tuple[int, int] | None,
  fps: float | None = None,
  clip_steps: int | None = None,
):
  """The clips of all files; ValueError for another split than 'all'."""
  if split != 'all':
    raise no_split(path, split, ())
  return VideoStore(path, fps, clip_steps, size)


class VideoStore:
  """Clips of one video file, or of all below a folder; see `source`.

  `fps` None keeps every frame as it was shown; `clip_steps` None takes a file
  as one clip. A file that cannot be opened is an episode of length 0, whose
  reading says why.
  """

  defaults = {_IMAGE: _IMAGE}

  def __init__(
    self,
    path: str | os.PathLike,
    fps: float | None = None,
    clip_steps: int | None = None,
    size: tuple[int, int] | None = None,
  ):
    is_cut = clip_steps is not None
    if not (fps is None or 0 < fps < np.inf) or is_cut and clip_steps < 1:
      raise ValueError(
        f'{path}: found fps={fps} and clip_steps={clip_steps}, expected '
        'numbers above 0'
      )
    self._arguments = (str(path), fps, clip_steps, size)
    self.name, self.path = pathlib.Path(path).stem, str(path)
    self._size, self._clips, sizes, rates = size, [], [], []
    places = sorted(listing.visible(pathlib.Path(path), *videos.VIDEO))
    if not places:
      raise no_split(path, 'all', (), MARK)
    abouts = listing.kept(path, 'video 2', lambda: _abouts(places))
    for file, about in zip(places, abouts, strict=True):
      if isinstance(about, str):
        self._clips.append((file, CorruptEpisode(about), 0.0))
        continue
      probe = _opened(about)
      try:
        times, tolerance = _resampled(file, probe.times, fps)
      except CorruptEpisode as error:
        self._clips.append((file, error, 0.0))
        continue
      sizes.append(probe.size)
      rates.append(_rate(probe.times))
      cuts = _cut(times, clip_steps)
      self._clips += [(file, clip, tolerance) for clip in cuts]
    if not sizes:
      raise ValueError(f'{path}: no video can be opened; {self._clips[0][1]}')
    shape = (*(size or sizes[0]), 3)
    self.columns = {_IMAGE: Column('image', shape, np.dtype(np.uint8))}
    self.fps = fps or self._shown_fps()
    self.warnings = _differences(rates, fps, 'frames a second', 'fps')
    self.warnings += _differences(sizes, size, '(height, width)', 'size')
    self.lengths = np.array(
      [0 if _is_fault(times) else len(times) for _, times, _ in self._clips],
      np.int64,
    )

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The frames of one clip."""
    file, times, tolerance = self._clips[index]
    if _is_fault(times):
      raise CorruptEpisode(str(times))
    if not columns:
      return {}
    return {_IMAGE: videos.frames_at(file, times, tolerance, self._size)}

  def metadata(self, index: int) -> dict[str, Any]:
    """The file of a clip and where in it the clip begins, in seconds."""
    file, times, _ = self._clips[index]
    start = 0.0 if _is_fault(times) else float(times[0])
    return {'index': index, 'file': str(file), 'start': start}

  def _shown_fps(self):
    """The rate of the first clip of two frames or more, as it was shown."""
    for _, times, _ in self._clips:
      if not _is_fault(times) and len(times) > 1:
        return round(float((len(times) - 1) / (times[-1] - times[0])), 3)
    return None


def _rate(times):
  """Frames a second, as a whole number where it is all but one."""
  if len(times) < 2 or not times[-1] > times[0]:
    return None
  return round((len(times) - 1) / (times[-1] - times[0]), 1)


def _differences(values, chosen, what, setting):
  """A line where files differ in what could be chosen for all of them."""
  different = sorted({value for value in values if value is not None})
  if chosen is not None or len(different) < 2:
    return []
  some = ', '.join(map(str, different[:_NAMED]))
  more = ', ...' if len(different) > _NAMED else ''
  return [f'files differ in {what}: {some}{more}; choose one with {setting}=']


def _abouts(places) -> list:
  """Of each file what `_opened` takes, or why it cannot be opened; for JSON."""
  with concurrent.futures.ThreadPoolExecutor() as pool:
    return list(pool.map(_about, places))


def _about(file):
  try:
    probe = videos.probe(file)
  except CorruptEpisode as error:
    if files.may_pass(error.__cause__):
      raise
    return str(error)
  ticks, step = probe.tick_N.tolist(), 0
  if len(ticks) > 1 and len({*np.diff(ticks).tolist()}) == 1:
    ticks, step = [ticks[0], len(ticks)], ticks[1] - ticks[0]
  return ticks, step, probe.size, probe.second


def _opened(about) -> videos.Probe:
  """The probe of a file; of frames at one rate only their first is kept."""
  ticks, step, size, second = about
  tick_N = np.array(ticks, np.int64)
  if step:
    first, count = ticks
    tick_N = first + step * np.arange(count)
  return videos.Probe(tick_N, tuple(size), second)


def _is_fault(times):
  return isinstance(times, CorruptEpisode)


def _resampled(file, times, fps):
  """Times on a grid of `fps`, and how far from one a frame can be."""
  gap = float(np.diff(times).max()) if len(times) > 1 else 1.0
  if fps is not None:
    count = int(np.floor((times[-1] - times[0]) * fps + 1e-6)) + 1
    if count > _MOST * len(times):
      raise CorruptEpisode(
        f'{file}: found {len(times)} frames over {times[-1] - times[0]:.0f} s, '
        f'too few for fps={fps}; give a lower one, or take the file out'
      )
    times = times[0] + np.arange(count) / fps
  return times, 0.5 * gap + 1e-3


def _cut(times, clip_steps):
  """Clips of at most `clip_steps`, in lengths that differ by one at most."""
  count = 1 if clip_steps is None else -(-len(times) // clip_steps)
  return np.array_split(times, count)
