"""What all pipelines say together: scores, differences, what they are worth.

A pipeline is everything, from collecting to judging, by a seed of its own. Of
several, every other result becomes a mean over them, too, with Student's
interval (`evals.intervals`). Only scores of one measure are taken together.

Rows: scores, differences paired by pipeline to scratch and to the untuned
policy, comparisons of pretraining runs, and what a pretraining is worth in
demonstrations, of domains seen in pretraining ('all') and of unseen ones; of
several pipelines the means of what other stages have measured, and whether
that foretells scores.
"""

import json

import numpy as np

from rpt_jax import domains, files, results
from rpt_jax.evals import intervals
from rpt_jax.learning import cells, choosing, predictors, scores
from rpt_jax.learning.runs import Runs
from rpt_jax.results import (
  ALL,
  COST,
  EDGES,
  LATENT,
  PIPELINES,
  UNSEEN,
  Acting,
  Probe,
)


def run(config, inputs, directory):
  """Rows alone; `inputs` are all stages of all pipelines, by their names."""
  del directory
  pipelines = _pipelines(inputs)
  rows_P = [_rows(own) for own in pipelines]
  rows = _means(rows_P) if len(pipelines) > 1 else []
  rows += _over_edges(rows_P)
  if config.tune:
    grid = rows if len(pipelines) > 1 else rows_P[0]
    return rows + choosing.rows(grid)
  if not config.finetune:
    return rows
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  judged = domains.acting(domains.of(config))
  score = {}
  places = [own[Acting.STAGE] / Acting.SCORES for own in pipelines]
  loaded = [files.read_arrays(place) for place in places]
  for domain in judged:
    for cell in cells.cells(config.finetune, runs):
      each = [x[f'{domain.name}/{cell.name}'] for x in loaded]
      least = min(x.shape[1] for x in each)  # Pipelines may end at others.
      score[domain.name, cell] = np.stack([x[:, :least] for x in each])
  comparisons = config.evaluate.comparisons, config.finetune.run_demos
  foretold = rows_P, runs.all()
  return rows + _rows_by_measure(judged, score, comparisons, foretold)


def _pipelines(inputs):
  """[{stage: its folder}] of every pipeline, in their order."""
  pipelines = {}
  for name, path in inputs.items():
    pipeline, _, stage = name.rpartition('/')
    pipelines.setdefault(pipeline, {})[stage] = path
  return list(pipelines.values())


def _rows(own):
  """All rows of one pipeline."""
  artifacts = [path / 'artifact.json' for path in own.values()]
  whole = [files.read_json(p, 'rows', most=files.MANIFEST) for p in artifacts]
  return [row for artifact in whole for row in artifact['rows']]


def _means(rows_P):
  """The mean over pipelines of every row that all of them have.

  Of a row that is of other numbers of episodes in each, as failures are, it is
  not said of how many.
  """
  values, first = {}, {}
  for i, own in enumerate(rows_P):
    for row in own:
      tags = {k: v for k, v in row['tags'].items() if k != 'episodes'}
      key = row['stage'], row['name'], json.dumps(tags, sort_keys=True)
      values.setdefault(key, {})[i] = row
      first.setdefault(key, row)
  rows = []
  for key, own in values.items():
    row, each = first[key], [own[i]['value'] for i in sorted(own)]
    if results.tag(row, 'kind') == COST or None in each:
      continue
    if len(each) < len(rows_P) or not np.isfinite(each).all():
      continue
    value, *interval = intervals.t_interval(each)
    tags = row['tags'] | {'sample': PIPELINES}
    if len({results.tag(x, 'episodes') for x in own.values()}) > 1:
      del tags['episodes']
    stage, name = row['stage'], row['name']
    rows.append(results.row(stage, name, value, interval, len(each), **tags))
  return rows


def _over_edges(rows_P):
  """What the image model shows of the state beyond `edges`, where both do."""
  gains = {}
  for own in rows_P:
    visible = results.select(own, Probe.VISIBLE_R2)
    for edges in results.select(visible, features=EDGES):
      env = edges['tags']['env']
      ours = results.latest(visible, Probe.VISIBLE_R2, features=LATENT, env=env)
      gains.setdefault(env, []).append(ours['value'] - edges['value'])
  sample = {'features': LATENT, 'sample': PIPELINES}
  rows = []
  for env, gain_P in gains.items():
    interval = intervals.t_interval(gain_P)[1:] if len(gain_P) > 1 else None
    summary = np.mean(gain_P), interval, len(gain_P)
    tags = sample | {'env': env}
    rows.append(results.row(Probe.STAGE, Probe.OVER_EDGES, *summary, **tags))
  return rows


def _rows_by_measure(judged, score, comparisons, foretold):
  """Scores and what is made of them; one measure has nothing of another."""
  rows = []
  for name in dict.fromkeys(domain.measure.name for domain in judged):
    alike = [domain for domain in judged if domain.measure.name == name]
    groups = {
      ALL: [domain.name for domain in alike if domain.seen],
      UNSEEN: [domain.name for domain in alike if not domain.seen],
    }
    own = {
      (env, cell): x
      for (env, cell), x in score.items()
      if env in (*groups[ALL], *groups[UNSEEN])
    }
    if own:
      about = alike[0].measure, own, groups
      rows += scores.score_rows(*about)
      rows += scores.difference_rows(*about)
      rows += scores.bootstrap_rows(*about[:2])
      rows += scores.comparison_rows(*about, *comparisons)
      rows += scores.worth_rows(*about)
      rows += predictors.rank_rows(*about, *foretold)
  return rows
