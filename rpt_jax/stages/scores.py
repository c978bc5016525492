"""Rows of scores and of paired differences, with their intervals.

`scores` maps (domain, cell) to [S, episodes]; seeds are the sample, domains the
strata (`evals.statistics`, which takes the `options`). `groups` are the domains
that are also taken together, by what such a group is called.
"""

from rpt_jax.evals import statistics
from rpt_jax.stages import pipeline
from rpt_jax.stages.finetune import Cell


def score_rows(stage, scores, groups, **options):
  """Rows `score`: a statistic over seeds, per cell, domain and group."""
  rows = []
  for cell in dict.fromkeys(cell for _, cell in scores):
    for env, strata in _strata(scores, groups, cell):
      value, *interval = statistics.stratified_bootstrap(strata, **options)
      rows.append(_row(stage, 'score', value, interval, strata, env, cell))
  return rows


def difference_rows(stage, scores, groups, **options):
  """Rows of what is gained on the same demonstrations, paired by seed.

  `paired_difference`: pretrained minus scratch, which is the main run's model
  untrained, also where a run differs in its context or its streams.
  `tuning_difference`: minus the policy on the frozen image model that a tuned
  one went on from.
  """
  rows = []
  for cell in dict.fromkeys(cell for _, cell in scores):
    others = {'paired_difference': Cell('none', 'scratch', cell.demos)}
    if cell.method == 'tuned':
      others['tuning_difference'] = cell.untuned
    for kind, other in others.items():
      if other != cell:
        pair = (cell, other)
        rows += _differences(stage, kind, scores, groups, pair, options)
  return rows


def comparison_rows(stage, scores, groups, comparisons, demos, **options):
  """Rows `comparison`: one way of learning minus another, paired by seed.

  `comparisons` maps a question to two of them, each as in `compared`.
  """
  rows = []
  for question, pair_of in comparisons.items():
    for count in demos:
      pair = tuple(compared(each, count) for each in pair_of)
      found = _differences(stage, 'comparison', scores, groups, pair, options)
      other = {'other': pair[1].run, 'other_method': pair[1].method}
      for row in found:
        row['tags'] |= {'question': question} | other
      rows += found
  return rows


def compared(said: str, demos: int) -> Cell:
  """The cell that 'run' (fine-tuned), 'run:probe' or 'none:scratch' names."""
  run, _, method = said.partition(':')
  return Cell(run, method or 'finetune', demos)


def _differences(stage, kind, scores, groups, pair, options):
  """Rows of the first cell of a pair minus the second, per domain."""
  rows, cell = [], pair[0]
  each = zip(*(_strata(scores, groups, c) for c in pair), strict=True)
  for (env, ours), (_, theirs) in each:
    value, *interval = statistics.paired_difference(ours, theirs, **options)
    rows.append(_row(stage, kind, value, interval, ours, env, cell))
  return rows


def _strata(scores, groups, cell):
  """(domain, [its scores]) for each, and (group, those of its domains)."""
  found = []
  for group, names in groups.items():
    each = [scores[name, cell] for name in names]
    found += [(n, [x]) for n, x in zip(names, each, strict=True)]
    if each:
      found.append((group, each))
  return found


def _row(stage, name, value, interval, strata, env, cell):
  tags = cell._asdict() | {'env': env, 'episodes': strata[0].shape[1]}
  seeds = strata[0].shape[0]
  return pipeline.row(stage, name, value, interval, seeds=seeds, **tags)
