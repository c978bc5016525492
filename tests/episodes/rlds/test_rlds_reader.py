"""RLDS as others write it: tfds's own builder, JPEG frames, flags unset."""

import gzip
import io
import json
import pathlib
import shutil
import types
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes.columns import Column
from rpt_jax.episodes.rlds import png, steps, tfrecord


class Robot(tfds.core.GeneratorBasedBuilder):
  """Three episodes of 4, 5 and 6 steps."""

  pkg_dir_path = pathlib.Path(__file__).parent
  VERSION = tfds.core.Version('1.2.0')

  def _info(self):
    steps = {
      'observation': {
        'rgb': tfds.features.Image(shape=(32, 40, 3), encoding_format='jpeg'),
        'joints': tfds.features.Tensor(shape=(3,), dtype=np.float32),
      },
      'action': tfds.features.Tensor(shape=(2,), dtype=np.float64),
      'is_last': np.bool_,
      'language_instruction': tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict(
        {
          'steps': tfds.features.Dataset(steps),
          'episode_metadata': {'file_path': tfds.features.Text()},
        }
      ),
    )

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i in range(3):
      steps = [self._step(i, t) for t in range(4 + i)]
      yield i, {'steps': steps, 'episode_metadata': {'file_path': f'{i}.h5'}}

  def _step(self, i, t):
    buffer = io.BytesIO()
    Image.new('RGB', (40, 32), (20 * t, 50 * i, 99)).save(buffer, 'JPEG')
    return {
      'observation': {
        'rgb': buffer.getvalue(),
        'joints': np.array([i, t, 0.5], np.float32),
      },
      'action': np.array([i, -t], np.float64),
      'is_last': False,
      'language_instruction': f'do {i}',
    }


def test_a_dataset_written_by_tfds_itself(tmp_path):
  builder = Robot(data_dir=str(tmp_path), file_format='array_record')
  builder.download_and_prepare()
  source = episodes.open(tmp_path / 'robot')
  assert sorted(source.lengths) == [4, 5, 6]
  assert source.observations == ('joints', 'image')
  for index, episode in enumerate(source):
    i = int(episode.observation['joints'][0, 0])
    t = np.arange(4 + i)
    expected = np.stack([20 * t, 50 * i + 0 * t, 99 + 0 * t], -1)
    found = episode.observation['image'].mean((1, 2))
    assert np.abs(found - expected).max() < 3
    assert episode.action.dtype == np.float32
    np.testing.assert_array_equal(episode.action, np.stack([i + 0 * t, -t], -1))
    assert episode.is_last.tolist() == [False] * (3 + i) + [True]
    assert source.metadata(index) == {
      'instruction': f'do {i}',
      'file_path': f'{i}.h5',
    }


def stored(image):
  """As a PNG, so that TFDS need not encode it, which takes TensorFlow."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, 'PNG')
  return buffer.getvalue()


class Odd(Robot):
  """What others keep in a step, beside."""

  VERSION = tfds.core.Version('1.10.0')

  def _info(self):
    f, info = tfds.features, super()._info()
    tensor = {'shape': (5, 3), 'dtype': np.float32}
    steps = {
      'observation': {
        'any_size': f.Image(shape=(None, None, 3)),
        'millimetres': f.Image(
          shape=(8, 12, 1), dtype=np.uint16, encoding_format='png'
        ),
        'points': f.Tensor(**tensor, encoding='zlib'),
        'packed': f.Tensor(**tensor, encoding='bytes'),
        'grown': f.Tensor(shape=(None, 3), dtype=np.float32),
        'joints': f.Tensor(shape=(3,), dtype=np.float32),
        'natural_language_instruction': f.Text(),
      },
      'action': f.Tensor(shape=(2,), dtype=np.float32),
    }
    features = f.FeaturesDict({'steps': f.Dataset(steps)})
    return tfds.core.DatasetInfo(builder=info._builder, features=features)

  def _generate_examples(self):
    for i in range(3):
      yield i, {'steps': [self._step(i, t) for t in range(4 + i)]}

  def _step(self, i, t):
    points = np.arange(15, dtype=np.float32).reshape(5, 3) + t
    observation = {
      'any_size': stored(np.full((32, 40, 3), 10 * t, np.uint8)),
      'millimetres': stored(np.full((8, 12), 300 + t, np.uint16)),
      'points': points,
      'packed': -points,
      'grown': points[:2],
      'joints': np.array([i, t, 0.5], np.float32),
      'natural_language_instruction': f'do {i}',
    }
    return {'observation': observation, 'action': np.zeros(2, np.float32)}


@pytest.fixture(scope='module')
def odd(tmp_path_factory):
  folder = tmp_path_factory.mktemp('odd')
  for kind in (Robot, Odd):
    Odd.name = 'robot'  # Two versions of one name.
    builder = kind(data_dir=str(folder), file_format='array_record')
    builder.download_and_prepare()
  return folder / 'robot'


def test_what_others_keep_in_a_step_is_read_or_named(odd):
  source = episodes.open(odd)
  assert source.path.endswith('1.10.0')  # The newest, not the last by name.
  assert source.streams['image'].shape == (32, 40, 3)
  assert source.metadata(0)['instruction'].startswith('do ')
  assert list(source.left_out) == ['observation/grown']
  assert 'Tensor of shape (None, 3)' in source.left_out['observation/grown']
  observation = source[1].observation
  t = np.arange(len(observation['joints']))
  points = np.arange(15.0).reshape(5, 3) + t[:, None, None]
  np.testing.assert_array_equal(observation['points'], points)
  np.testing.assert_array_equal(observation['packed'], -points)
  depth = observation['millimetres']
  assert depth.dtype == np.uint16
  np.testing.assert_array_equal(depth[:, 3, 5, 0], 300 + t)
  np.testing.assert_array_equal(observation['image'][:, 1, 1, 2], 10 * t)
  with pytest.raises(ValueError, match='grown.*numbers of one shape'):
    episodes.open(odd, state='observation/grown')


def test_lists_within_a_step_are_named():
  """TFDS needs TensorFlow to write one."""
  f = tfds.features
  box = {'left': np.float32, 'word': f.Text()}
  step = {'joints': f.Tensor(shape=(3,), dtype=np.float32)}
  step |= {'boxes': f.Sequence(box), 'past': f.Dataset(box)}
  features = f.FeaturesDict({'steps': f.Dataset(step)})
  info = types.SimpleNamespace(features=features)
  columns, left_out = steps.columns_of(types.SimpleNamespace(info=info))
  assert list(columns) == ['joints']
  assert left_out['boxes'].startswith('Sequence, expected numbers, text')
  assert left_out['past'].startswith('Dataset, expected numbers, text')


def test_tensors_claim_no_more_than_a_step(odd):
  source = episodes.open(odd)
  feature = source.store._steps['observation/points']
  column = source.store.columns['observation/points']
  for size in (59, 61, 10**6):
    with pytest.raises(ValueError, match='bytes a step, expected 60'):
      steps.decoded([zlib.compress(bytes(size))], feature, column)


def test_floats_in_images(odd):
  """TFDS keeps each number as the four channels of a pixel."""
  depth = np.linspace(0.3, 3, 8 * 12).reshape(1, 8, 12, 1).astype('<f4')
  pixels = depth.view(np.uint8).reshape(1, 8, 12, 4)
  feature = tfds.features.Image(
    shape=(8, 12, 1), dtype=np.float32, encoding_format='png'
  )
  column = Column('values', (8, 12, 1), np.dtype(np.float32))
  decoded = steps.decoded(png.encode(pixels), feature, column)
  np.testing.assert_array_equal(decoded, depth)


def test_an_empty_split_is_passed_over(tmp_path, odd):
  folder = tmp_path / 'robot'
  shutil.copytree(odd / '1.2.0', folder)
  info = json.loads((folder / 'dataset_info.json').read_text())
  info['splits'].append(
    {**info['splits'][0], 'name': 'val', 'shardLengths': []}
  )
  (folder / 'dataset_info.json').write_text(json.dumps(info))
  assert len(episodes.open(folder)) == 3
  with pytest.raises(ValueError, match="split 'val' holds no episode"):
    episodes.open(folder, split='val')


def test_features_that_are_missing_are_named(tmp_path, odd):
  folder = tmp_path / 'robot'
  shutil.copytree(odd / '1.2.0', folder)
  (folder / 'features.json').unlink()
  with pytest.raises(ValueError, match='features.json: not there'):
    episodes.open(folder)


def test_a_compressed_record_file_is_said_to_be_one(tmp_path):
  path = tmp_path / 'a.tfrecord'
  path.write_bytes(gzip.compress(b'record'))
  with pytest.raises(ValueError, match='a.tfrecord: compressed; unpack'):
    next(tfrecord.records(path))
