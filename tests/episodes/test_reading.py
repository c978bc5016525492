"""Reading ahead: order, bounds, workers that die or are abandoned; batches."""

import multiprocessing
import os
import threading
import time

import numpy as np
import pytest

from rpt_jax.episodes import CorruptEpisode, reading


class Numbers:
  """Episode i is i + 1 times the number i; some of them are faults."""

  def __init__(self, size=9, faults=(), slow=0.0):
    self.lengths = np.arange(size) + 1
    self._faults, self._slow = dict(faults), slow

  def __len__(self):
    return len(self.lengths)

  def read(self, index, fields):
    time.sleep(self._slow * (index % 2))
    fault = self._faults.get(index)
    if fault == 'corrupt':
      raise CorruptEpisode(f'{index}.npz is torn')
    if fault == 'wrong':
      raise KeyError(f'no column in {index}')
    if fault == 'dies':
      os._exit(1)
    length = index if fault == 'short' else index + 1
    return {field: np.full(length, index) for field in fields}


class Counting(Numbers):
  """Counts how many reads have begun; those from `gate` on wait for it."""

  def __init__(self, size, gate=None):
    super().__init__(size)
    self._lock, self.read_so_far = threading.Lock(), 0
    self._gate, self.opened = gate, threading.Event()

  def read(self, index, fields):
    with self._lock:
      self.read_so_far += 1
    if self._gate is not None and index >= self._gate:
      self.opened.wait(60)
    return super().read(index, fields)


def read_all(source, indices=None, **settings):
  indices = range(len(source)) if indices is None else indices
  return list(reading.read_ahead(source, ('x', 'y'), indices, **settings))


def children():
  return multiprocessing.active_children()


def gone(seconds=30.0):
  """Whether all children of this process end within that time."""
  deadline = time.monotonic() + seconds
  while children() and time.monotonic() < deadline:
    time.sleep(0.05)
  return not children()


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_episodes_come_in_order(workers):
  source = Numbers(slow=0.02)  # Even ones are read faster than odd ones.
  order = [3, 0, 8, 5, 6, 1, 2]
  found = read_all(source, order, workers=workers, ahead=3)
  assert [index for index, _ in found] == order
  for index, arrays in found:
    assert list(arrays) == ['x', 'y']
    assert arrays['x'].tolist() == [index] * (index + 1)
  assert gone()


@pytest.mark.parametrize('ahead', [0, 1, 5])
def test_few_are_in_memory(ahead):
  source = Counting(30)
  for used, _ in enumerate(
    reading.read_ahead(source, ('x',), range(30), ahead=ahead)
  ):
    time.sleep(0.005)  # Enough to read more, were it allowed.
    assert source.read_so_far <= used + 1 + ahead
  assert source.read_so_far == 30


def test_nothing_to_read_starts_nothing():
  assert read_all(Numbers(), [], workers=2) == [] and not children()


@pytest.mark.parametrize('workers', [0, 1])
def test_corrupt_episodes_come_as_their_error(workers):
  source = Numbers(5, {1: 'corrupt', 3: 'short'})
  found = dict(read_all(source, workers=workers))
  assert [isinstance(found[i], dict) for i in range(5)] == [
    *(True, False, True, False, True),
  ]
  assert isinstance(found[1], CorruptEpisode)
  assert str(found[1]) == '1.npz is torn'
  assert str(found[3]).startswith('found [3] steps, expected 4 as its dataset')


def test_an_abandoned_reader_ends_its_workers():
  reader = reading.read_ahead(
    Numbers(50), ('x',), range(50), workers=2, ahead=4
  )
  next(reader)
  assert children()
  reader.close()
  assert gone()


def test_an_abandoned_reader_reads_no_more():
  source = Counting(50, gate=1)
  reader = reading.read_ahead(source, ('x',), range(50), ahead=40)
  before = set(threading.enumerate())
  next(reader)
  threads = set(threading.enumerate()) - before
  reader.close()
  source.opened.set()
  for thread in threads:
    thread.join(60)
  assert source.read_so_far <= 1 + len(threads)


def test_a_budget_counts_names_and_stops(capsys):
  budget = reading.Budget(100, 0.29, 'toy/train')  # 28.999... in floats.
  for index in range(29):
    budget.skip(index, CorruptEpisode(f'{index}.mp4'))
  assert 'toy/train: episode 28 skipped: 28.mp4' in capsys.readouterr().out
  with pytest.raises(
    ValueError, match='30 of 100.*29.0%.*episode 29: 29.mp4.*error_budget'
  ):
    budget.skip(29, CorruptEpisode('29.mp4'))
  assert budget.skipped[3] == '3.mp4'


def test_a_budget_remembers_an_earlier_run():
  budget = reading.Budget(10, 0.1, 'toy', {4: '4.mp4'})
  budget.check()
  with pytest.raises(ValueError, match='2 of 10'):
    budget.skip(7, CorruptEpisode('7.mp4'))
  with pytest.raises(ValueError, match='the last, episode 4: 4.mp4'):
    reading.Budget(10, 0.0, 'toy', {4: '4.mp4'}).check()


@pytest.mark.parametrize('size', [1, 4, 7, 64])
@pytest.mark.parametrize('lengths', [(3, 9, 1, 5), (4, 4), (1,), ()])
def test_batches_hold_every_row_once(size, lengths):
  rows = np.arange(sum(lengths))
  parts = np.split(rows, np.cumsum(lengths)[:-1]) if lengths else []
  found = []
  for batch, count in reading.batches(
    ({'x': x, 'y': np.stack([x, -x], 1)} for x in parts), size
  ):
    assert batch['x'].shape == (size,) and batch['y'].shape == (size, 2)
    assert 0 < count <= size
    np.testing.assert_array_equal(batch['y'][:, 1], -batch['x'])
    assert (batch['x'][count:] == batch['x'][count - 1]).all()
    found.append(batch['x'][:count])
  assert np.concatenate([*found, []]).tolist() == rows.tolist()
  assert all(len(x) == size for x in found[:-1])


def test_batches_do_not_mix_sizes_of_frames():
  shapes = [(5, 2), (3, 2), (4, 3), (2, 3), (1, 2)]
  found = [
    (batch['x'].shape, count)
    for batch, count in reading.batches(({'x': np.ones(s)} for s in shapes), 6)
  ]
  assert found == [((6, 2), 6), ((6, 2), 2), ((6, 3), 6), ((6, 2), 1)]
