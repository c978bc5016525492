"""Rows of cells that ended early: their score, and nothing that is biased."""

import numpy as np
import pytest

from rpt_jax.domains import measures
from rpt_jax.learning import scores
from rpt_jax.results import Acting, Cell, select

GROUPS = {'all': ['a', 'b'], 'unseen': ['c']}
SCRATCH, MORE = Cell('none', 'scratch', 1), Cell('none', 'scratch', 4)
OURS, OTHER = Cell('rpt', 'finetune', 1), Cell('next', 'finetune', 1)
QUESTION = {'ours over the other': ('rpt', 'next')}


def outcomes():
  """[P, S, N] of three pipelines, all played to the end."""
  rng = np.random.default_rng(0)
  rate = {SCRATCH: 0.2, MORE: 0.6, OURS: 0.5, OTHER: 0.4}
  return {
    (env, cell): rng.random((3, 2, 40)) < p
    for env in 'abc'
    for cell, p in rate.items()
  }


def all_rows(score):
  about = measures.SUCCESS, score, GROUPS
  return (
    scores.score_rows(*about)
    + scores.difference_rows(*about)
    + scores.comparison_rows(*about, QUESTION, (1,))
    + scores.worth_rows(*about)
  )


@pytest.fixture(scope='module')
def before():
  return all_rows(outcomes())


def places(rows, name, cell):
  return [r['tags']['env'] for r in select(rows, name, **cell.tags)]


def test_what_ended_early_has_its_score_alone(before):
  score = outcomes()
  score['a', OURS] = score['a', OURS][..., :10]
  rows = all_rows(score)
  own = select(rows, Acting.SCORE, **OURS.tags)
  assert [
    (r['tags']['env'], r['tags']['episodes'], bool(r['interval'])) for r in own
  ] == [
    ('a', 20, False),
    ('b', 80, True),
    ('all', 20, False),
    ('c', 80, True),
    ('unseen', 80, True),
  ]
  assert own[0]['value'] == score['a', OURS].mean()
  for name in (Acting.OVER_SCRATCH, Acting.COMPARISON, Acting.WORTH):
    assert places(rows, name, OURS) == ['b', 'c', 'unseen']
    assert places(before, name, OURS) == ['a', 'b', 'all', 'c', 'unseen']
  others = select(rows, run=('none', 'next'))
  same = select(before, run=('none', 'next'))
  assert [r for r in others if not r['name'].endswith('_p')] == [
    r for r in same if not r['name'].endswith('_p')
  ]


def test_two_that_ended_early_together_are_not_compared():
  score = outcomes()
  for cell in (OURS, OTHER):
    score['c', cell] = score['c', cell][..., :10]
  rows = all_rows(score)
  assert places(rows, Acting.COMPARISON, OURS) == ['a', 'b', 'all']


def test_none_is_left():
  """All that were pretrained ended early: scratch alone has intervals."""
  score = outcomes()
  for env, cell in score:
    if cell in (OURS, OTHER):
      score[env, cell] = score[env, cell][..., :10]
  rows = all_rows(score)
  assert {r['name'] for r in rows} == {'score'}
  assert {r['tags']['method'] for r in rows if r['interval']} == {'scratch'}
