"""Which demonstrations a seed gets."""

import numpy as np

from rpt_jax.episodes import windows
from rpt_jax.learning import demonstrations

LENGTHS = np.array([5, 8, 6, 7])


def picks(table, num, size, seed=0):
  return demonstrations.picks(table, num, size, seed, seeds=3)


def test_fewer_demonstrations_are_a_part_of_more():
  table = windows.windows(LENGTHS, 1)
  size = 40
  chosen = {n: picks(table, n, size) for n in (1, 2, 4)}
  for seed in range(3):
    clips = {
      n: set(table.clip[picks_SN[seed][: count_S[seed]]])
      for n, (picks_SN, count_S) in chosen.items()
    }
    assert [len(clips[n]) for n in (1, 2, 4)] == [1, 2, 4]
    assert clips[1] < clips[2] < clips[4]
  picks_SN, count_S = chosen[1]
  rows = zip(picks_SN, count_S, strict=True)
  assert len({tuple(picks_N[:count]) for picks_N, count in rows}) > 1
  picks_SN, count_S = chosen[4]
  assert (count_S == LENGTHS.sum()).all() and picks_SN.shape == (3, size)


def test_another_seed_of_the_config_gives_other_demonstrations():
  table = windows.windows(np.full(40, 3), 1)
  first, again, other = (picks(table, 10, 120, s)[0] for s in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)
