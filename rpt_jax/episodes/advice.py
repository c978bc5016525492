"""What the numbers of a dataset advise a config to do, in lines."""

from collections.abc import Sequence

import numpy as np

from rpt_jax.episodes.statistics import Statistics

_TAIL = 4.0  # Range over that between quantiles .01 and .99.
_NAMED = 8  # Dimensions in a line.


def lines(
  action: Statistics | None, stride: int | None, names: Sequence[str] = ()
) -> list[str]:
  """On units and on how actions are scaled.

  Args:
    action: None where there are none.
    stride: as `stride.propose` gives it.
    names: what the numbers of the action are called.
  """
  said = []
  if stride:
    said.append(
      f"units: transforms=('delta:{stride}',), as the autocorrelation is at a "
      f'half after {stride} steps'
    )
  if action is not None and len(action.mean):
    mode, why = normalisation(action, names)
    said.append(f'actions: normalise={mode!r}: {why}')
  return said


def normalisation(
  one: Statistics, names: Sequence[str] = ()
) -> tuple[str, str]:
  """(how actions of these statistics should be scaled, why)."""
  middle = one.q99 - one.q01
  tails = np.flatnonzero((middle > 0) & (one.max - one.min > _TAIL * middle))
  if not len(tails):
    return 'mean_std', 'no value is far beyond the others'
  return 'quantiles', (
    f'dimensions {few(tails, names)} reach far beyond 98 % of their steps '
    "(where runs read actions it must be 'mean_std')"
  )


def few(dims: Sequence[int], names: Sequence[str] = ()) -> str:
  """Numbers of dimensions, and what they are called, of many the first."""
  named = ', '.join(
    f'{dim} ({names[dim]})' if names else f'{dim}' for dim in dims[:_NAMED]
  )
  more = f' and {len(dims) - _NAMED} more' if len(dims) > _NAMED else ''
  return f'[{named}]{more}'
