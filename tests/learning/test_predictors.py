"""Ranks of runs by a measure and by scores."""

import types

import numpy as np
import pytest

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.learning import predictors
from rpt_jax.results import Cell, Probe

RUNS = ('a', 'b', 'c', 'd', 'oracle')
ENVS = ('x', 'y')
GROUPS = {'all': list(ENVS), 'unseen': []}
PIPELINES = 5


def run(name, recipe=''):
  return types.SimpleNamespace(
    name=name, settings=types.SimpleNamespace(recipe=recipe)
  )


def table(r2, runs=RUNS, pipelines=PIPELINES, **names):
  """Rows of runs that score the better the later they come, but the oracle.

  `r2`: place of a run -> its R^2 in a pipeline.
  """
  scores = {
    (env, Cell(name, 'probe', 1)): np.full((pipelines, 1, 4), 0.1 * i)
    for env in ENVS
    for i, name in enumerate(runs)
  }
  scores |= {
    (env, Cell('none', 'scratch', 1)): np.zeros((pipelines, 1, 4))
    for env in ENVS
  }
  rows = [
    [
      results.row(Probe.STAGE, Probe.STATE_R2, r2(i, p), features=n, env=env)
      for env in ENVS
      for i, n in enumerate(runs)
    ]
    for p in range(pipelines)
  ]
  made = {name: run(name) for name in runs}
  rows = predictors.rank_rows(measures.RETURN, scores, GROUPS, rows, made)
  return results.select(rows, 'rank_correlation'), rows


def test_what_ranks_runs_alike_correlates_fully():
  """The oracle, whose R^2 is out of order, has no say."""
  (row,), rows = table(lambda i, p: -1.0 if i == 4 else i + 0.01 * p)
  assert row['value'] == pytest.approx(1) and row['seeds'] == PIPELINES
  assert row['interval'] == pytest.approx([1, 1])
  tags = row['tags']
  assert (tags['predictor'], tags['method'], tags['demos']) == (
    'state_r2',
    'probe',
    1,
  )
  (p,) = results.select(rows, 'rank_correlation_p')
  assert p['value'] == 0
  assert table(lambda i, p: -i)[0][0]['value'] == pytest.approx(-1)


def test_its_interval_is_over_pipelines():
  (row,), _ = table(lambda i, p: i if p else -i)
  assert row['value'] == pytest.approx(1 - 2 / PIPELINES)
  assert row['interval'][0] < 0.6 < row['interval'][1]


@pytest.mark.parametrize(
  'how', [{'runs': RUNS[:3]}, {'pipelines': 1}], ids=['runs', 'pipelines']
)
def test_too_few_say_nothing(how):
  assert table(lambda i, p: i, **how)[1] == []


def test_a_measure_that_does_not_tell_runs_apart_has_no_rank():
  with pytest.warns(Warning, match='constant'):
    assert table(lambda i, p: 0.5)[1] == []
