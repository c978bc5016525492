"""Faults 17 to 23: data that is damaged, too little, or not what it may be."""

import time

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import loader, reading, store
from rpt_jax.episodes.rlds import writer
from rpt_jax.training import sharding
from rpt_jax.types import Episode
from tests.episodes.formats.test_video import write_video
from tests.episodes.test_reading import Numbers, gone, read_all
from tests.faults import job
from tests.stages import encoding


def make_episode(seed, length):
  rng = np.random.default_rng(seed)
  ends = np.arange(length) == length - 1
  return Episode(
    observation={'state': rng.normal(size=(length, 64)).astype(np.float32)},
    action=rng.normal(size=(length, 2)).astype(np.float32),
    reward=np.zeros(length, np.float32),
    discount=(~ends).astype(np.float32),
    is_first=np.arange(length) == 0,
    is_last=ends,
    is_terminal=ends,
  )


@pytest.fixture
def folder(tmp_path):
  data = [make_episode(seed, 3 + seed) for seed in range(5)]
  splits = {'pretrain': data[:3], 'heldout': data[3:]}
  writer.write(tmp_path / 'data', 'toy', splits)
  return tmp_path / 'data'


def shard_of(folder):
  return next(folder.glob('toy-pretrain*'))


def test_17_corrupt_record(folder, tmp_path, capsys):
  """corrupt records -> skipped, named and counted, the same ones every time;
  beyond `error_budget` the run stops, also when it is started again"""
  content = bytearray(shard_of(folder).read_bytes())
  places = np.flatnonzero(np.frombuffer(bytes(content), np.uint8))
  content[places[len(places) // 2]] ^= 1
  shard_of(folder).write_bytes(content)
  source = episodes.open(folder, split='pretrain')
  found = dict(read_all_of(source))
  bad = [k for k, x in found.items() if isinstance(x, episodes.CorruptEpisode)]
  assert len(bad) == 1
  assert f'record {bad[0]} of split' in str(found[bad[0]])

  data = encoding.write_episodes(tmp_path / 'toy')
  for name in ('000', '003'):
    encoding.spoil(data / f'{name}.npz')
  config = encoding.experiment(data)  # Bears two of six.
  for name in ('a', 'b'):
    (tmp_path / name).mkdir()
    encoding.run(config, tmp_path / name)
    assert store.kept(encoded(tmp_path / name)) == [1, 2, 4, 5]
  assert 'episode 3 skipped' in capsys.readouterr().out
  assert np.array_equal(
    *(encoding.latents(tmp_path / name)[0] for name in ('a', 'b'))
  )
  encoding.spoil(data / '005.npz')
  for _ in range(2):
    with pytest.raises(ValueError, match='3 of 6 episodes.*budget of 40.*005'):
      encoding.run(config, tmp_path)
    assert not (encoded(tmp_path) / store.MANIFEST).exists()
  shards = list(encoded(tmp_path).glob('*.npy'))
  assert len(shards) == 2  # Those before it.


def encoded(workdir):
  return workdir / 'encode' / 'toy' / 'pretrain'


def read_all_of(source):
  return reading.read_ahead(source, ('state',), range(len(source)))


def test_18_truncated_shard(folder):
  """a truncated shard -> one line naming it, and how many records it should
  have; other splits can still be read"""
  with shard_of(folder).open('r+b') as file:
    file.truncate(shard_of(folder).stat().st_size // 2)
  with pytest.raises(ValueError, match='toy-pretrain.* 0 records.*counts 3'):
    episodes.open(folder, split='pretrain')
  assert len(episodes.open(folder, split='heldout')) == 2


@pytest.mark.parametrize('fault', ['missing', 'empty', 'few', 'none'])
def test_19_missing_shard_or_too_few_examples(folder, fault):
  """a missing or empty shard, no examples -> one line naming it before anything
  is compiled; fewer examples than a batch are taken again and again"""
  if fault == 'missing':
    shard_of(folder).unlink()
  elif fault == 'empty':
    shard_of(folder).write_bytes(b'')
  elif fault == 'few':
    order = loader.Order(3, 8, seed=0)
    assert np.bincount(np.r_[order(0), order(1), order(2)]).tolist() == [8] * 3
    return
  else:
    with pytest.raises(ValueError, match='0 samples in batches of 8'):
      loader.Order(0, 8, seed=0)
    return
  with pytest.raises(ValueError, match='toy-pretrain.* 0 records.*counts 3'):
    episodes.open(folder, split='pretrain')


def test_20_bad_video(tmp_path):
  """a video that cannot be decoded -> an episode of length 0 that names its
  file when it is read; none that can: one line"""
  write_video(tmp_path / 'a.mp4', 8)
  write_video(tmp_path / 'b.mp4', 40)
  content = (tmp_path / 'b.mp4').read_bytes()
  (tmp_path / 'b.mp4').write_bytes(content[: len(content) // 2])
  (tmp_path / 'c.webm').write_bytes(b'no video')
  (tmp_path / 'd.gif').write_bytes(b'GIF89a')
  source = episodes.open(tmp_path)
  assert source.lengths.tolist() == [8, 0, 0, 0]
  assert source[0].length == 8
  for index, name in enumerate(['b.mp4', 'c.webm', 'd.gif'], 1):
    with pytest.raises(episodes.CorruptEpisode, match=name):
      source[index]
  (tmp_path / 'a.mp4').unlink()
  with pytest.raises(ValueError, match='no video can be opened'):
    episodes.open(tmp_path)


@pytest.mark.parametrize('ahead', [0, 3])
def test_21_dead_worker(ahead):
  """a worker that raises or is killed -> its error ends the run, nothing hangs,
  the other workers end"""
  with pytest.raises(KeyError, match='no column in 2'):
    read_all(Numbers(5, {2: 'wrong'}), workers=1)
  found = []
  with pytest.raises(ChildProcessError, match='enough memory for 2 of them'):
    for index, _ in reading.read_ahead(
      Numbers(9, {4: 'dies'}), ('x',), range(9), workers=2, ahead=ahead
    ):
      found.append(index)
      time.sleep(0.3 if index == 2 else 0)  # The death may be noticed here.
  assert found == sorted(found) and 4 not in found
  assert gone()


@pytest.mark.parametrize('size, hosts', [(11, 2), (101, 4)])
def test_22_uneven_hosts(size, hosts):
  """examples that do not divide over hosts -> every host has as many steps and
  rows as the others, together the batches of one; batches must divide"""
  whole = loader.Order(size, 12, seed=5)
  parts = [
    loader.Order(size, 12, 5, rows) for rows in np.split(np.arange(12), hosts)
  ]
  for step in (0, 1, 4, 8, 9):
    rows = [part(step) for part in parts]
    assert {len(r) for r in rows} == {12 // hosts}
    np.testing.assert_array_equal(np.concatenate(rows), whole(step))
  with pytest.raises(ValueError, match='12 rows do not divide over 8 devices'):
    sharding.local_rows(12, sharding.make_mesh(job.EVERYWHERE))


GOOD = {
  'image': np.zeros((4, 6, 6, 3), np.uint8),
  'state': np.ones((4, 3)),
  'action': np.ones((4, 2)),
}
BAD = {
  'action': {
    'NaN': np.full((4, 2), np.nan),
    'one more dimension': np.ones((4, 3)),
    'one step less': np.ones((3, 2)),
    'words': np.full((4, 2), 'a'),
  },
  'state': {
    'infinite': np.full((4, 3), -np.inf),
    'too large for float32': np.full((4, 3), 1e39),
  },
  'image': {
    'floats': np.zeros((4, 6, 6, 3)),
    'flat': np.zeros((4, 6), np.uint8),
  },
}


@pytest.mark.parametrize(
  'name, value',
  [
    pytest.param(name, value, id=f'{name}: {fault}')
    for name, faults in BAD.items()
    for fault, value in faults.items()
  ],
)
@pytest.mark.filterwarnings('ignore:overflow')
def test_23_bad_values(tmp_path, name, value):
  """a value that is not finite, of another shape, type or length -> its episode
  is corrupt: dataset, episode and column are named"""
  np.savez(tmp_path / '0.npz', **GOOD)
  np.savez(tmp_path / '1.npz', **GOOD | {name: value})
  source = episodes.open(tmp_path)
  assert source[0].length == 4
  with pytest.raises(episodes.CorruptEpisode, match=f'episode 1.*{name}'):
    source[1]
