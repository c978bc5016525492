"""Does what is cheap to measure of a pretraining foretell how it acts?

Within every pipeline and environment, pretraining runs are ranked by a measure
of theirs and by the scores of policies on them: Spearman's correlation over
runs, a mean over environments, and Student's interval over pipelines. The
oracle is left out, as nobody has it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from rpt_jax import results
from rpt_jax.evals import intervals
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.learning.scores import Groups, Scores
from rpt_jax.results import (
  ALL,
  ORACLE,
  PIPELINES,
  Acting,
  Measure,
  Pretrain,
  Probe,
  Quantize,
  Row,
)

FEWEST_RUNS = 4  # Three are ranked alike by chance once in six.
OF_FEATURES = (
  Probe.STATE_R2,
  Probe.VISIBLE_R2,
  Probe.VELOCITY_R2,
  Probe.ACTION_R2,
)
OF_UNITS = (
  Quantize.nmi(Quantize.CLIP),
  Quantize.pnmi(Quantize.ACTION),
  Quantize.pnmi(Quantize.VELOCITY),
  Quantize.pnmi(Quantize.STATE),
)
OF_PRETRAINING = (Pretrain.LOSS_BITS,)


def rank_rows(
  measure: Measure,
  scores: Scores,
  groups: Groups,
  rows_P: Sequence[list[Row]],
  runs: Mapping[str, PretrainingRun],
) -> list[Row]:
  """Rows `rank_correlation` of each measure, method and number of demos.

  Args:
    scores, groups: as in `learning/scores.py`.
    rows_P: of the other stages, by pipeline; a single one has no interval, and
      so no row.
    runs: by name.
  """
  if len(rows_P) < 2:
    return []
  rivals = [run for run in runs if run != ORACLE]
  settings = dict.fromkeys((c.method, c.demos) for _, c in scores)
  rows = []
  for method, demos in settings:
    judged = {
      (env, c.run): intervals.per_pipeline(x)
      for (env, c), x in scores.items()
      if env in groups[ALL] and c.run in rivals
      if (c.method, c.demos) == (method, demos)
    }
    tags = {'env': ALL, 'method': method, 'demos': demos, 'sample': PIPELINES}
    rows += _table(judged, rows_P, runs, tags | {'measure': measure.name})
  return rows


def _table(judged, rows_P, runs, tags):
  """Rows of all measures, each with its p, corrected for their number."""
  rows, p_of = [], []
  for name in (*OF_FEATURES, *OF_UNITS, *OF_PRETRAINING):
    rho_P = _correlations(name, judged, rows_P, runs)
    if rho_P is None:
      continue
    mean, *interval = intervals.t_interval(rho_P)
    own = tags | {'predictor': name}
    about = interval, len(rho_P)
    rows.append(results.row(Acting.STAGE, Acting.RANK, mean, *about, **own))
    p_of.append(intervals.t_test(rho_P))
  return rows + [
    results.row(
      Acting.STAGE, Acting.p(Acting.RANK), p, None, r['seeds'], **r['tags']
    )
    for r, p in zip(rows, intervals.holm(p_of) if rows else (), strict=True)
  ]


def _correlations(name, judged, rows_P, runs):
  """Of every pipeline the mean over environments [P]; None of too few runs."""
  rho_PE = []
  for p, rows in enumerate(rows_P):
    of_pipeline = []
    for env in dict.fromkeys(env for env, _ in judged):
      pairs = []
      for (where, run), x_P in judged.items():
        value = _value(name, rows, runs[run], env) if where == env else None
        if value is not None:
          pairs.append((value, x_P[p]))
      if len(pairs) < FEWEST_RUNS:
        return None
      of_pipeline.append(stats.spearmanr(*zip(*pairs, strict=True)).statistic)
    rho_PE.append(of_pipeline)
  if not np.size(rho_PE) or not np.isfinite(rho_PE).all():
    return None
  return np.mean(rho_PE, axis=1)


def _value(name, rows, run, env):
  """A measure of a run in an environment, None where it has none."""
  if name in OF_FEATURES:
    row = results.latest(rows, name, features=run.name, env=env)
  elif name in OF_PRETRAINING:
    row = results.latest(rows, name, run=run.name, env=env)
  else:
    recipe = run.settings.recipe
    row = results.latest(rows, name, recipe=recipe, env=env) if recipe else None
  return row and row['value']
