"""RLDS as others write it: tfds's own builder, JPEG frames, flags unset."""

import io
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from rpt_jax import episodes


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
