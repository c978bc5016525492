"""What a page says of goals, and what it says where a policy fails."""

import numpy as np

from rpt_jax.reporting import html, imagined
from rpt_jax.results import Imagine, row


def rows(true, over):
  tags = {'goal': Imagine.ONE, 'other_goal': Imagine.SHUFFLED}
  name = Imagine.over(Imagine.SUCCESS)
  own = (
    row(Imagine.STAGE, Imagine.SUCCESS, value, (value, value), 5, goal=goal)
    for goal, value in ((Imagine.TRUE, true), (Imagine.ONE, 0.6))
  )
  return [*own, row(Imagine.STAGE, name, sum(over) / 2, over, 5, **tags)]


def test_a_policy_that_fails_with_the_true_goal_says_nothing():
  (said,) = imagined.findings(rows(0.49, (0.3, 0.4)))
  assert said[0] == 'no-effect' and 'says nothing' in said[1]


def test_a_finding_is_what_the_interval_says():
  for over, verdict in (((0.3, 0.4), 'fact'), ((-0.1, 0.4), 'no-effect')):
    (said,) = imagined.findings(rows(0.9, over))
    assert said[0] == verdict and 'imagined, one draw 0.60' in said[1]


def test_sentences_are_escaped():
  frame = np.zeros((1, 8, 8, 3), np.uint8)
  names = 'first', *Imagine.GOALS
  shown = {name: frame for name in names} | {'off': np.zeros(1)}
  shown['text'] = np.array(['<script>"'])
  parts = imagined.section(html.Document(), rows(0.9, (0.1, 0.2)), shown)
  page = ''.join(parts)
  assert '&lt;script&gt;' in page and '<script>' not in page
