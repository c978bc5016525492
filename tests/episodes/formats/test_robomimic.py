"""robomimic's layout, written by h5py; NumPy episodes; their faults."""

import json
import pickle

import numpy as np
import pytest

from rpt_jax import episodes

h5py = pytest.importorskip('h5py')
LENGTHS = (4, 7, 5)


def arrays(seed, length):
  rng = np.random.default_rng(seed)
  return {
    'obs/agentview_image': rng.integers(0, 256, (length, 8, 8, 3), np.uint8),
    'obs/robot0_eef_pos': rng.normal(size=(length, 3)),
    'obs/robot0_eef_quat': rng.normal(size=(length, 4)),
    'obs/robot0_gripper_qpos': rng.normal(size=(length, 2)),
    'obs/object': rng.normal(size=(length, 10)),
    'actions': rng.uniform(-1, 1, (length, 7)),
    'rewards': np.zeros(length),
    'dones': (np.arange(length) == length - 1).astype(np.int64),
  }


@pytest.fixture
def file(tmp_path):
  path = tmp_path / 'low_dim.hdf5'
  with h5py.File(path, 'w') as f:
    env = {'env_name': 'Lift', 'env_kwargs': {'control_freq': 20}}
    f.create_group('data').attrs['env_args'] = json.dumps(env)
    for i, length in zip((0, 1, 10), LENGTHS, strict=True):
      group = f.create_group(f'data/demo_{i}')
      group.attrs['num_samples'] = length
      for name, x in arrays(i, length).items():
        group[name] = x
    f['mask/train'] = np.array([b'demo_0', b'demo_10'])
  return path


def test_demos_are_episodes(file):
  source = pickle.loads(pickle.dumps(episodes.open(file)))
  assert source.lengths.tolist() == list(LENGTHS) and source.fps == 20
  assert source.observations == ('image', 'state')
  expected, found = arrays(10, 5), source[2]
  np.testing.assert_array_equal(
    found.observation['image'], expected['obs/agentview_image']
  )
  state = [
    expected[f'obs/robot0_{k}'] for k in ('eef_pos', 'eef_quat', 'gripper_qpos')
  ]
  np.testing.assert_allclose(
    found.observation['state'], np.concatenate(state, -1), rtol=1e-6
  )
  assert found.action.dtype == np.float32
  np.testing.assert_allclose(found.action, expected['actions'], rtol=1e-6)
  assert found.is_terminal.tolist() == [False] * 4 + [True]
  assert found.discount.tolist() == [1.0] * 4 + [0.0]
  meta = source.metadata(2)
  assert meta['demo'] == 'demo_10' and meta['env_name'] == 'Lift'
  assert meta['instruction'] == ''


def test_masks_are_splits_and_columns_can_be_named(file):
  train = episodes.open(file, split='train', state='obs/object')
  assert train.lengths.tolist() == [4, 5]
  assert train.observations == ('state',)
  assert train[1].observation['state'].shape == (5, 10)
  with pytest.raises(ValueError, match=r"no split 'test'.*train"):
    episodes.open(file, split='test')
  with pytest.raises(ValueError, match='obs/agentview_image'):
    episodes.open(file, image='obs/wrist')


def test_faults_of_a_file_name_it(file, tmp_path):
  with h5py.File(file, 'a') as f:
    f['data/demo_1/actions'][2] = np.nan
    del f['data/demo_0/obs/agentview_image']
    f['data/demo_0/obs/agentview_image'] = np.zeros((3, 8, 8, 3), np.uint8)
  source = episodes.open(file)
  with pytest.raises(episodes.CorruptEpisode, match='action: step 2 is not'):
    source[1]
  with pytest.raises(episodes.CorruptEpisode, match='episode 0 has columns'):
    source[0]
  bad = tmp_path / 'bad.hdf5'
  bad.write_bytes(file.read_bytes()[:900])
  with pytest.raises(ValueError, match='bad.hdf5: not a readable HDF5'):
    episodes.open(bad)
  with h5py.File(bad, 'w') as f:
    f['x'] = 1
  with pytest.raises(ValueError, match="expected 'data' with dem"):
    episodes.open(bad)


def write_npz(path, seed, length):
  rng = np.random.default_rng(seed)
  path.parent.mkdir(parents=True, exist_ok=True)
  found = {
    'camera': rng.integers(0, 256, (length, 6, 6, 3), np.uint8),
    'observation/state': rng.normal(size=(length, 3)),
    'action': rng.integers(0, 4, length),
  }
  np.savez(path, instruction=np.array(f'do {seed}'), **found)
  return found


def test_npz_files_are_episodes(tmp_path):
  first = write_npz(tmp_path / 'train/a.npz', 0, 4)
  write_npz(tmp_path / 'val/b.npz', 1, 6)
  source = pickle.loads(pickle.dumps(episodes.open(tmp_path)))
  assert source.lengths.tolist() == [4, 6]
  assert set(source.observations) == {'image', 'state'}
  found = source[0]
  np.testing.assert_array_equal(found.observation['image'], first['camera'])
  assert found.observation['state'].dtype == np.float32
  assert found.action.dtype == np.int32
  assert source.metadata(0)['instruction'] == 'do 0'
  assert len(episodes.open(tmp_path, split='val')) == 1
  with pytest.raises(ValueError, match=r"no split 'test'.*train.*val"):
    episodes.open(tmp_path, split='test')
