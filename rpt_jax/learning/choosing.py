"""Which steps and rate suit each method: the best of a grid.

One choice for all domains, by the mean of their scores: of all that are near
the best the fewest steps, and of those the best rate. What is chosen on tuning
seeds is then used on others (`config.tune`).
"""

from collections.abc import Sequence

import numpy as np

from rpt_jax import results
from rpt_jax.results import Row, Tune

_NEAR = 0.02  # A score that is no worse than the best, for all one can tell.
_CELL = ('run', 'method', 'demos', 'eyes')


def rows(grid: Sequence[Row]) -> list[Row]:
  """Rows `best_steps` and `best_rate` of every method, of rows of the grid.

  The value is the number chosen; they are printed with the score they reach,
  and that of all others.
  """
  by_cell = {}
  for row in grid:
    if row['name'] != Tune.SCORE:
      continue
    tags = row['tags']
    cell = tuple(tags.get(name) for name in _CELL)
    point = tags['steps'], tags['rate']
    by_cell.setdefault(cell, {}).setdefault(point, []).append(row['value'])
  chosen = []
  for cell, points in by_cell.items():
    means = {point: float(np.mean(x)) for point, x in points.items()}
    near = {p: m for p, m in means.items() if m >= max(means.values()) - _NEAR}
    least = min(steps for steps, _ in near)
    steps, rate = best = max((p for p in near if p[0] == least), key=near.get)
    tags = {k: v for k, v in zip(_CELL, cell, strict=True) if v is not None}
    for name, value in ((Tune.STEPS, steps), (Tune.RATE, rate)):
      chosen.append(results.row(Tune.STAGE, name, value, **tags))
    others = ' '.join(f'{s}/{r:g} {m:.2f}' for (s, r), m in means.items())
    name = ' '.join(map(str, tags.values()))
    print(f'  {name}: {steps} steps at {rate:g}, {means[best]:.3f} ({others})')
  return chosen
