"""Frames of many clips, decoded once, on disk, and read at random.

A split is a folder of the stream store, a stream `image/<camera>` of uint8
[N, H, W, 3] for each camera, and `clips.npz`, which says how fast clips run and
what they are told to do.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import stack, store, windows

IMAGE, CLIPS = 'image/', 'clips.npz'


@dataclasses.dataclass(frozen=True)
class Frames:
  """Frames of clips that lie end to end; each camera of an episode is a clip.

  `parts` are arrays [N, H, W, 3] of uint8, one of each domain; of each clip
  `lengths` are its frames, `rates` its frames a second (0: nobody knows) and
  `texts` the instruction that it follows ('': none).
  """

  parts: tuple[stack.Stack | np.ndarray, ...]
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
    return self._pixels[rows]

  @functools.cached_property
  def _pixels(self):
    return stack.end_to_end(self.parts)

  def spread(self, count: int) -> np.ndarray:
    """Rows of at most `count` frames, evenly over all of them."""
    places = np.linspace(0, len(self) - 1, min(count, len(self)))
    return places.astype(int)


def save_clips(folder: pathlib.Path, rates, texts) -> None:
  """Writes what is known of the clips beside the frames in `folder`."""
  clips = {
    'rates': np.asarray(rates, np.float32),
    'texts': np.asarray(texts, np.str_),
  }
  files.write_arrays(folder / CLIPS, clips)


def load(folders: Sequence[pathlib.Path]) -> Frames:
  """The frames of all folders `<domain>/<split>`, in order.

  Of a domain all clips of a camera, then those of the next. Raises ValueError
  where a split is not finished or holds no frame.
  """
  parts, lengths, clips = [], [], []
  for folder in folders:
    names = store.streams(folder)
    split = store.load(folder, names)
    parts.append(stack.end_to_end([split.arrays[name] for name in names]))
    lengths.append(np.tile(split.lengths, len(names)))
    clips.append(files.read_arrays(folder / CLIPS, 'rates', 'texts'))
  about = (np.concatenate([c[k] for c in clips]) for k in ('rates', 'texts'))
  return Frames(tuple(parts), np.concatenate(lengths), *about)


def blank(size: int, length: int = 1024) -> Frames:
  """A clip of black frames, which takes no memory: where shapes matter."""
  black = np.broadcast_to(np.uint8(0), (length, size, size, 3))
  clip = np.array([length], np.int32), np.ones(1, np.float32), np.array(['-'])
  return Frames((black,), *clip)
