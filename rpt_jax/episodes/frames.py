"""Frames of many clips, decoded once, mapped from disk and read at random.

A split is `<split>.npy`, uint8 [N, H, W, 3], and `<split>.clips.npz`, which
says where clips begin and end, how fast they run, and what they are told to do.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import windows


@dataclasses.dataclass(frozen=True)
class Frames:
  """Frames of clips that lie end to end; each camera of an episode is a clip.

  `parts` are arrays [N, H, W, 3] of uint8, end to end; of each clip `lengths`
  are its frames, `rates` its frames a second (0: nobody knows) and `texts` the
  instruction that it follows ('': none).
  """

  parts: tuple[np.ndarray, ...]
  lengths: np.ndarray
  rates: np.ndarray
  texts: np.ndarray

  def __len__(self) -> int:
    return sum(map(len, self.parts))

  @property
  def size(self) -> int:
    """Pixels of a side."""
    return self.parts[0].shape[1]

  @property
  def clips(self) -> windows.Clips:
    """Where clips lie; which clip a frame is of, which frame of it."""
    return windows.Clips({}, self.lengths)

  @property
  def clips_of_parts(self) -> np.ndarray:
    """How many clips each part has: [parts]."""
    ends = np.cumsum([0, *map(len, self.parts)])
    return np.diff(np.searchsorted(self.clips.offsets, ends))

  def take(self, rows: np.ndarray) -> np.ndarray:
    """The frames at `rows`, any shape of them: uint8 [*rows, H, W, 3]."""
    flat = np.ravel(rows)
    starts = np.cumsum([0, *map(len, self.parts)])
    which = np.searchsorted(starts, flat, side='right') - 1
    first = self.parts[0]
    frames = np.empty((len(flat), *first.shape[1:]), first.dtype)
    for i in np.unique(which):
      in_part = which == i
      frames[in_part] = self.parts[i][flat[in_part] - starts[i]]
    return frames.reshape(*np.shape(rows), *first.shape[1:])

  def spread(self, count: int) -> np.ndarray:
    """Rows of at most `count` frames, evenly over all of them."""
    places = np.linspace(0, len(self) - 1, min(count, len(self)))
    return places.astype(int)


def save_clips(path: pathlib.Path, lengths, rates, texts) -> None:
  """Writes what is known of the clips beside the frames at `path`."""
  clips = {
    'lengths': np.asarray(lengths, np.int32),
    'rates': np.asarray(rates, np.float32),
    'texts': np.asarray(texts, np.str_),
  }
  files.write_arrays(path.with_suffix('.clips.npz'), clips)


def load(paths: Sequence[pathlib.Path]) -> Frames:
  """The frames of all files `<split>.npy`, in order."""
  parts = tuple(np.load(path, mmap_mode='r') for path in paths)
  clips = [dict(np.load(path.with_suffix('.clips.npz'))) for path in paths]
  fields = ('lengths', 'rates', 'texts')
  return Frames(parts, *(np.concatenate([c[k] for c in clips]) for k in fields))


def blank(size: int, length: int = 1024) -> Frames:
  """A clip of black frames, which takes no memory: where shapes matter."""
  black = np.broadcast_to(np.uint8(0), (length, size, size, 3))
  clip = np.array([length], np.int32), np.ones(1, np.float32), np.array([''])
  return Frames((black,), *clip)
