"""Rows of scores: groups of domains, pairs, comparisons of runs."""

import numpy as np
import pytest

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.evals import intervals
from rpt_jax.learning import scores
from rpt_jax.results import Cell

GROUPS = {'all': ['a', 'b'], 'unseen': ['c']}
SCRATCH, OURS, OTHER = (
  Cell('none', 'scratch', 4),
  Cell('rpt', 'finetune', 4),
  Cell('next', 'finetune', 4),
)


def outcomes():
  rng = np.random.default_rng(0)
  rate = {SCRATCH: 0.2, OURS: 0.8, OTHER: 0.5}
  return {
    (env, cell): rng.random((3, 1, 200)) < p
    for env in 'abc'
    for cell, p in rate.items()
  }


def by_env(rows, **tags):
  return {
    r['tags']['env']: r
    for r in rows
    if all(r['tags'][k] == v for k, v in tags.items())
  }


def test_groups_are_means_over_their_domains():
  x = outcomes()
  rows = by_env(scores.score_rows(measures.SUCCESS, x, GROUPS), run='rpt')
  assert list(rows) == ['a', 'b', 'all', 'c', 'unseen']
  both = np.mean([x['a', OURS].mean(), x['b', OURS].mean()])
  assert rows['all']['value'] == pytest.approx(both)
  assert rows['unseen']['value'] == rows['c']['value'] == x['c', OURS].mean()
  low, high = rows['all']['interval']
  assert low < both < high


def test_differences_are_to_scratch_on_as_many_demonstrations():
  x = outcomes()
  rows = scores.difference_rows(measures.SUCCESS, x, GROUPS)
  assert {r['tags']['run'] for r in rows} == {'rpt', 'next'}
  row = by_env([r for r in rows if r['interval']], run='rpt')['c']
  gain = x['c', OURS].mean() - x['c', SCRATCH].mean()
  assert row['value'] == pytest.approx(gain)
  assert row['interval'][0] > 0.4


def test_the_bootstrap_is_of_the_same_gains():
  x = outcomes()
  gains = scores.difference_rows(measures.SUCCESS, x, GROUPS)
  checks = scores.bootstrap_rows(measures.SUCCESS, x)
  assert len(checks) == 6  # Both runs in three domains.
  for check in checks:
    row = results.latest(gains, 'paired_difference', **check['tags'])
    assert check['value'] == pytest.approx(row['value'])
    low, high = check['interval']
    assert row['interval'][0] < low < row['value'] < high


def test_a_comparison_is_one_run_minus_the_other():
  x = outcomes()
  questions = {'masked over generative': ('rpt', 'next')}
  rows = scores.comparison_rows(measures.SUCCESS, x, GROUPS, questions, (4,))
  row = by_env([r for r in rows if r['interval']])['unseen']
  assert row['name'] == 'comparison'
  assert row['tags']['question'] == 'masked over generative'
  assert (row['tags']['run'], row['tags']['other']) == ('rpt', 'next')
  gain = x['c', OURS].mean() - x['c', OTHER].mean()
  assert row['value'] == pytest.approx(gain)


def test_p_is_corrected_for_the_table_it_stands_in():
  """Single domains make one, groups another; p is that of the t-test."""
  x = outcomes()
  rows = scores.difference_rows(measures.SUCCESS, x, GROUPS)
  assert {r['tags']['sample'] for r in rows} == {'pipelines'}
  p_of = {
    (r['tags']['env'], r['tags']['run']): r['value']
    for r in rows
    if r['name'] == 'paired_difference_p'
  }
  runs = ('rpt', 'next')
  assert set(p_of) == {(env, run) for env in (*'abc', *GROUPS) for run in runs}
  own = {
    (env, cell.run): intervals.t_test(
      intervals.differences(x[env, cell], x[env, SCRATCH])
    )
    for env in 'abc'
    for cell in (OURS, OTHER)
  }
  for run in runs:
    expected = intervals.holm([own[env, run] for env in 'abc'])
    np.testing.assert_allclose([p_of[env, run] for env in 'abc'], expected)


def test_of_one_pipeline_its_seeds_are_the_sample():
  one = {k: x.swapaxes(0, 1) for k, x in outcomes().items()}
  of_seeds = scores.score_rows(measures.SUCCESS, one, GROUPS)
  of_pipelines = scores.score_rows(measures.SUCCESS, outcomes(), GROUPS)
  for a, b in zip(of_seeds, of_pipelines, strict=True):
    assert a['tags'].pop('sample') == 'seeds'
    assert b['tags'].pop('sample') == 'pipelines'
    assert a == b
  alone = {k: x[:1] for k, x in outcomes().items()}
  row = scores.score_rows(measures.SUCCESS, alone, GROUPS)[0]
  assert row['interval'] is None and row['seeds'] == 1


def test_controls_with_other_eyes_are_not_taken_for_scratch():
  x = outcomes()
  seeing = SCRATCH._replace(eyes='state')
  x |= {(env, seeing): np.ones((3, 1, 200)) for env in 'abc'}
  rows = scores.difference_rows(measures.SUCCESS, x, GROUPS)
  ours = results.select(rows, 'paired_difference', run='rpt', env='a')
  assert len(ours) == 1 and ours[0]['value'] < 0.7
  control = results.select(rows, 'paired_difference', eyes='state', env='a')
  assert control[0]['value'] == pytest.approx(1 - x['a', SCRATCH].mean())


def test_what_it_is_worth_is_read_off_the_curve_of_scratch():
  curve = {1: 0.1, 4: 0.3, 16: 0.5}
  cells = {Cell('none', 'scratch', n): p for n, p in curve.items()}
  cells |= {Cell('rpt', 'finetune', 1): 0.4, Cell('rpt', 'finetune', 4): 0.9}
  rng = np.random.default_rng(0)
  noise_P = rng.normal(scale=1e-3, size=(5, 1, 1))
  x = {
    (env, cell): p + noise_P * rng.random((5, 1, 4))
    for env in 'abc'
    for cell, p in cells.items()
  }
  rows = by_env(scores.worth_rows(measures.RETURN, x, GROUPS), demos=1)
  low, high = rows['a']['interval']
  assert low < 8 < high and rows['a']['value'] == pytest.approx(8, rel=0.05)
