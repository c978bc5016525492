"""Rows of scores and of differences to scratch, with their intervals.

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
  """Rows `paired_difference`: pretrained minus scratch on the same demos."""
  rows = []
  for cell in dict.fromkeys(cell for _, cell in scores):
    scratch = Cell('none', 'scratch', cell.demos)
    if cell == scratch:
      continue
    ours = _strata(scores, names, cell)
    theirs = _strata(scores, names, scratch)
    for (env, a), (_, b) in zip(ours, theirs, strict=True):
      value, *interval = statistics.paired_difference(a, b)
      rows.append(
        _row(stage, 'paired_difference', value, interval, a, env, cell)
      )
  return rows


def _strata(scores, names, cell):
  """(domain, [its scores]) for each, and ('all', those of all)."""
  each = [scores[name, cell] for name in names]
  return [(n, [x]) for n, x in zip(names, each, strict=True)] + [('all', each)]


def _row(stage, name, value, interval, strata, env, cell):
  tags = cell._asdict() | {'env': env, 'episodes': strata[0].shape[1]}
  seeds = strata[0].shape[0]
  return pipeline.row(stage, name, value, interval, seeds=seeds, **tags)
