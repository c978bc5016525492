"""Cached streams: whole shards or none, faults named, nothing done twice."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rpt_jax.episodes import stack, store, windows
from tests.episodes import stored

LENGTHS = (5, 3, 8, 2, 6, 4)
NAMES = ('latent', 'unit')


def arrays_of(episode):
  rng = np.random.default_rng(episode)
  length = LENGTHS[episode]
  return {
    'latent': rng.normal(size=(length, 4)).astype(np.float16),
    'unit': rng.integers(0, 9, length).astype(np.int32),
  }


def write(directory, shards, skipped=()):
  for shard in shards:
    episodes = range(shard.start, shard.stop)
    store.write_shard(
      directory,
      shard,
      {e: arrays_of(e) for e in episodes if e not in skipped},
      {e: f'{e}.mp4 is torn' for e in episodes if e in skipped},
    )


def write_sealed(directory, skipped=()):
  shards = store.plan(LENGTHS, 8)
  write(directory, shards, skipped)
  store.seal(directory, store.finished(directory, shards))
  return [directory / shard.file('latent') for shard in shards]


@pytest.mark.parametrize(
  'frames, starts',
  [(1, [0, 1, 2, 3, 4, 5]), (8, [0, 2, 3, 5]), (9, [0, 3]), (99, [0])],
)
def test_plans_cut_between_episodes(frames, starts):
  shards = store.plan(LENGTHS, frames)
  assert [s.start for s in shards] == starts
  assert [s.stop for s in shards] == [*starts[1:], len(LENGTHS)]
  assert [s.index for s in shards] == list(range(len(starts)))
  for shard in shards[:-1]:
    assert sum(LENGTHS[shard.start : shard.stop]) >= frames


def test_what_was_written_is_read(tmp_path):
  write_sealed(tmp_path)
  clips = store.load(tmp_path, NAMES)
  assert clips.lengths.tolist() == list(LENGTHS)
  for name in NAMES:
    expected = np.concatenate([arrays_of(e)[name] for e in range(6)])
    np.testing.assert_array_equal(clips.arrays[name], expected)
    assert clips.arrays[name].dtype == expected.dtype
  assert list(store.load(tmp_path, ('unit',)).arrays) == ['unit']
  assert sorted(p.suffix for p in tmp_path.iterdir()) == [
    '.json',
    *['.npy'] * 8,
  ]


def test_rows_are_read_at_random_and_nothing_else(tmp_path):
  write_sealed(tmp_path)
  clips = store.load(tmp_path, NAMES)
  assert all(isinstance(x, stack.Stack) for x in clips.arrays.values())
  assert len(clips.arrays['latent'].parts) == 4
  expected = np.concatenate([arrays_of(e)['latent'] for e in range(6)])
  rng = np.random.default_rng(0)
  runs = rng.integers(0, 25, (50, 1)) + np.arange(3)  # Some leave their shard.
  for rows in (rng.integers(0, 28, 40), runs, runs[None], np.array(3)):
    np.testing.assert_array_equal(clips.arrays['latent'][rows], expected[rows])


def test_a_stream_with_a_slash_has_a_file_of_its_own(tmp_path):
  clips = windows.Clips(
    {'latent/a': np.arange(3.0), 'latent.a': np.ones(3)}, np.array([3])
  )
  with pytest.raises(ValueError, match='latent.a.*one file'):
    stored.save(tmp_path, clips)
  stored.save(tmp_path, windows.Clips({'latent/a': np.ones(3)}, np.array([3])))
  assert store.load(tmp_path, ('latent/a',)).arrays['latent/a'].shape == (3,)


def test_save_and_concatenate(tmp_path):
  clips = windows.Clips({'x': np.arange(7.0)}, np.array([4, 3]))
  for _ in range(2):  # Again over what is there.
    stored.save(tmp_path, clips)
  found = store.load(tmp_path, ('x',))
  np.testing.assert_array_equal(found.arrays['x'], clips.arrays['x'])
  both = store.concatenate([found, found])
  assert both.lengths.tolist() == [4, 3, 4, 3]
  assert both.arrays['x'].shape == (14,)


def test_skipped_episodes_are_not_kept(tmp_path):
  write_sealed(tmp_path, skipped=(2, 3))  # 2 is all of its shard.
  assert store.kept(tmp_path) == [0, 1, 4, 5]
  assert store.load(tmp_path, NAMES).lengths.tolist() == [5, 3, 6, 4]
  entries = store.manifest(tmp_path)['shards']
  assert entries[1]['skipped'] == {'2': '2.mp4 is torn'}


def test_nothing_kept_is_an_error(tmp_path):
  write_sealed(tmp_path, skipped=range(6))
  assert store.kept(tmp_path) == []
  with pytest.raises(ValueError, match='holds no episode'):
    store.load(tmp_path, NAMES)


def entry_of(path):
  return path.with_name(path.name.split('.')[0] + '.json')


def no_entry(path):
  entry_of(path).unlink()


def truncated(path):
  path.write_bytes(path.read_bytes()[:-100])


def flipped(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def of_other_episodes(path):
  entry = entry_of(path)
  found = json.loads(entry.read_text())
  entry.write_text(json.dumps(found | {'episodes': [77]}))


def deleted(path):
  path.unlink()


@pytest.mark.parametrize(
  'fault', [no_entry, truncated, flipped, of_other_episodes, deleted]
)
def test_only_what_is_not_whole_is_written_again(tmp_path, fault):
  shards = store.plan(LENGTHS, 8)
  write(tmp_path, shards)
  fault(tmp_path / shards[1].file('latent'))
  entries = [store.read_entry(tmp_path, s) for s in shards]
  assert [e is None for e in entries] == [False, True, False, False]
  if fault is not flipped:  # Whoever writes hashes; others look at sizes.
    with pytest.raises(ValueError, match='00001-of-00004.*never finished'):
      store.finished(tmp_path, shards)
  with pytest.raises(ValueError, match='manifest.json: no such file'):
    store.load(tmp_path, NAMES)
  write(tmp_path, shards[1:2])
  store.seal(tmp_path, store.finished(tmp_path, shards))
  assert store.load(tmp_path, NAMES).lengths.tolist() == list(LENGTHS)


@pytest.mark.parametrize('fault', [truncated, deleted])
def test_sealed_shards_that_are_not_whole_are_named(tmp_path, fault):
  paths = write_sealed(tmp_path)
  fault(paths[2])
  with pytest.raises(ValueError, match=f'{paths[2].name}: .* bytes.*truncated'):
    store.load(tmp_path, NAMES)


def npz(path):
  with open(path, 'r+b') as file:
    file.write(b'PK\x03\x04')


def objects(path):
  size = path.stat().st_size
  with open(path, 'wb') as file:
    np.save(file, np.array([{}] * 8), allow_pickle=True)
    file.write(b' ' * (size - file.tell()))
  os.truncate(path, size)


def longer(path):
  content = path.read_bytes()
  path.write_bytes(content.replace(b'(8, 4)', b'(9, 4)'))


@pytest.mark.parametrize('fault', [npz, objects, longer])
def test_what_is_no_array_of_the_shard_is_refused(tmp_path, fault):
  paths = write_sealed(tmp_path)
  fault(paths[0])
  with pytest.raises(ValueError, match=paths[0].name):
    store.load(tmp_path, NAMES)


def test_a_stream_that_is_not_there_is_named(tmp_path):
  write_sealed(tmp_path)
  with pytest.raises(ValueError, match=r"no stream 'text'.*'latent', 'unit'"):
    store.load(tmp_path, ('latent', 'text'))


def test_a_manifest_that_counts_otherwise(tmp_path):
  write_sealed(tmp_path)
  path = tmp_path / store.MANIFEST
  found = json.loads(path.read_text())
  found['shards'][0]['lengths'][1] = 4
  path.write_text(json.dumps(found))
  with pytest.raises(ValueError, match='00000-of.*8.*its manifest counts 9'):
    store.load(tmp_path, NAMES)


FULL_DISK = """
import pathlib, resource, sys
import numpy as np
from rpt_jax.episodes import store
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
latent = np.random.default_rng(0).normal(size=(9, 10_000))
store.write_shard(
  pathlib.Path(sys.argv[1]),
  store.Shard(0, 1, 0, 3),
  {i: {'latent': latent} for i in range(3)},
  {},
)
"""


def test_a_full_disk_leaves_no_shard(tmp_path):
  result = subprocess.run(
    [sys.executable, '-c', FULL_DISK, str(tmp_path)],
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )
  assert result.returncode == 1, result.stderr
  assert 'OSError' in result.stderr and '00000-of-00001' in result.stderr
  shard = store.Shard(0, 1, 0, 3)
  assert store.read_entry(tmp_path, shard) is None
  assert not list(tmp_path.iterdir())
