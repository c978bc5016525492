"""Which differences decide anything, and why the others do not.

A difference decides where its 95 % interval leaves zero out, its p does so
corrected for its table (Holm), and its sample is enough whole pipelines. None
decides in a run whose image model sees no more of the state than `edges` do.
"""

import json
from collections.abc import Sequence

from rpt_jax import results
from rpt_jax.reporting import tidy
from rpt_jax.results import (
  ENOUGH_PIPELINES,
  PIPELINES,
  Acting,
  Probe,
)

_LEVEL = 0.05
_DIFFERENCES = (
  Acting.OVER_SCRATCH,
  Acting.OVER_FROZEN,
  Acting.COMPARISON,
  Acting.RANK,
)


def unseeing(rows: Sequence[results.Row]) -> list[str]:
  """Environments where the image model does not beat `edges`.

  By the linear R^2 of what a frame shows of the state: its gain, paired by
  pipeline, must lie above zero. Of runs without both there are none.
  """
  gains = results.select(rows, Probe.OVER_EDGES)
  return [results.tag(row, 'env') for row in gains if tidy.side(row) <= 0]


def judged(
  rows: Sequence[results.Row], unseeing: Sequence[str]
) -> list[results.Row]:
  """Rows of one measure, with `doubt` on differences: why they decide nothing.

  `doubt` is '' where nothing speaks against them.
  """
  p_of = {_about(row): row['value'] for row in rows}
  return [
    row | {'doubt': _doubt(row, p_of, unseeing)}
    if row['name'] in _DIFFERENCES
    else row
    for row in rows
  ]


def doubt(row: results.Row) -> str:
  """Why a judged difference decides nothing, as a clause; '' where it may."""
  return row.get('doubt', 'nobody has judged it')


def decided(row: results.Row) -> int:
  """+1 or -1 where a difference decides, 0 where it does not."""
  return 0 if doubt(row) else tidy.side(row)


def _doubt(row, p_of, unseeing) -> str:
  tags, count = row['tags'], row.get('seeds') or 1
  if results.tag(row, 'sample') != PIPELINES:
    return 'seeds of one pipeline say nothing of another one'
  if count < ENOUGH_PIPELINES:
    return f'{count} pipelines are too few to decide'
  p = p_of.get(_about(row | {'name': Acting.p(row['name'])}))
  if p is None or p >= _LEVEL:
    return 'p is not below 0.05 once corrected for all comparisons (Holm)'
  if unseeing and not tags.get('eyes'):
    where = ', '.join(unseeing)
    return f'the image model does not see more than edges do ({where})'
  return ''


def _about(row) -> str:
  return json.dumps([row['name'], row['tags']], sort_keys=True)
