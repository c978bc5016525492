"""Attention masks against a loop over pairs of tokens, and their drawing."""

import numpy as np
import pytest

from rpt_jax.models import visibility


def _sees(rule, q, k, streams):
  """The rule for one pair of tokens, in words of time and stream."""
  (tq, mq), (tk, mk) = divmod(q, streams), divmod(k, streams)
  if rule == 'bidirectional':
    return True
  if rule == 'causal':
    return tk <= tq
  action = streams - 1  # Interleaved.
  return tk < tq or (tk == tq and (mk != action or mq == action))


@pytest.mark.parametrize('rule', visibility.RULES)
@pytest.mark.parametrize('streams', [1, 3])
def test_mask_equals_the_loop(rule, streams):
  batch, steps = 2, 4
  rng = np.random.default_rng(0)
  valid_BT = rng.random((batch, steps)) < 0.7
  present_BTM = rng.random((batch, steps, streams)) < 0.7
  real_BTM = present_BTM & valid_BT[..., None]
  mask = visibility.place(rule, real_BTM).mask()
  size = steps * streams
  assert mask.shape == (batch, 1, size, size)
  for b in range(batch):
    for q in range(size):
      for k in range(size):
        tk, mk = divmod(k, streams)
        there = valid_BT[b, tk] and present_BTM[b, tk, mk]
        expected = q == k or (there and _sees(rule, q, k, streams))
        assert mask[b, 0, q, k] == expected, (rule, b, q, k)


DRAWN = {
  'bidirectional': '######\n######\n######\n######\n######\n######',
  'causal': '##....\n##....\n####..\n####..\n######\n######',
  'interleaved': '#.....\n##....\n###...\n####..\n#####.\n######',
}


@pytest.mark.parametrize('rule', visibility.RULES)
def test_three_steps_drawn(rule):
  text = visibility.describe(rule, 3, ('see', 'do'))
  drawing = '\n'.join(line.split()[-1] for line in text.splitlines()[1:])
  assert drawing == DRAWN[rule]
  assert text.startswith(f'{rule}: ')
  assert '3 steps x 2 streams = 6 tokens' in text


def test_interleaved_in_words():
  text = visibility.describe('interleaved', 1, ('left', 'right', 'action'))
  assert text.splitlines()[1:] == [
    '  left[0] ##.',
    ' right[0] ##.',
    'action[0] ###',
  ]
  assert "'action' follows the rest of its step" in text


def test_unknown_rule():
  with pytest.raises(ValueError, match="found 'casual'"):
    visibility.place('casual', np.ones((1, 3, 1), bool))


def test_where_tokens_stand():
  place = visibility.place(
    'interleaved', np.ones((1, 2, 3), bool), np.ones((1, 2), bool)
  )
  np.testing.assert_array_equal(place.time_N, [-1, -1, 0, 0, 0, 1, 1, 1])
  np.testing.assert_array_equal(place.group_N, [-1, -1, 0, 1, 2, 0, 1, 2])
  np.testing.assert_array_equal(place.sees_N, [-1, -1, 0, 0, 1, 2, 2, 3])
