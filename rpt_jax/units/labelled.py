"""The few clips whose actions a maker of units is told, and no others."""

import numpy as np

from rpt_jax.episodes.windows import Clips


def rows(clips: Clips, count: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
  """(row [M], clip [M]) of the steps of `count` clips, evenly spread.

  Steps that have another `shift` later in their clip. Where every domain has as
  many clips, each gets its share. Raises ValueError for fewer clips than that,
  and where none is long enough.
  """
  total = len(clips.lengths)
  if count > total:
    raise ValueError(
      f'labelled: found {total} clips to pretrain on, expected at least '
      f'{count}, as many as are labelled'
    )
  chosen = np.arange(count) * total // count
  starts, lengths = clips.offsets[chosen], clips.lengths[chosen] - shift
  parts = [
    np.arange(start, start + max(length, 0))
    for start, length in zip(starts, lengths, strict=True)
  ]
  row_M = np.concatenate(parts)
  if not len(row_M):
    raise ValueError(
      f'labelled: found clips of {int(clips.lengths[chosen].max())} steps at '
      f'most, expected more than shift={shift}'
    )
  return row_M, np.repeat(np.arange(count), [len(part) for part in parts])


def actions(clips: Clips, row_M: np.ndarray) -> np.ndarray:
  """What was done in these rows and no others, as numbers [M, A].

  Discrete actions are 1 in the place of what was done and 0 elsewhere. Columns
  that an action space lacks are the mean of the rows that have them.
  """
  action = np.asarray(clips.arrays['action'][row_M])
  if action.ndim == 1:
    return (action[:, None] == np.arange(action.max() + 1)).astype(np.float64)
  action_MA = action.astype(np.float64)
  absent_MA = np.isnan(action_MA)
  count_A = np.maximum((~absent_MA).sum(0), 1)
  mean_A = np.where(absent_MA, 0, action_MA).sum(0) / count_A
  return np.where(absent_MA, mean_A, action_MA)


def moments(x_MD: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """(mean [D], deviation [D]); of what does not vary it is 1."""
  deviation_D = x_MD.std(0)
  least = 1e-6 * max(float(deviation_D.max(initial=0)), 1e-12)
  return x_MD.mean(0), np.where(deviation_D > least, deviation_D, 1.0)
