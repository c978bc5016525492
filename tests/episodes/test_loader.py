"""Batches are functions of (seed, step) and nothing else."""

import resource

import numpy as np
import pytest

from rpt_jax.episodes import loader
from rpt_jax.episodes import windows as win


def test_any_order_of_calls_gives_the_same():
  forward = loader.Order(37, 8, seed=3)
  expected = [forward(step) for step in range(20)]
  again = loader.Order(37, 8, seed=3)
  for step in (19, 0, 7, 7, 3, 18, 1):
    np.testing.assert_array_equal(again(step), expected[step])


def test_every_index_once_an_epoch():
  size, batch = 30, 7
  order = loader.Order(size, batch, seed=0)
  stream = np.concatenate([order(step) for step in range(30)])
  epochs = stream[: len(stream) // size * size].reshape(-1, size)
  assert len(epochs) == 7
  for epoch in epochs:
    assert sorted(epoch) == list(range(size))
  assert (epochs[0] != epochs[1]).any()


def test_an_order_that_is_not_listed_is_one_too(monkeypatch):
  """Of more samples than memory should hold the places of."""
  monkeypatch.setattr(loader, 'LISTED', 10)
  size, batch = 30, 7
  order = loader.Order(size, batch, seed=0)
  stream = np.concatenate([order(step) for step in range(30)])
  epochs = stream[: len(stream) // size * size].reshape(-1, size)
  assert (np.sort(epochs) == np.arange(size)).all()
  assert len(np.unique(epochs, axis=0)) == len(epochs)
  other = loader.Order(size, batch, seed=1)
  assert (other(0) != order(0)).any()


def test_an_order_of_a_billion_samples_takes_no_memory():
  order = loader.Order(10**9, 512, seed=0)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  picks = np.concatenate([order(step) for step in (0, 10**5, 10**6)])
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert len(np.unique(picks)) == 3 * 512
  assert abs(picks.mean() / 10**9 - 0.5) < 0.05  # 3.4 standard errors.
  assert after - before < 100 * 1024  # KiB; a list of them were 8 GB.


def test_batches_larger_than_the_data():
  order = loader.Order(3, 8, seed=0)
  picks = order(0)
  assert sorted(picks[:3]) == sorted(picks[3:6]) == [0, 1, 2]


def test_seeds_differ():
  a, b = loader.Order(100, 50, seed=0), loader.Order(100, 50, seed=1)
  assert (a(0) != b(0)).any()


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_share_the_global_batch(processes):
  whole = loader.Order(101, 12, seed=5)
  parts = [
    loader.Order(101, 12, seed=5, rows=rows)
    for rows in np.split(np.arange(12), processes)
  ]
  for step in (0, 4, 8, 9):
    found = np.concatenate([part(step) for part in parts])
    np.testing.assert_array_equal(found, whole(step))
  first = [set(part(0)) for part in parts]
  assert len(set.union(*first)) == 12


def test_sets_take_turns_and_each_goes_on_by_itself():
  order = loader.Balanced((3, 0, 40, 7), 8, seed=2)
  picks = np.concatenate([order(step) for step in range(30)])
  ends = np.cumsum([0, 3, 0, 40, 7])
  which = np.searchsorted(ends, picks, side='right') - 1
  assert np.bincount(which).tolist() == [80, 0, 80, 80]
  for i, size in ((0, 3), (2, 40), (3, 7)):
    own = picks[which == i] - ends[i]
    epochs = own[: len(own) // size * size].reshape(-1, size)
    assert (np.sort(epochs) == np.arange(size)).all()
  parts = [
    loader.Balanced((3, 0, 40, 7), 8, 2, rows)
    for rows in np.split(np.arange(8), 4)
  ]
  for step in (0, 3, 29):
    halves = np.concatenate([part(step) for part in parts])
    np.testing.assert_array_equal(halves, order(step))
  with pytest.raises(ValueError, match='expected one at least'):
    loader.Balanced((0, 0), 8, seed=2)


def test_bad_settings_are_named():
  for args in [(0, 1, 0), (5, 0, 0), (5, 1, -1)]:
    with pytest.raises(ValueError, match='samples in batches'):
      loader.Order(*args)


def make_batch_at():
  lengths = np.array([5, 3, 9])
  table = win.windows(lengths, 4)
  arrays = {'x': np.arange(17.0)[:, None], 'u': np.arange(17)}
  order = loader.Order(len(table.first), 5, seed=1)
  return loader.window_batches(arrays, table, 4, order), table, order


def test_window_batches_gather_the_picked_windows():
  batch_at, table, order = make_batch_at()
  for step in range(4):
    batch = batch_at(step)
    assert batch['x'].shape == (5, 4, 1)
    for i, pick in enumerate(order(step)):
      for t in range(4):
        row = table.first[pick] + t
        assert batch['valid'][i, t] == (row < table.high[pick])
        if batch['valid'][i, t]:
          assert batch['u'][i, t] == batch['x'][i, t, 0] == row
