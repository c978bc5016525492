"""Round trips through TFDS, and every way a dataset on disk can be wrong."""

import hashlib
import io
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes.rlds import png, writer
from rpt_jax.types import Episode


def make_episode(seed, length, discrete=True):
  rng = np.random.default_rng(seed)
  action = rng.integers(0, 3, length).astype(np.int32)
  if not discrete:
    action = rng.normal(size=(length, 2)).astype(np.float32)
  ends = np.arange(length) == length - 1
  return Episode(
    observation={
      'image': rng.integers(0, 256, (length, 16, 16, 3), dtype=np.uint8),
      'state': rng.normal(size=(length, 4)).astype(np.float32),
    },
    action=action,
    reward=rng.normal(size=length).astype(np.float32),
    discount=(~ends).astype(np.float32),
    is_first=np.arange(length) == 0,
    is_last=ends,
    is_terminal=ends & bool(seed % 2),
  )


def change(episode, **fields):
  return Episode(**{**episode._asdict(), **fields})


EPISODES = [make_episode(seed, 3 + 2 * seed) for seed in range(5)]


@pytest.fixture
def folder(tmp_path):
  writer.write(
    tmp_path / 'data',
    'Toy-env',
    {'pretrain': EPISODES[:3], 'heldout': EPISODES[3:]},
    metadata={
      'pretrain': [{'seed': 7 + i, 'env': 'toy'} for i in range(3)],
      'heldout': [{'seed': 0, 'env': 'toy'}] * 2,
    },
  )
  return tmp_path / 'data'


def assert_same(found, expected):
  assert found.observation.keys() == expected.observation.keys()
  pairs = [
    (found.observation[k], expected.observation[k]) for k in found.observation
  ]
  pairs += list(zip(found[1:], expected[1:], strict=True))
  for f, e in pairs:
    assert f.dtype == e.dtype
    np.testing.assert_array_equal(f, e)


def test_round_trip(folder):
  source = episodes.open(folder, split='pretrain')
  assert len(source) == 3
  for found, expected in zip(source, EPISODES[:3], strict=True):
    assert_same(found, expected)
  assert source.metadata(2) == {
    'instruction': '',
    'index': 2,
    'seed': 9,
    'env': 'toy',
  }
  with pytest.raises(IndexError):
    source[3]


def test_all_splits_are_one_source(folder):
  source = pickle.loads(pickle.dumps(episodes.open(folder)))
  assert source.lengths.tolist() == [e.length for e in EPISODES]
  for found, expected in zip(source, EPISODES, strict=True):
    assert_same(found, expected)
  (folder / 'episode_lengths.json').unlink()  # As others write datasets.
  counted = episodes.open(folder).lengths
  assert counted.tolist() == [e.length for e in EPISODES]


def test_numbers_come_without_decoding_frames(folder, monkeypatch):
  monkeypatch.delattr(png, 'decode')
  found = episodes.open(folder).read(1, ['state', 'action', 'is_last'])
  np.testing.assert_array_equal(found['action'], EPISODES[1].action)
  with pytest.raises(episodes.CorruptEpisode, match='AttributeError.*decode'):
    episodes.open(folder).read(1, ['image'])


def test_round_trip_of_continuous_actions_and_one_step(tmp_path):
  expected = [make_episode(0, 1, False), make_episode(1, 4, False)]
  writer.write(tmp_path / 'd', 'toy', {'demos': iter(expected)})
  source = episodes.open(tmp_path / 'd', split='demos')
  for found, e in zip(source, expected, strict=True):
    assert_same(found, e)


def test_read_all_lays_clips_end_to_end(folder):
  source = episodes.open(folder, split='heldout')
  clips = source.read_all(['image', 'action'])
  assert set(clips.arrays) == {'image', 'action'}
  assert clips.lengths.tolist() == [9, 11]
  assert clips.offsets.tolist() == [0, 9, 20]
  np.testing.assert_array_equal(
    clips.arrays['image'][9:], EPISODES[4].observation['image']
  )
  with pytest.raises(ValueError, match="'depth' not found"):
    source.read_all(['depth'])


def test_tfds_reads_it_without_tensorflow(folder):
  program = """
import sys
import numpy as np
import tensorflow_datasets as tfds
source = tfds.builder_from_directory(sys.argv[1]).as_data_source('pretrain')
steps = list(source[1]['steps'])
image = np.stack([s['observation']['image'] for s in steps])
print(len(source), len(steps), image.shape, int(image.astype(int).sum()))
print(steps[0]['is_first'], steps[-1]['is_last'], steps[0]['action'])
print('tensorflow' in sys.modules)
"""
  done = subprocess.run(
    [sys.executable, '-c', program, str(folder)],
    capture_output=True,
    text=True,
    check=True,
  )
  e = EPISODES[1]
  total = int(e.observation['image'].astype(int).sum())
  assert done.stdout.splitlines() == [
    f'3 5 (5, 16, 16, 3) {total}',
    f'True True {e.action[0]}',
    'False',
  ]


def test_equal_episodes_give_equal_bytes(tmp_path):
  program = """
import sys
from tests.episodes.rlds.test_rlds_writer import EPISODES
from rpt_jax.episodes.rlds import writer
writer.write(sys.argv[1], 'toy', {'pretrain': EPISODES})
"""
  for name in ('a', 'b'):
    args = [sys.executable, '-c', program, str(tmp_path / name)]
    subprocess.run(args, check=True)

  def digests(path):
    return {
      f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in path.iterdir()
    }

  assert digests(tmp_path / 'a') == digests(tmp_path / 'b')


def test_shards_are_cut_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(writer, '_MAX_SHARD_BYTES', 5000)
  writer.write(tmp_path / 'd', 'toy', {'pretrain': EPISODES})
  assert len(list((tmp_path / 'd').glob('toy-pretrain*'))) > 1
  source = episodes.open(tmp_path / 'd', split='pretrain')
  for found, expected in zip(source, EPISODES, strict=True):
    assert_same(found, expected)


def test_unknown_names_are_named(folder, tmp_path):
  with pytest.raises(ValueError, match="no split 'train'.*heldout"):
    episodes.open(folder, split='train')
  with pytest.raises(ValueError, match='no such file or folder'):
    episodes.open(tmp_path / 'nothing', split='train')
  with pytest.raises(ValueError, match="image='pixels' is not among"):
    episodes.open(folder, split='heldout', image='pixels')


def test_a_mapping_renames_and_selects(folder):
  source = episodes.open(
    folder,
    split='heldout',
    front='observation/image',
    action='observation/state',
  )
  found, expected = source[0], EPISODES[3]
  assert list(found.observation) == ['front']
  np.testing.assert_array_equal(
    found.observation['front'], expected.observation['image']
  )
  np.testing.assert_array_equal(found.action, expected.observation['state'])


def test_ends_come_from_the_record(tmp_path):
  unmarked = [change(e, is_last=np.zeros(e.length, bool)) for e in EPISODES[:2]]
  writer.write(tmp_path / 'd', 'toy', {'pretrain': unmarked})
  found = episodes.open(tmp_path / 'd', split='pretrain')[1]
  np.testing.assert_array_equal(found.is_last, EPISODES[1].is_last)


def test_a_failed_write_leaves_what_was_there(folder):
  def broken():
    yield EPISODES[0]
    raise RuntimeError('killed')

  with pytest.raises(RuntimeError, match='killed'):
    writer.write(folder, 'toy_env', {'pretrain': broken()})
  assert len(episodes.open(folder, split='pretrain')) == 3
  assert [p.name for p in folder.parent.iterdir()] == ['data']
  writer.write(folder, 'toy_env', {'pretrain': EPISODES[:1]})
  assert len(episodes.open(folder, split='pretrain')) == 1
  info = json.loads((folder / 'dataset_info.json').read_text())
  assert [s['name'] for s in info['splits']] == ['pretrain']


def test_bad_episodes_are_named(tmp_path):
  def write(second):
    data = {'pretrain': [EPISODES[0], second]}
    writer.write(tmp_path / 'd', 'toy', data)

  good = EPISODES[1]
  nan = good.reward.copy()
  nan[1] = np.nan
  state = good.observation['state']
  with pytest.raises(ValueError, match=r'pretrain\[1\]: reward .*finite'):
    write(change(good, reward=nan))
  with pytest.raises(ValueError, match='action is int32'):
    write(change(good, action=good.action[:-1]))
  with pytest.raises(ValueError, match='observation/state is float64'):
    wide = {**good.observation, 'state': state.astype(np.float64)}
    write(change(good, observation=wide))
  with pytest.raises(ValueError, match='found fields'):
    write(change(good, observation={'state': state}))
  with pytest.raises(ValueError, match='holds no episode'):
    writer.write(tmp_path / 'd', 'toy', {'pretrain': []})
  with pytest.raises(ValueError, match='starts with a letter'):
    writer.write(tmp_path / 'd', '3d', {'pretrain': EPISODES})
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('shape', [(3, 8, 12, 3), (1, 5, 7, 1), (2, 4, 4, 4)])
def test_png_is_lossless_both_ways(shape):
  image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
  encoded = png.encode(image)
  np.testing.assert_array_equal(png.decode(encoded), image)
  for data, frame in zip(encoded, image, strict=True):
    opened = np.asarray(Image.open(io.BytesIO(data))).reshape(shape[1:])
    np.testing.assert_array_equal(opened, frame)


def test_png_of_other_writers_and_of_large_frames():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (2, 150, 160, 3), dtype=np.uint8)
  np.testing.assert_array_equal(png.decode(png.encode(image)), image)
  pillow = []
  for frame in image:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'PNG')
    pillow.append(buffer.getvalue())
  np.testing.assert_array_equal(png.decode(pillow), image)
  with pytest.raises(ValueError, match='uint8'):
    png.encode(image.astype(np.float32))
