"""Splits depend on an episode's content, not on its place."""

import pytest

from rpt_jax.episodes import split
from tests.episodes.test_rlds import change, make_episode


def test_copies_hash_equal_and_others_do_not():
  a, copy, other = make_episode(0, 5), make_episode(0, 5), make_episode(1, 5)
  assert split.content_hash(a) == split.content_hash(copy)
  assert split.content_hash(a) != split.content_hash(other)
  changed = a.action.copy()
  changed[2] += 1
  moved = change(a, action=changed)
  assert split.content_hash(a) != split.content_hash(moved)


def test_shares_are_kept_and_nothing_moves():
  fractions = {'train': 0.8, 'heldout': 0.2, 'never': 0.0}
  found = [split.assign(str(i), fractions) for i in range(4000)]
  assert 0.17 < found.count('heldout') / 4000 < 0.23
  assert found.count('never') == 0
  assert found == [split.assign(str(i), fractions) for i in range(4000)]
  salted = [split.assign(str(i), fractions, salt='b') for i in range(4000)]
  assert salted != found


def test_shares_must_sum_to_one():
  with pytest.raises(ValueError, match='sum to 1'):
    split.assign('a', {'train': 0.5})
