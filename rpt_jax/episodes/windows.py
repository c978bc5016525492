"""Static-shape windows over clips of any length, with validity masks.

Clips lie end to end in arrays of N rows; a window is a run of `context` rows
of one clip. A table of windows is three numbers a window; rows, masks and
future targets are computed from it, by NumPy or inside `jit` alike.
"""

from typing import NamedTuple

import jax
import numpy as np

from rpt_jax.types import Array, PyTree


class Clips(NamedTuple):
  """Clips end to end: `arrays[name]` is [N, ...], `lengths` [clips]."""

  arrays: dict[str, np.ndarray]
  lengths: np.ndarray

  @property
  def offsets(self) -> np.ndarray:
    """First row of each clip, and N: [clips + 1] int64."""
    return np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])

  @property
  def clip_N(self) -> np.ndarray:
    """Index of the clip each row belongs to."""
    return np.repeat(np.arange(len(self.lengths)), self.lengths)

  def clip_of(self, rows: np.ndarray) -> np.ndarray:
    """Index of the clip that each of these rows belongs to."""
    return np.searchsorted(self.offsets, rows, side='right') - 1


def spread(count: int, most: int) -> np.ndarray:
  """At most `most` of `count` rows, evenly: neighbours are near copies.

  The stride is prime, so as not to fall into step with clips of one length,
  of which only the first steps, say, would be seen.
  """
  stride = -(-count // most)
  while any(stride % n == 0 for n in range(2, int(stride**0.5) + 1)):
    stride += 1
  return np.arange(0, count, stride)


class Windows(NamedTuple):
  """A table of W windows; `table[picks]` selects some.

  `first` is the row a window starts at (before `low` where it leads into its
  clip), `low` and `high` bound the rows of its clip, high excluded; `clip`
  is the clip's index. All [W] int32.
  """

  first: Array
  low: Array
  high: Array
  clip: Array

  def take(self, picks: Array) -> 'Windows':
    """The windows `picks` (any shape of indices)."""
    return Windows(*(column[picks] for column in self))

  def __len__(self):
    raise TypeError('use table.first.shape[0]: a Windows is four columns')


class Table:
  """All windows of `context` steps such that every step is in one.

  A clip of T steps starts windows at -lead, -lead + 1, ..., T - context; a clip
  no longer than `context` with lead 0 gives one window, padded at its end.
  `lead` > 0 lets windows start before their clip, as the history of a policy
  does at the start of an episode: with lead = context - 1 every step of every
  clip is the last step of exactly one window. Of `chosen` clips alone, where
  others are not to be looked at. Windows are listed when they are taken: what
  is in memory is a few numbers a clip.

  Raises ValueError for an empty clip or settings out of range.
  """

  def __init__(
    self,
    lengths: np.ndarray,
    context: int,
    *,
    lead: int = 0,
    chosen: slice = slice(None),
  ):
    lengths = np.asarray(lengths)
    _check(lengths, context, lead)
    self._offsets, self._lead = Clips({}, lengths).offsets, lead
    if self._offsets[-1] > np.iinfo(np.int32).max:
      raise ValueError(
        f'{self._offsets[-1]} rows: int32 indexes at most 2**31 - 1'
      )
    counts = np.zeros(len(lengths), np.int64)
    counts[chosen] = np.maximum(lengths[chosen] - context, -lead) + lead + 1
    self.starts = np.concatenate([[0], np.cumsum(counts)])  # Of each clip's.

  @property
  def size(self) -> int:
    """How many windows there are."""
    return int(self.starts[-1])

  def take(self, picks: np.ndarray) -> Windows:
    """The windows `picks` (any shape of indices)."""
    clip = np.searchsorted(self.starts, picks, side='right') - 1
    low, high = self._offsets[clip], self._offsets[clip + 1]
    first = picks - self.starts[clip] - self._lead + low
    columns = first, low, high, clip
    return Windows(*(column.astype(np.int32) for column in columns))


def windows(lengths: np.ndarray, context: int, *, lead: int = 0) -> Windows:
  """All windows of a `Table`, listed; errors as there."""
  table = Table(lengths, context, lead=lead)
  return table.take(np.arange(table.size))


def _check(lengths, context, lead):
  if lengths.ndim != 1 or not lengths.size or lengths.min() < 1:
    raise ValueError(
      f'lengths: found shape {lengths.shape} with minimum '
      f'{lengths.min(initial=0)}, expected at least one clip, none empty'
    )
  if context < 1 or not 0 <= lead < context:
    raise ValueError(
      f'context {context}, lead {lead}: expected context at least 1 and lead '
      'from 0 to context - 1'
    )


def rows(table_B: Windows, context: int) -> tuple[Array, Array]:
  """Rows [B, context] of windows and which are in their clip.

  Rows outside are replaced by the clip's nearest row, so that gathering is
  safe; the mask says which they are.
  """
  return future(table_B.first, table_B, context)


def future(
  rows_any: Array, table_B: Windows, steps: int, first: int = 0
) -> tuple[Array, Array]:
  """Rows `first`, ..., `first + steps - 1` after each, and their validity.

  `rows_any` is [B] or [B, T] (not clamped: `table_B.first` plus an offset);
  the results have one axis more, [..., steps]. Target t + c of a clip of T
  steps is valid if and only if 0 <= t + c < T. The chunk of next actions at
  t is `first=0`, as `action[t]` follows `observation[t]`; what is seen next
  is `first=1`.
  """
  ahead = first + np.arange(steps, dtype=np.int32)
  at = rows_any[..., None] + ahead.reshape((1,) * rows_any.ndim + (steps,))
  low, high = (
    bound.reshape(bound.shape + (1,) * (at.ndim - bound.ndim))
    for bound in (table_B.low, table_B.high)
  )
  valid = (at >= low) & (at < high)
  return at.clip(low, high - 1), valid


def gather(arrays: PyTree, rows_any: Array) -> PyTree:
  """`x[rows]` for every array of a tree: [N, ...] -> [*rows, ...]."""
  return jax.tree.map(lambda x: x[rows_any], arrays)
