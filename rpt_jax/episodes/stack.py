"""Arrays that lie end to end in many files, read as one that is never whole.

Rows are read into place by `pread`, a run of them at once: what was read does
not stay in the process, as it would of files that are mapped. Where storage
answers late (a bucket that is mounted), the system is told beforehand which
rows are to come and fetches them side by side: it is waited for once a batch
and not once a window.
"""

import contextlib
import errno
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

BLOCK = 1 << 13  # Rows that are in memory at once where all are visited.
_LATE = 1e-3  # Seconds that a run of rows may take before others are announced.


class File:
  """An array [n, ...] that lies in a file; `file[rows]` reads those rows.

  `path` is of a `.npy`. Raises ValueError where it is none, or of objects, or
  shorter than it says; OSError where it cannot be read.
  """

  def __init__(self, path: str | os.PathLike):
    mapped = np.lib.format.open_memmap(path, 'r')
    if not (mapped.flags.c_contiguous and mapped.ndim):
      raise ValueError(
        f'{path}: found an array by columns, expected one by rows; encode again'
      )
    self._path, self._offset = str(path), mapped.offset
    self.shape, self.dtype = mapped.shape, mapped.dtype
    self._descriptor, self._late = None, False
    self._width = mapped[:0].strides[0]  # Bytes of a row.

  @property
  def ndim(self) -> int:
    """Its number of axes."""
    return len(self.shape)

  def __len__(self) -> int:
    return self.shape[0]

  def __getitem__(self, rows) -> np.ndarray:
    if isinstance(rows, slice):
      first, last, step = rows.indices(len(self))
      if step == 1:
        out = np.empty((max(last - first, 0), *self.shape[1:]), self.dtype)
        view = memoryview(out.reshape(-1).view(np.uint8))
        self._read_bytes(self._offset + first * self._width, view)
        return out
      rows = np.arange(first, last, step)
    if _follow(rows := np.asarray(rows), len(self)):
      return self[int(rows[0]) : int(rows[-1]) + 1]
    runs = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1)
    return self._runs(runs).reshape(*rows.shape, *self.shape[1:])

  def _runs(self, runs):
    """Rows [n, steps]; a run is read from its least to its largest at once."""
    if not runs.size:
      return np.empty((*runs.shape, *self.shape[1:]), self.dtype)
    low, spans = runs.min(1), np.ptp(runs, 1) + 1
    most, (count, steps) = int(spans.max()), runs.shape
    if most > steps:  # They have gaps: each row by itself.
      rows = self._runs(runs.reshape(-1, 1))
      return rows.reshape(*runs.shape, *self.shape[1:])
    self._check(low.min(), (low + spans).max())
    if self._late:
      self._announce(low.tolist(), spans.tolist())
    out = np.empty((count, most, *self.shape[1:]), self.dtype)
    began = time.perf_counter()
    self._fill(out, low.tolist(), (spans * self._width).tolist())
    self._late |= time.perf_counter() - began > _LATE * count
    if (runs == low[:, None] + np.arange(steps)).all():
      return out
    # Rows repeat, as those of windows do that lead out of their clip.
    return out[np.arange(count)[:, None], runs - low[:, None]]

  def _fill(self, out, low, sizes):
    """Reads into each of `out` so many bytes from its row on."""
    flat = memoryview(out.reshape(-1).view(np.uint8))
    descriptor, place = self._opened(), 0
    for first, size in zip(low, sizes, strict=True):
      start = self._offset + first * self._width
      own = flat[place : place + size]
      if os.preadv(descriptor, [own], start) != size:
        self._read_bytes(start, own)
      place += out.strides[0]

  def _check(self, low, high):
    if low < 0 or high > len(self):
      raise IndexError(f'{self._path}: rows {low} to {high} of {len(self)}')

  def _read_bytes(self, place, view):
    while len(view):
      count = os.preadv(self._opened(), [view[: 1 << 30]], place)
      if not count:
        raise ValueError(f'{self._path}: ends at byte {place}; encode again')
      view, place = view[count:], place + count

  def _announce(self, low, spans):
    descriptor, width = self._opened(), self._width
    for first, span in zip(low, spans, strict=True):
      place = self._offset + first * width
      os.posix_fadvise(descriptor, place, span * width, os.POSIX_FADV_WILLNEED)

  def _opened(self):
    if self._descriptor is None:
      self._descriptor = _open(self._path)
    return self._descriptor

  def __del__(self, close=os.close):  # At exit there may be no `os`.
    if getattr(self, '_descriptor', None) is not None:
      close(self._descriptor)


class Scratch(File):
  """Rows written one after the other to a file that has no name.

  It is gone with this object, however the process ends, and lies where the
  system keeps such files (TMPDIR): a mounted bucket is no place to write at.
  """

  def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
    self.shape, self.dtype = (0, *shape), np.dtype(dtype)
    self._offset, self._late = 0, False
    self._width = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
    with tempfile.NamedTemporaryFile(prefix='rpt_jax_') as file:
      self._path, self._descriptor = file.name, os.dup(file.fileno())

  def append(self, x: np.ndarray) -> None:
    """Adds rows; OSError where the disk is full."""
    view = memoryview(
      np.ascontiguousarray(x, self.dtype).view(np.uint8).ravel()
    )
    place = len(self) * self._width
    while len(view):
      try:
        count = os.pwrite(self._descriptor, view, place)
      except OSError as error:
        raise OSError(error.errno, error.strerror, self._path) from error
      view, place = view[count:], place + count
    self.shape = (len(self) + len(x), *self.shape[1:])


class Stack:
  """Arrays [n, ...] end to end: `stack[rows]` reads those rows, any shape.

  A slice reads its rows, too; `np.asarray` reads all. Raises ValueError where
  the parts have steps of several shapes.
  """

  def __init__(self, parts: Sequence):
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
    """Of all parts end to end."""
    return (len(self), *self.parts[0].shape[1:])

  @property
  def ndim(self) -> int:
    """Its number of axes."""
    return len(self.shape)

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
    if _follow(rows := np.asarray(rows), len(self)):
      return self._slice(int(rows[0]), int(rows[-1]) + 1)
    if len(self.parts) == 1:
      return np.asarray(self.parts[0][rows], self.dtype)
    runs = rows.reshape(-1, rows.shape[-1] if rows.ndim > 1 else 1)
    out = np.empty((*runs.shape, *self.shape[1:]), self.dtype)
    for part, chosen, local in self._by_part(runs):
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
    return np.concatenate(pieces, dtype=self.dtype)

  def _by_part(self, runs):
    """(part, where its rows belong, its own numbers of them) of each part."""
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
    """Its number of axes."""
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


def _follow(rows, count):
  """Whether rows [n] are some of `count` that follow each other."""
  if rows.ndim != 1 or len(rows) < 2 or rows[0] < 0 or rows[-1] >= count:
    return False
  return bool((rows[1:] - rows[:-1] == 1).all())


def mapped(x, function: Callable):
  """`function` of each row of x [N, ...]; made when read, of what is not here.

  The function is given arrays [n, ...] or [*rows, ...].
  """
  if not isinstance(x, (Stack, Derived, File)):
    return function(x)
  like = np.asarray(function(x[:1]))
  shape = len(x), *like.shape[1:]
  return Derived(lambda rows: function(x[rows]), shape, like.dtype)


def cut(x, start: int, stop: int):
  """Rows `start` to `stop` (excluded), of what is not here still not read."""
  if not isinstance(x, (Stack, Derived, File)):
    return x[start:stop]
  shape = stop - start, *x.shape[1:]
  return Derived(lambda rows: x[rows + start], shape, x.dtype)


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


def _open(path):
  """A descriptor; there may be more shards than a process usually opens."""
  try:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
  except OSError as error:
    if error.errno != errno.EMFILE:
      raise
  with contextlib.suppress(ValueError, OSError):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
  return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
