"""Rows of scores, of paired differences and of what they are worth.

`scores` maps (domain, cell) to [P, S, episodes], all of one `results.Measure`:
pipelines, the seeds of fine-tuning in each, and their episodes. Pipelines are
the sample; of a single one its seeds are, so that no interval then holds how
pretrainings differ. `groups` are the domains that are also taken together, by
what such a group is called: the mean over them, in every pipeline.

A cell that ended early, where its episodes decided, has a score and nothing
else: the score is biased away from that of scratch. Nor has a group that it is
of. What was played to the end keeps its intervals. No more than 5 % of all
cells have one that is wrong, but those that just missed a decision have more
than their share: with rates of .5 and .7 and 200 episodes 7 % of cells end
undecided, and of their intervals 68 % hold the true difference.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rpt_jax import results
from rpt_jax.evals import exchange, intervals
from rpt_jax.learning.cells import compared
from rpt_jax.results import (
  PIPELINES,
  SCRATCH,
  SEEDS,
  TUNED,
  Acting,
  Cell,
  Measure,
  Row,
)

Scores = Mapping[tuple[str, Cell], np.ndarray]
Groups = Mapping[str, Sequence[str]]


def sampled(scores: Scores) -> tuple[dict, str]:
  """The scores with what is sampled first, and what that is."""
  if all(len(x_PSN) > 1 for x_PSN in scores.values()):
    return dict(scores), PIPELINES
  return {k: x_PSN.swapaxes(0, 1) for k, x_PSN in scores.items()}, SEEDS


def score_rows(measure: Measure, scores: Scores, groups: Groups) -> list[Row]:
  """Rows `score`: the mean over pipelines, per cell, domain and group."""
  scores, sample = sampled(scores)
  rows, whole = [], _whole(scores)
  for cell in dict.fromkeys(cell for _, cell in scores):
    bounded = dict(_by_place(whole, groups, cell))
    for env, x_P in _by_place(scores, groups, cell):
      about = _about(measure, scores, env, sample)
      episodes = _episodes(scores, groups.get(env, (env,)), cell)
      tags = cell.tags | about | {'episodes': episodes}
      rows.append(_row(Acting.SCORE, x_P, tags, env in bounded))
  return rows


def difference_rows(
  measure: Measure, scores: Scores, groups: Groups
) -> list[Row]:
  """Rows of what is gained on the same demonstrations, paired by pipeline.

  `paired_difference`: pretrained minus scratch, which is the main run's model
  untrained, also where a run differs in its context or its streams; of
  controls with other eyes, what these gain from scratch.
  `tuning_difference`: minus the policy on the frozen image model that a tuned
  one went on from.
  """
  pairs = {Acting.OVER_SCRATCH: [], Acting.OVER_FROZEN: []}
  for cell in dict.fromkeys(cell for _, cell in scores):
    if cell != cell.scratch:
      pairs[Acting.OVER_SCRATCH].append((cell, cell.scratch))
    if cell.method == TUNED:
      pairs[Acting.OVER_FROZEN].append((cell, cell.untuned))
  rows = []
  for name, each in pairs.items():
    tables = [(cell, other, {}) for cell, other in each]
    rows += _differences(measure, name, scores, groups, tables)
  return rows


def bootstrap_rows(measure: Measure, scores: Scores) -> list[Row]:
  """Rows `paired_difference_bootstrap`, a check of those of single domains.

  The same gains over scratch with the interval of the hierarchical bootstrap,
  which draws episodes, too, and assumes no shape.
  """
  scores, sample = sampled(_whole(scores))
  rows = []
  for (env, cell), ours_PSN in scores.items():
    scratch_PSN = scores.get((env, cell.scratch))
    if cell == cell.scratch or scratch_PSN is None or len(ours_PSN) < 2:
      continue
    gain_PSN = np.subtract(ours_PSN, scratch_PSN, dtype=np.float64)
    value, *interval = intervals.hierarchical_bootstrap(gain_PSN)
    tags = cell.tags | _about(measure, scores, env, sample)
    about = Acting.STAGE, Acting.BOOTSTRAP, value, interval, len(gain_PSN)
    rows.append(results.row(*about, **tags))
  return rows


def comparison_rows(
  measure: Measure,
  scores: Scores,
  groups: Groups,
  comparisons: Mapping[str, tuple[str, str]],
  demos: Sequence[int],
) -> list[Row]:
  """Rows `comparison`: one way of learning minus another, paired by pipeline.

  `comparisons` maps a question to two of them, each as in `cells.compared`.
  """
  pairs = []
  for (question, words), count in itertools.product(comparisons.items(), demos):
    cell, other = (compared(each, count) for each in words)
    about = {'question': question, 'other': other.run}
    pairs.append((cell, other, about | {'other_method': other.method}))
  return _differences(measure, Acting.COMPARISON, scores, groups, pairs)


def worth_rows(measure: Measure, scores: Scores, groups: Groups) -> list[Row]:
  """Rows `worth`: demonstrations with which scratch would score as much.

  Of policies that saw what the curve of scratch saw. A value or a bound beyond
  that curve is null or 0, as `results.Acting.WORTH` says; its ends are tags.
  """
  scores, sample = sampled(_whole(scores))
  cells = list(dict.fromkeys(cell for _, cell in scores))
  curve = sorted(
    (c for c in cells if c.method == SCRATCH and not c.eyes),
    key=lambda c: c.demos,
  )
  demos = [cell.demos for cell in curve]
  scratch = [dict(_by_place(scores, groups, cell)) for cell in curve]
  rows = []
  for cell in cells if len(demos) > 1 else ():
    if cell.method == SCRATCH or cell.eyes:
      continue
    for env, x_P in _by_place(scores, groups, cell):
      if len(x_P) < 2:
        continue
      each = exchange.worth(demos, [at[env] for at in scratch], x_P)
      tags = cell.tags | _about(measure, scores, env, sample)
      tags |= {'least': each.least, 'most': each.most}
      estimate = each.value, (each.low, each.high), len(x_P)
      rows.append(results.row(Acting.STAGE, Acting.WORTH, *estimate, **tags))
  return rows


def _differences(measure, name, scores, groups, pairs):
  """Rows of the first cell of a pair minus the second, each with its p.

  A run learned by one method makes a table over demonstrations and domains,
  and another over groups of them; so does a control. Within a table p is
  corrected for the number of its rows (Holm).
  """
  scores, sample = sampled(_whole(scores))
  rows, p_of = [], []
  for cell, other, more in pairs:
    theirs = dict(_by_place(scores, groups, other))
    for env, ours_P in _by_place(scores, groups, cell):
      if env not in theirs:
        continue
      about = _about(measure, scores, env, sample)
      rows.append(_row(name, ours_P - theirs[env], cell.tags | about | more))
      p_of.append(_p(ours_P - theirs[env]))
  if not p_of:
    return rows
  adjusted, tables = np.ones(len(rows)), {}
  for i, row in enumerate(rows):
    tags = row['tags']
    about = tags['run'], tags['method'], tags.get('eyes'), tags.get('question')
    tables.setdefault((*about, tags['env'] in groups), []).append(i)
  for table in tables.values():
    adjusted[table] = intervals.holm([p_of[i] for i in table])
  return rows + [
    results.row(Acting.STAGE, Acting.p(name), p, None, r['seeds'], **r['tags'])
    for r, p in zip(rows, adjusted, strict=True)
    if r['interval']
  ]


def _p(x_P):
  return intervals.t_test(x_P) if len(x_P) > 1 else 1.0


def _whole(scores):
  """The scores without those of cells that ended early; scratch never does."""
  most = {}
  for (env, _), x in scores.items():
    most[env] = max(most.get(env, 0), x.shape[-1])
  return {k: x for k, x in scores.items() if x.shape[-1] == most[k[0]]}


def _by_place(scores, groups, cell) -> Iterator[tuple[str, np.ndarray]]:
  """(domain or whole group, what each of the sample scores there [P])."""
  for group, names in groups.items():
    each = {n: scores[n, cell] for n in names if (n, cell) in scores}
    for name, x in each.items():
      yield name, intervals.per_pipeline(x)
    if each and len(each) == len(names):
      yield group, intervals.over_environments(list(each.values()))


def _episodes(scores, envs, cell):
  """How many a cell's score is of; of several domains those of the least."""
  return min(scores[env, cell][0].size for env in envs)


def _about(measure, scores, env, sample):
  """Tags on what a value is of; of groups the episodes of all domains."""
  one = next(iter(scores.values()))
  episodes = one[0].size
  return {
    'env': env,
    'measure': measure.name,
    'episodes': episodes,
    'sample': sample,
  }


def _row(name, x_P, tags, bounded=True):
  """A mean with its interval, if `bounded`; of one alone there is none."""
  interval = None
  if bounded and len(x_P) > 1:
    interval = intervals.t_interval(x_P)[1:]
  value = float(np.mean(x_P))
  return results.row(Acting.STAGE, name, value, interval, len(x_P), **tags)
