"""Rows of scores and of paired differences, with their intervals.

`scores` maps (domain, cell) to [S, episodes]; seeds are the sample, domains the
strata (`evals.statistics`).
"""

from rpt_jax.evals import statistics
from rpt_jax.stages import pipeline
from rpt_jax.stages.finetune import Cell


def score_rows(stage, scores, names):
  """Rows `score`: interquartile mean over seeds, per cell and domain."""
  rows = []
  for cell in dict.fromkeys(cell for _, cell in scores):
    for env, strata in _strata(scores, names, cell):
      value, *interval = statistics.stratified_bootstrap(strata)
      rows.append(_row(stage, 'score', value, interval, strata, env, cell))
  return rows


def difference_rows(stage, scores, names):
  """Rows of what is gained on the same demonstrations, paired by seed.

  `paired_difference`: pretrained minus scratch. `tuning_difference`: minus the
  policy on the frozen image model that a tuned one went on from.
  """
  rows = []
  for cell in dict.fromkeys(cell for _, cell in scores):
    others = {'paired_difference': Cell('none', 'scratch', cell.demos)}
    if cell.method == 'tuned':
      others['tuning_difference'] = cell.untuned
    for kind, other in others.items():
      if other != cell:
        rows += _differences(stage, kind, scores, names, (cell, other))
  return rows


def _differences(stage, kind, scores, names, pair):
  """Rows of the first cell of a pair minus the second, per domain."""
  rows, cell = [], pair[0]
  each = zip(*(_strata(scores, names, c) for c in pair), strict=True)
  for (env, ours), (_, theirs) in each:
    value, *interval = statistics.paired_difference(ours, theirs)
    rows.append(_row(stage, kind, value, interval, ours, env, cell))
  return rows


def _strata(scores, names, cell):
  """(domain, [its scores]) for each, and ('all', those of all)."""
  each = [scores[name, cell] for name in names]
  return [(n, [x]) for n, x in zip(names, each, strict=True)] + [('all', each)]


def _row(stage, name, value, interval, strata, env, cell):
  tags = cell._asdict() | {'env': env, 'episodes': strata[0].shape[1]}
  seeds = strata[0].shape[0]
  return pipeline.row(stage, name, value, interval, seeds=seeds, **tags)
