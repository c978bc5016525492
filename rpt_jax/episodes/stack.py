"""Arrays that lie end to end in many files, read as one that is never whole.

Files are mapped. Where rows are read at random, the system is told beforehand
which: it fetches them side by side, so that storage that answers late (a bucket
that is mounted) is waited for once a batch and not once a window.
"""

import contextlib
import mmap
from collections.abc import Callable, Iterator, Sequence

import numpy as np

BLOCK = 1 << 16  # Rows that are in memory at once where all are visited.


class Stack:
  """Arrays [n, ...] end to end: `stack[rows]` reads those rows, any shape.

  A slice reads its rows, too; `np.asarray` reads all. Raises ValueError where
  the parts have steps of several shapes.
  """

  def __init__(self, parts: Sequence[np.ndarray]):
    self.parts = tuple(parts)
    if not self.parts:
      raise ValueError('a stack of nothing: expected one array at least')
    steps = sorted({x.shape[1:] for x in self.parts})
    if len(steps) > 1:
      raise ValueError(f'steps of shapes {steps}: expected one shape')
    self.dtype = np.result_type(*(x.dtype for x in self.parts))
    self._starts = np.cumsum([0, *map(len, self.parts)])

  @property
  def shape(self) -> tuple[int, ...]:
    return (len(self), *self.parts[0].shape[1:])

  @property
  def ndim(self) -> int:
    return self.parts[0].ndim

  def __len__(self) -> int:
    return int(self._starts[-1])

  def __array__(self, dtype=None, copy=None):
    whole = self[:]
    return whole if dtype is None else whole.astype(dtype)

  def __getitem__(self, rows) -> np.ndarray:
    if isinstance(rows, slice):
      first, last, step = rows.indices(len(self))
      if step == 1:
        return self._slice(first, max(last, first))
      rows = np.arange(first, last, step)
    rows = np.asarray(rows)
    runs = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1)
    out = np.empty((*runs.shape, *self.shape[1:]), self.dtype)
    for part, chosen, local in self._by_part(runs):
      _announce(part, local)
      out[chosen] = part[local]
    return out.reshape(*rows.shape, *self.shape[1:])

  def _slice(self, first, last):
    pieces = [
      part[max(first - start, 0) : max(last - start, 0)]
      for part, start in zip(self.parts, self._starts, strict=False)
      if start < last and start + len(part) > first
    ]
    if not pieces:
      return np.empty((0, *self.shape[1:]), self.dtype)
    return np.concatenate(pieces)

  def _by_part(self, runs):
    """(part, where its rows belong, its own numbers of them) of each part."""
    if len(self.parts) == 1:
      yield self.parts[0], slice(None), runs
      return
    ends = runs[:, 0], runs[:, -1]
    first, last = (np.searchsorted(self._starts, x, 'right') - 1 for x in ends)
    if (first == last).all():  # No run leads from a part into the next.
      for i in np.unique(first):
        chosen = first == i
        yield self.parts[i], chosen, runs[chosen] - self._starts[i]
      return
    which = np.searchsorted(self._starts, runs, 'right') - 1
    for i in np.unique(which):
      chosen = which == i
      yield self.parts[i], chosen, runs[chosen] - self._starts[i]


class Derived:
  """What a function makes of rows, [*rows, ...], made when it is read."""

  def __init__(
    self,
    make: Callable[[np.ndarray], np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
  ):
    self._make, self.shape, self.dtype = make, tuple(shape), np.dtype(dtype)

  @property
  def ndim(self) -> int:
    return len(self.shape)

  def __len__(self) -> int:
    return self.shape[0]

  def __array__(self, dtype=None, copy=None):
    whole = self[:]
    return whole if dtype is None else whole.astype(dtype)

  def __getitem__(self, rows) -> np.ndarray:
    if isinstance(rows, slice):
      rows = np.arange(*rows.indices(len(self)))
    return np.asarray(self._make(np.asarray(rows)))


def mapped(x, function: Callable):
  """`function` of each row of x [N, ...]; made when read, of what is not here.

  The function is given arrays [n, ...] or [*rows, ...].
  """
  if not isinstance(x, (Stack, Derived)):
    return function(x)
  like = np.asarray(function(x[:1]))
  shape = len(x), *like.shape[1:]
  return Derived(lambda rows: function(x[rows]), shape, like.dtype)


def blocks(x, size: int = BLOCK) -> Iterator[np.ndarray]:
  """Rows of anything that has them, in order, at most `size` at once."""
  for start in range(0, len(x), size):
    yield x[start : start + size]


def end_to_end(parts: Sequence) -> Stack:
  """One stack of arrays, of stacks and of what is derived."""
  return Stack([p for x in parts for p in getattr(x, 'parts', (x,))])


def constant(value, shape: tuple[int, ...], dtype) -> np.ndarray:
  """An array of one value, which takes no memory."""
  return np.broadcast_to(np.asarray(value, dtype), shape)


def _announce(part, runs):
  """Tells the system which rows of a mapped file will be read next.

  `runs` are [n, steps], the rows of each near each other, or [n].
  """
  runs = runs.reshape(len(runs), -1)
  whole = part
  while isinstance(getattr(whole, 'base', None), np.ndarray):
    whole = whole.base  # Rows or columns of it have it as their base.
  if not (isinstance(whole, np.memmap) and isinstance(whole.base, mmap.mmap)):
    return
  mapped, width, page = whole.base, part.strides[0], mmap.PAGESIZE
  # What is mapped begins at a page, before the header of the array.
  origin = whole.offset % mmap.ALLOCATIONGRANULARITY
  origin += part.ctypes.data - whole.ctypes.data
  first = (origin + runs.min(1) * width) // page * page
  sizes = origin + (runs.max(1) + 1) * width - first
  with contextlib.suppress(OSError):  # It is advice; reading goes without.
    for start, size in zip(first.tolist(), sizes.tolist(), strict=True):
      mapped.madvise(mmap.MADV_WILLNEED, start, size)
