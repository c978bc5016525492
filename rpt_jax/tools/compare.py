"""Finished runs beside each other: what differs, and what that came to.

Every run but the first is compared with it. Where both have pipelines of the
same seeds, the same settings of a domain and as many episodes, differences are
paired by pipeline, with Student's interval and a p that is corrected for its
table (Holm). Where they have not, a difference has no interval, and says why.
"""

import itertools
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from rpt_jax import files, results
from rpt_jax.evals import intervals
from rpt_jax.reporting import comparison
from rpt_jax.reporting.comparison import Comparison, Difference, Line, Table
from rpt_jax.results import ALL, COST, UNSEEN, Acting, Costs
from rpt_jax.tools import workdirs
from rpt_jax.training import live, owned

_LEVEL = 0.05
# Tags that say of how much a value is, and not of what.
_OF_SAMPLES = ('sample', 'episodes')


def run(paths: Sequence[str], folder: str | os.PathLike = '') -> pathlib.Path:
  """Prints how runs compare and writes `compare.html`; its path.

  The page goes to `folder`, by default `runs/compare-<names>`. Raises
  ValueError for fewer than two workdirs, or one that is no finished run.
  """
  if len(set(map(os.path.abspath, paths))) < max(len(paths), 2):
    raise ValueError(
      f'--compare: found {", ".join(paths)}, expected two workdirs or more, '
      'each once'
    )
  runs = workdirs.read(paths)
  between = of(runs)
  named = '-'.join(re.sub(r'[^\w.-]', '-', run.path.name) for run in runs)
  folder = pathlib.Path(folder or f'runs/compare-{named}'[:200])
  folder.mkdir(parents=True, exist_ok=True)
  page, command = folder / 'compare.html', f'--compare={",".join(paths)}'
  owned.check_page(page)
  files.write_text(page, comparison.render(between, command))
  print(live.plain('\n'.join(comparison.lines(between))))
  print(f'page: {page}')
  return page


def of(runs: Sequence[workdirs.Workdir]) -> Comparison:
  """All that is said of runs; the others are compared with the first."""
  names = dict.fromkeys(d.measure.name for run in runs for d in run.places)
  tables = [table for name in names for table in _tables(runs, name)]
  return Comparison(
    [_about(run) for run in runs],
    _settings(runs),
    tables,
    _others(runs),
    [_pairing(runs[0], other) for other in runs[1:]],
  )


def _about(run):
  """A run in a line."""
  costs = results.select(run.rows, Costs.SECONDS, kind=COST, pipeline=None)
  for seed in range(len(run.seeds)):
    costs += results.select(run.rows, Costs.SECONDS, kind=COST, pipeline=seed)
  seconds = sum(row['value'] or 0 for row in costs)
  return comparison.Run(
    run.name, str(run.path), run.command, run.revision, run.seeds, seconds
  )


def _settings(runs):
  """[(key, its value in every run)] of all that differ and change results."""
  keys = dict.fromkeys(itertools.chain(*(run.essence for run in runs)))
  first, none = runs[0].essence, object()
  return [
    (key, tuple(run.values.get(key, comparison.NONE) for run in runs))
    for key in keys
    if any(r.essence.get(key, none) != first.get(key, none) for r in runs)
  ]


def _pairing(first, other):
  """What of two runs is paired, in a sentence."""
  common = _common(first, other)
  about = f'{other.name} and {first.name} have '
  if not common:
    return (
      f'{about}no pipeline of the same seed ({_few(other.seeds)}; '
      f'{_few(first.seeds)}): nothing is paired, so no difference has an '
      'interval'
    )
  plural = '' if len(common) == 1 else 's'
  return (
    f'{about}{len(common)} pipeline{plural} of the same seed{plural}: '
    f'{_few(common)}'
  )


def _few(seeds):
  shown = ', '.join(map(str, seeds[:12]))
  return shown if len(seeds) <= 12 else f'{shown}, ...'


def _common(first, other):
  return [seed for seed in first.seeds if seed in other.seeds]


def _tables(runs, measure):
  """Of one measure: domains taken together, and each of them."""
  groups, alone = {ALL: {}, UNSEEN: {}}, {}
  for domain in (d for run in runs for d in run.places):
    if domain.measure.name == measure:
      groups[ALL if domain.seen else UNSEEN][domain.name] = None
      alone[domain.name] = [domain.name]
      say = domain.measure
  groups = {name: list(envs) for name, envs in groups.items() if len(envs) > 1}
  tables = []
  for title, places in (('taken together', groups), ('one by one', alone)):
    lines = list(_lines(runs, places))
    if lines:
      tables.append(Table(say, f'{say.env}s {title}', _corrected(lines)))
  return tables


def _lines(runs, places):
  """Every cell of every place that one of the runs has."""
  for place, envs in places.items():
    cells = dict.fromkeys(
      cell for run in runs for env, cell in run.scores if env in envs
    )
    for cell in sorted(cells, key=lambda cell: cell.demos):
      tags = cell.tags | {'env': place}
      scores = [results.latest(r.rows, Acting.SCORE, **tags) for r in runs]
      pairs = [_difference(runs[0], other, envs, cell) for other in runs[1:]]
      yield Line(place, cell, tuple(scores), tuple(pairs))


def _difference(first, other, envs, cell) -> Difference | None:
  """The other run minus the first, where both have all that it is over."""
  keys = [(env, cell) for env in envs]
  if not all(key in run.scores for key in keys for run in (first, other)):
    return None
  seeds, why = _common(first, other), _unpaired(first, other, keys)
  if why:
    ours, theirs = (
      np.mean([x.mean() for key in keys for x in run.scores[key].values()])
      for run in (other, first)
    )
    return Difference(float(ours - theirs), None, None, len(seeds), why)
  gain_P = intervals.over_environments(
    [
      [other.scores[k][s].mean() - first.scores[k][s].mean() for s in seeds]
      for k in keys
    ]
  )
  if len(seeds) < 2:
    why = 'one pipeline in common says nothing of others'
    return Difference(float(gain_P.mean()), None, None, 1, why)
  value, *interval = intervals.t_interval(gain_P)
  about = value, tuple(interval), intervals.t_test(gain_P)
  return Difference(*about, len(seeds), '')


def _unpaired(first, other, keys):
  """Why the scores of two runs are of no pairs; '' where they are."""
  seeds = _common(first, other)
  if not seeds:
    return 'no pipeline of the same seed'
  for env, cell in keys:
    if first.entries[env] != other.entries[env]:
      return f'settings of the domain differ ({env})'
    ours, theirs = other.scores[env, cell], first.scores[env, cell]
    if any(ours[s].shape != theirs[s].shape for s in seeds):
      return 'other seeds of fine-tuning, or another number of episodes'
    if _ended_early(first, env, cell) or _ended_early(other, env, cell):
      return 'ended early, where its episodes decided'
  return ''


def _ended_early(run, env, cell):
  """Whether a pipeline's cell has fewer episodes than others of its domain."""
  most = max(
    x.shape[-1]
    for (place, _), each in run.scores.items()
    for x in each.values()
    if place == env
  )
  return any(x.shape[-1] < most for x in run.scores[env, cell].values())


def _corrected(lines):
  """Lines with p corrected for all of them, and why some decide nothing."""
  paired = [d for line in lines for d in line.differences if d and not d.doubt]
  adjusted = iter(intervals.holm([d.p for d in paired]).tolist())

  def one(difference):
    if not difference or difference.doubt:
      return difference
    return _doubted(difference._replace(p=next(adjusted)))

  return [
    line._replace(differences=tuple(map(one, line.differences)))
    for line in lines
  ]


def _doubted(difference):
  """A difference with what speaks against its deciding anything."""
  doubt = ''
  if difference.pipelines < results.ENOUGH_PIPELINES:
    doubt = f'{difference.pipelines} pipelines are too few to decide'
  elif difference.p >= _LEVEL:
    doubt = 'p is not below 0.05 once corrected for its table (Holm)'
  return difference._replace(doubt=doubt)


def _others(runs):
  """{stage: [(what is measured, its row in every run)]} of all but scores."""
  by_run = []
  for run in runs:
    rows = [r for r in results.select(run.rows) if r['stage'] != Acting.STAGE]
    by_run.append({(row['stage'], _measured(row)): row for row in rows})
  others = {}
  for stage, measured in dict.fromkeys(itertools.chain(*by_run)):
    row = tuple(rows.get((stage, measured)) for rows in by_run)
    others.setdefault(str(stage), []).append((measured, row))
  return others


def _measured(row):
  tags = (f'{k} {v}' for k, v in row['tags'].items() if k not in _OF_SAMPLES)
  return ', '.join((str(row['name']), *tags))
