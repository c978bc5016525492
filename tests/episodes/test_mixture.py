"""Mixtures: exact shares, every sample once an epoch, no hidden state."""

import numpy as np
import pytest

from rpt_jax.episodes import mixture


def steps(mix, start, stop):
  parts = [mix(i) for i in range(start, stop)]
  return mixture.Picks(*(np.concatenate(x) for x in zip(*parts, strict=True)))


def test_shares_are_exact_over_a_cycle_and_near_it_before():
  mix = mixture.Mixture((50, 7, 1000), (6, 1, 3), 100, seed=0)
  found = np.bincount(steps(mix, 0, 100).dataset)
  assert found.tolist() == [6000, 1000, 3000]
  for step in range(1, 100, 9):  # Dealt evenly, not in one run.
    counts = np.bincount(steps(mix, 0, step).dataset, minlength=3)
    assert np.abs(counts - 100 * step * np.array([0.6, 0.1, 0.3])).max() <= 2


def test_every_sample_comes_once_before_any_comes_again():
  mix = mixture.Mixture((50, 7), (1, 1), 10, seed=3)
  picks = steps(mix, 0, 1005)
  for dataset, size in enumerate((50, 7)):
    rows = picks.row[picks.dataset == dataset]
    epochs = rows[: len(rows) // size * size].reshape(-1, size)
    assert (np.sort(epochs, 1) == np.arange(size)).all()
    assert (epochs[0] != epochs[1]).any()


def test_a_batch_depends_on_nothing_but_seed_and_step():
  def make(seed=1):
    return mixture.Mixture((20, 30), (0.3, 0.7), 8, seed)

  used = make()
  for step in range(2000, 2010):
    used(step)
  for step in (0, 1249, 1250, 5000):
    for a, b in zip(used(step), make()(step), strict=True):
      np.testing.assert_array_equal(a, b)
  assert (make(2)(0).row != used(0).row).any()


def test_processes_divide_a_batch():
  sizes, weights = (20, 30), (0.3, 0.7)
  whole = mixture.Mixture(sizes, weights, 8, 0)(7)
  parts = [
    mixture.Mixture(sizes, weights, 8, 0, rows)(7)
    for rows in np.split(np.arange(8), 4)
  ]
  np.testing.assert_array_equal(
    np.concatenate([p.row for p in parts]), whole.row
  )
  np.testing.assert_array_equal(
    np.concatenate([p.dataset for p in parts]), whole.dataset
  )


@pytest.mark.parametrize(
  'weights, total, expected',
  [
    ([1, 1, 1], 10, [4, 3, 3]),
    ([1e-9, 1, 1], 10, [1, 5, 4]),
    ([5], 3, [3]),
    ([0.2, 0.3, 0.5], 10_000, [2000, 3000, 5000]),
  ],
)
def test_dealing_leaves_none_empty(weights, total, expected):
  found = mixture.deal(weights, total)
  assert found.sum() == total
  assert sorted(found) == sorted(expected)


def test_wrong_settings_are_named():
  for weights in ([0, 1], [-1, 2], [np.nan, 1], []):
    with pytest.raises(ValueError, match='weights'):
      mixture.Mixture((2,) * len(weights), weights, 2, 0)
  with pytest.raises(ValueError, match='2 sizes and 1 weights'):
    mixture.Mixture((2, 3), (1,), 2, 0)
