"""Arrays in many files are one array, of which rows alone are read."""

import errno
import os
import resource
import tempfile

import numpy as np
import pytest

from rpt_jax.episodes import stack

RNG = np.random.default_rng(0)
SIZES = (7, 1, 12, 5)


@pytest.fixture
def parts(tmp_path):
  """Files of rows that say which they are."""
  start, made = 0, []
  for i, size in enumerate(SIZES):
    x = np.arange(start, start + size)[:, None] * np.ones(3)
    np.save(tmp_path / f'{i}.npy', x.astype(np.float32))
    made.append(stack.File(tmp_path / f'{i}.npy'))
    start += size
  return made


ROWS = (
  np.array(3),
  np.array([24, 0, 7, 7]),
  np.zeros((0,), int),
  np.arange(3, 22),  # Follow each other.
  RNG.integers(0, 20, (6, 1)) + np.arange(4),  # Some lead from file to file.
  RNG.integers(0, 25, (2, 3, 5)),
  slice(None),
  slice(5, 9),
  slice(9, 5),
  slice(0, 25, 4),
)


@pytest.mark.parametrize('rows', ROWS, ids=str)
def test_rows_are_those_of_the_whole(parts, rows):
  whole, joined = (
    np.concatenate([part[:] for part in parts]),
    stack.Stack(parts),
  )
  assert (joined.shape, joined.dtype, len(joined)) == ((25, 3), 'f4', 25)
  np.testing.assert_array_equal(joined[rows], whole[rows])
  doubled = stack.mapped(joined, lambda x: 2 * x[..., 1:])
  assert doubled.shape == (25, 2)
  np.testing.assert_array_equal(doubled[rows], 2 * whole[rows][..., 1:])
  np.testing.assert_array_equal(np.asarray(joined), whole)


def test_parts_may_be_of_several_kinds(parts):
  zeros = stack.constant(0, (4, 3), np.float64)
  assert zeros.strides == (0, 0)  # It takes no memory.
  joined = stack.end_to_end([stack.Stack(parts[:2]), zeros, parts[2]])
  assert len(joined.parts) == 4 and joined.dtype == np.float64
  expected = np.concatenate([parts[0][:], parts[1][:], zeros, parts[2][:]])
  np.testing.assert_array_equal(joined[np.arange(24)], expected)
  with pytest.raises(ValueError, match='steps of shapes'):
    stack.Stack([np.ones((2, 3)), np.ones((2, 4))])
  with pytest.raises(ValueError, match='a stack of nothing'):
    stack.Stack([])


def test_blocks_are_all_rows_in_order(parts):
  joined = stack.Stack(parts)
  blocks = list(stack.blocks(joined, 8))
  assert [len(x) for x in blocks] == [8, 8, 8, 1]
  np.testing.assert_array_equal(np.concatenate(blocks), joined[:])


def test_what_is_in_memory_is_mapped_at_once():
  x_ND = np.ones((4, 2))
  assert stack.mapped(x_ND, lambda x: x + 1) is not x_ND
  assert isinstance(stack.mapped(x_ND, lambda x: x + 1), np.ndarray)


def test_a_part_is_cut_out_without_being_read(parts):
  whole, joined = (
    np.concatenate([part[:] for part in parts]),
    stack.Stack(parts),
  )
  for x in (whole, joined):
    own = stack.cut(x, 6, 21)
    assert own.shape == (15, 3)
    rows = RNG.integers(0, 15, (4, 2))
    np.testing.assert_array_equal(own[rows], whole[6:21][rows])
  assert isinstance(stack.cut(joined, 6, 21), stack.Derived)


def test_rows_in_any_order_and_twice(parts):
  """As windows have them that lead out of their clip."""
  file = parts[2]
  for run in ([3, 3, 3, 4], [4, 3, 2], [7, 9, 11], [5], [0, 0], [2, 3, 4]):
    rows = np.array([run, run[::-1]])
    np.testing.assert_array_equal(file[rows], file[:][rows])
  for rows in ([12], [-1], [0, 12], [10, 11, 12]):
    for shaped in (np.array([rows]), np.array(rows)):
      with pytest.raises(IndexError, match='2.npy: rows .* of 12'):
        file[shaped]


def test_late_storage_is_told_what_is_to_come(parts, monkeypatch):
  """From the second batch on, once each run took long."""
  file, told = parts[2], []
  monkeypatch.setattr(stack.os, 'posix_fadvise', lambda *a: told.append(a[1:3]))
  runs = np.array([[5, 6, 7], [0, 0, 1]])
  file[runs]
  file[runs]
  assert not told
  monkeypatch.setattr(stack, '_LATE', -1.0)
  file[runs]
  assert not told
  np.testing.assert_array_equal(file[runs], file[:][runs])
  assert told == [(128 + 5 * 12, 36), (128, 24)]


def test_a_file_that_ends_early_is_named(tmp_path):
  np.save(tmp_path / 'x.npy', np.ones((10, 3)))
  file = stack.File(tmp_path / 'x.npy')
  with open(tmp_path / 'x.npy', 'r+b') as cut:
    cut.truncate(200)
  file[np.array([0, 1])]
  with pytest.raises(ValueError, match='x.npy: ends at byte'):
    file[np.array([9])]
  np.save(tmp_path / 'turned.npy', np.asfortranarray(np.ones((4, 3))))
  with pytest.raises(ValueError, match='turned.npy: .*by columns'):
    stack.File(tmp_path / 'turned.npy')


def test_scratch_is_an_array_without_a_name(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  x_ND = RNG.normal(size=(30, 4)).astype(np.float32)
  scratch = stack.Scratch((4,), np.float32)
  for part in (x_ND[:7], x_ND[7:7], x_ND[7:]):
    scratch.append(part)
  assert not list(tmp_path.iterdir())
  assert scratch.shape == (30, 4)
  rows = RNG.integers(0, 30, (5, 2))
  np.testing.assert_array_equal(scratch[rows], x_ND[rows])
  np.testing.assert_array_equal(scratch[3:9], x_ND[3:9])


def test_a_full_disk_is_an_error_that_names_it(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))

  def full(*_):
    raise OSError(errno.ENOSPC, 'No space left on device')

  scratch = stack.Scratch((4,), np.float32)
  monkeypatch.setattr(stack.os, 'pwrite', full)
  with pytest.raises(OSError, match=f'No space left.*{tmp_path}'):
    scratch.append(np.ones((2, 4)))


def test_more_files_than_a_process_may_open(tmp_path):
  """The limit is raised where it can be."""
  soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
  opened = len(os.listdir('/proc/self/fd'))
  for i in range(40):
    np.save(tmp_path / f'{i}.npy', np.full((2, 1), i))
  try:
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, most))
    files = [stack.File(tmp_path / f'{i}.npy') for i in range(40)]
    joined = stack.Stack(files)
    assert joined[:].ravel().tolist() == sorted([*range(40)] * 2)
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


def test_what_was_read_does_not_stay_in_the_process(tmp_path):
  whole = RNG.normal(size=(20_000, 100))  # 16 MB.
  np.save(tmp_path / 'x.npy', whole)
  joined = stack.Stack([stack.File(tmp_path / 'x.npy')])
  assert sum(x.sum() for x in stack.blocks(joined, 1000)) == pytest.approx(
    whole.sum()
  )
  assert 'x.npy' not in open('/proc/self/maps').read()
