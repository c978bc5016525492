"""Rows of scores: groups of domains, pairs, comparisons of runs."""

import numpy as np
import pytest

from rpt_jax.stages import scores
from rpt_jax.stages.finetune import Cell

OPTIONS = {'statistic': np.mean, 'episodes': True}
GROUPS = {'all': ['a', 'b'], 'unseen': ['c']}
SCRATCH, OURS, OTHER = (
  Cell('none', 'scratch', 4),
  Cell('rpt', 'finetune', 4),
  Cell('next', 'finetune', 4),
)


def found():
  rng = np.random.default_rng(0)
  rate = {SCRATCH: 0.2, OURS: 0.8, OTHER: 0.5}
  return {
    (env, cell): rng.random((3, 200)) < p
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
  x = found()
  rows = by_env(scores.score_rows('s', x, GROUPS, **OPTIONS), run='rpt')
  assert list(rows) == ['a', 'b', 'all', 'c', 'unseen']
  both = np.mean([x['a', OURS].mean(), x['b', OURS].mean()])
  assert rows['all']['value'] == pytest.approx(both)
  assert rows['unseen']['value'] == rows['c']['value'] == x['c', OURS].mean()
  low, high = rows['all']['interval']
  assert low < both < high


def test_differences_are_to_scratch_on_as_many_demonstrations():
  x = found()
  rows = scores.difference_rows('s', x, GROUPS, **OPTIONS)
  assert {r['tags']['run'] for r in rows} == {'rpt', 'next'}
  row = by_env(rows, run='rpt')['c']
  gain = x['c', OURS].mean() - x['c', SCRATCH].mean()
  assert row['value'] == pytest.approx(gain)
  assert row['interval'][0] > 0.4


def test_a_comparison_is_one_run_minus_the_other():
  x = found()
  questions = {'masked over generative': ('rpt', 'next')}
  rows = scores.comparison_rows('s', x, GROUPS, questions, (4,), **OPTIONS)
  row = by_env(rows)['unseen']
  assert row['name'] == 'comparison'
  assert row['tags']['question'] == 'masked over generative'
  assert (row['tags']['run'], row['tags']['other']) == ('rpt', 'next')
  gain = x['c', OURS].mean() - x['c', OTHER].mean()
  assert row['value'] == pytest.approx(gain)
