"""Which demonstrations a seed gets."""

import numpy as np
import pytest

from rpt_jax import domains
from rpt_jax.learning import checks, demonstrations
from tests.learning import tiny

LENGTHS = np.array([5, 8, 6, 7])


def picks(demos, num, size, seed=0):
  return demonstrations.picks(demos, num, size, seed, seeds=3)


def test_fewer_demonstrations_are_a_part_of_more():
  demos = tiny.demos(LENGTHS)
  table, size = demos.table, 40
  chosen = {n: picks(demos, n, size) for n in (1, 2, 4)}
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
  demos = tiny.demos(np.full(40, 3))
  first, again, other = (picks(demos, 10, 120, s)[0] for s in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert not np.array_equal(first, other)


def test_what_no_seed_learns_from_is_not_read(tmp_path):
  """Seeds get the same steps as if all of the split had been loaded."""
  tiny.write_dataset(tmp_path / 'squares')
  c = checks.experiment(tiny.recorded(tmp_path / 'squares'))
  inputs = tiny.encoded(c, tmp_path)
  places = domains.of(c)

  def loaded(most):
    about = inputs, ('latent',), most, 0, 2
    return demonstrations.load(places, *about)[places[0].name]

  some = loaded(1)
  every = loaded(some.total)
  assert every.total == len(every.episodes)
  with pytest.raises(ValueError, match='only .* could be read; ask for fewer'):
    loaded(some.total + 1)
  assert len(some.episodes) <= 2 < every.total
  for demos in (every, some):
    picks_SN, count_S = demonstrations.picks(demos, 1, 50, 0, 2)
    steps = [
      picks_N[:count] for picks_N, count in zip(picks_SN, count_S, strict=True)
    ]
    latents = [np.asarray(demos.data['latent'])[rows] for rows in steps]
    if demos is every:
      expected = latents
  for own, other in zip(expected, latents, strict=True):
    np.testing.assert_array_equal(own, other)
