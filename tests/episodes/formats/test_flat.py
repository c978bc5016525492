"""Flat arrays, as D4RL and OGBench write them; where episodes end; faults."""

import pickle

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import formats

h5py = pytest.importorskip('h5py')
LENGTHS = (4, 7, 5)
TOTAL = sum(LENGTHS)


def steps(seed=0):
  """D4RL's arrays: an end of the task, one of time, and one of the file."""
  rng = np.random.default_rng(seed)
  flags = {name: np.zeros(TOTAL, bool) for name in ('terminals', 'timeouts')}
  flags['terminals'][3] = flags['timeouts'][10] = True
  return {
    'observations': rng.normal(size=(TOTAL, 11)).astype(np.float32),
    'actions': rng.uniform(-1, 1, (TOTAL, 3)).astype(np.float32),
    'rewards': rng.normal(size=TOTAL).astype(np.float32),
    **flags,
    'infos/qpos': rng.normal(size=(TOTAL, 6)),
    'next_observations': rng.normal(size=(TOTAL, 11)).astype(np.float32),
  }


def write_hdf5(path, arrays):
  with h5py.File(path, 'w') as f:
    for name, x in arrays.items():
      compression = None if np.ndim(x) == 0 else 'gzip'
      f.create_dataset(name, data=x, compression=compression)
    f['metadata/algorithm'] = np.bytes_('SAC')
    f['metadata/policy/fc0/weight'] = np.zeros((TOTAL, 11))
  return path


def ogbench(seed, frames=False):
  """An archive as its generators write it: no rewards, floats, bools."""
  arrays = steps(seed)
  flags = np.zeros(TOTAL, bool)
  flags[np.cumsum(LENGTHS) - 1] = True
  rng = np.random.default_rng(seed)
  seen = rng.integers(0, 256, (TOTAL, 8, 8, 3), np.uint8)
  return {
    'observations': seen if frames else arrays['observations'],
    'actions': arrays['actions'],
    'terminals': flags,
    'qpos': arrays['infos/qpos'].astype(np.float32),
  }


def parts(values):
  return np.split(values, np.cumsum(LENGTHS)[:-1])


def test_episodes_end_with_their_task_their_time_or_the_file(tmp_path):
  arrays = steps()
  path = write_hdf5(tmp_path / 'hopper_medium-v2.hdf5', arrays)
  source = pickle.loads(pickle.dumps(episodes.open(path)))
  assert source.lengths.tolist() == list(LENGTHS) and source.fps is None
  assert source.observations == ('state',)
  for i, episode in enumerate(source):
    for name, x in {
      'observations': episode.observation['state'],
      'actions': episode.action,
      'rewards': episode.reward,
    }.items():
      np.testing.assert_array_equal(x, parts(arrays[name])[i])
    assert (
      episode.is_terminal.tolist() == parts(arrays['terminals'])[i].tolist()
    )
  assert source[0].discount.tolist() == [1, 1, 1, 0]
  assert source.metadata(1) == {
    'file': str(path),
    'first': 4,
    'instruction': '',
  }
  assert not any('metadata' in name for name in source.store.columns)
  joints = episodes.open(path, joints='infos/qpos', action='actions')
  np.testing.assert_allclose(
    joints[2].observation['joints'], parts(arrays['infos/qpos'])[2], rtol=1e-6
  )
  with pytest.raises(ValueError, match='next_observations'):
    episodes.open(path, state='infos/qvel')


def test_columns_of_one_number_are_numbers(tmp_path):
  arrays = steps()
  for name in ('rewards', 'terminals', 'timeouts'):
    arrays[name] = arrays[name][:, None]
  arrays['actions'] = np.arange(TOTAL)
  source = episodes.open(write_hdf5(tmp_path / 'a.hdf5', arrays))
  assert source.lengths.tolist() == list(LENGTHS)
  assert source[1].action.dtype == np.int32
  assert source[1].action.tolist() == list(range(4, 11))
  assert source[0].is_terminal.tolist() == [False] * 3 + [True]
  np.testing.assert_array_equal(source[1].reward, steps()['rewards'][4:11])


@pytest.mark.parametrize('frames', [False, True])
def test_ogbench_has_two_splits_and_no_ends_of_a_task(tmp_path, frames):
  written = {}
  for seed, name in enumerate(('cube-v0', 'cube-v0-val')):
    written[name] = ogbench(seed, frames)
    np.savez_compressed(tmp_path / f'{name}.npz', **written[name])
  source = pickle.loads(pickle.dumps(episodes.open(tmp_path)))
  assert source.lengths.tolist() == [*LENGTHS, *LENGTHS]
  stream = 'image' if frames else 'state'
  assert source.observations == (stream,)
  for name, split in (('cube-v0', 'train'), ('cube-v0-val', 'val')):
    part = episodes.open(tmp_path, split=split)
    assert part.lengths.tolist() == list(LENGTHS)
    for i, episode in enumerate(part):
      for array, x in {
        'observations': episode.observation[stream],
        'actions': episode.action,
      }.items():
        np.testing.assert_array_equal(x, parts(written[name][array])[i])
      assert not episode.is_terminal.any() and episode.discount.all()
    assert part.metadata(2)['file'].endswith(f'{name}.npz')
    one = episodes.open(tmp_path / f'{name}.npz')
    np.testing.assert_array_equal(one[1].action, part[1].action)
  with pytest.raises(ValueError, match=r"'test'; it has .*'train', 'val'"):
    episodes.open(tmp_path, split='test')
  with pytest.raises(ValueError, match=r"no split 'val'; it has \['all'\]"):
    episodes.open(tmp_path / 'cube-v0.npz', split='val')
  with pytest.raises(ValueError, match=r"no split 'val'; it has \['all'\]"):
    episodes.open(tmp_path / 'cube-v0-val.npz', split='val')


@pytest.mark.parametrize(
  'name, values',
  [
    ('episode_ends', np.cumsum(LENGTHS)),
    ('episode_lengths', np.array(LENGTHS, np.uint8)),
    ('lengths', np.array(LENGTHS)[:, None]),
  ],
)
@pytest.mark.parametrize('suffix', ['npz', 'hdf5'])
def test_a_list_of_episodes_is_believed_before_flags(
  tmp_path, name, values, suffix
):
  arrays = {k: x for k, x in steps().items() if k in ('actions', 'terminals')}
  arrays['pixels'] = np.full((TOTAL, 3, 8, 8), 7, np.uint8)
  arrays[name] = values
  path = tmp_path / f'a.{suffix}'
  write_hdf5(path, arrays) if suffix == 'hdf5' else np.savez(path, **arrays)
  source = episodes.open(path)
  assert source.lengths.tolist() == list(LENGTHS)
  assert source.observations == ('image',)
  assert source[2].observation['image'].shape == (5, 8, 8, 3)
  doubled = np.repeat(values, 2)
  if name != 'episode_ends':
    doubled[::2] = 0
  for wrong in (
    values[:-1],
    -values.astype(int),
    values * 1.0,
    values[:0],
    doubled,
  ):
    arrays[name] = wrong
    write_hdf5(path, arrays) if suffix == 'hdf5' else np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f'a.{suffix}: {name} does not lead'):
      episodes.open(path, format='flat')


def test_observations_may_be_several(tmp_path):
  arrays = steps()
  arrays['observations/joints'] = arrays.pop('observations')
  arrays['observations/time'] = np.arange(TOTAL)
  arrays['images'] = np.zeros((TOTAL, 8, 8, 3), np.uint8)
  source = episodes.open(write_hdf5(tmp_path / 'a.h5', arrays))
  assert source.observations == ('image', 'state')
  assert source[0].observation['state'].shape == (4, 12)
  assert source[1].observation['state'][:, 11].tolist() == list(range(4, 11))


def test_names_tell_flat_files_and_others_are_an_episode_each(tmp_path):
  one = ogbench(0)
  one['terminals'] = np.arange(TOTAL) == TOTAL - 1
  np.savez(tmp_path / 'a.npz', **one)  # One episode, as others beside it.
  np.savez(tmp_path / 'b.npz', **ogbench(1))
  assert formats.find(tmp_path).__name__.endswith('.flat')
  assert episodes.open(tmp_path).lengths[0] == TOTAL
  (tmp_path / 'c.npz').write_bytes(b'no archive')
  with pytest.raises(ValueError, match='c.npz'):
    episodes.open(tmp_path)
  (tmp_path / 'c.npz').unlink()
  own = {k: x for k, x in one.items() if k != 'terminals'}
  np.savez(tmp_path / 'a.npz', **own)
  assert formats.find(tmp_path / 'a.npz').__name__.endswith('.npz')
  source = episodes.open(tmp_path / 'a.npz')
  assert source.lengths.tolist() == [TOTAL]
  np.testing.assert_allclose(source[0].action, one['actions'], rtol=1e-6)


@pytest.mark.parametrize(
  'change, match',
  [
    ({'rewards': np.zeros(TOTAL - 1)}, "rewards is .15., 'actions' has 16"),
    ({'observations': np.zeros((9, 2))}, 'observations is .9, 2.'),
    (
      {'terminals': np.zeros((TOTAL, 2))},
      'expected 16 numbers that are 0 or 1',
    ),
    (
      {'timeouts': np.full(TOTAL, np.nan)},
      'timeouts is float64.*that are 0 or 1',
    ),
    ({'timeouts': np.arange(TOTAL)}, 'timeouts is int64.*that are 0 or 1'),
    ({'observations': None}, 'found no observations among'),
    ({'actions': None}, "found no 'actions' with a step among"),
    ({'actions': np.zeros((0, 3))}, "found no 'actions' with a step among"),
    ({'terminals': None, 'timeouts': None}, 'says where episodes end'),
  ],
)
def test_arrays_that_do_not_belong_together_are_refused(
  tmp_path, change, match
):
  arrays = {k: x for k, x in (steps() | change).items() if x is not None}
  path = write_hdf5(tmp_path / 'a.hdf5', arrays)
  with pytest.raises(ValueError, match=f'a.hdf5: .*{match}'):
    episodes.open(path, format='flat')


def test_files_of_a_folder_are_of_one_kind(tmp_path):
  np.savez(tmp_path / 'a.npz', **ogbench(0))
  np.savez(tmp_path / 'b.npz', **ogbench(0, frames=True))
  with pytest.raises(
    ValueError, match=r'b.npz: observations is uint8\[8, 8, 3\], .*apart'
  ):
    episodes.open(tmp_path)


def test_what_is_damaged_is_one_episode(tmp_path):
  arrays = steps()
  arrays['observations'][5, 2] = np.nan
  path = write_hdf5(tmp_path / 'a.hdf5', arrays)
  source = episodes.open(path)
  with pytest.raises(episodes.CorruptEpisode, match='state: step 1 is not'):
    source[1]
  assert source[0].length == 4
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.raises(episodes.CorruptEpisode, match='a.hdf5: .*not a readable'):
    source[0]
  with pytest.raises(ValueError, match='a.hdf5: not a readable'):
    episodes.open(path)
  np.savez(archive := tmp_path / 'b.npz', **ogbench(0))
  source = episodes.open(archive)
  whole = archive.read_bytes()
  archive.write_bytes(whole[:300])
  with pytest.raises(episodes.CorruptEpisode, match='b.npz: observations: '):
    source[2]
  with pytest.raises(ValueError, match='b.npz.* cannot be read'):
    episodes.open(archive, format='flat')


def test_a_file_leads_nowhere_and_holds_what_it_declares(tmp_path):
  other = write_hdf5(tmp_path / 'other.hdf5', steps())
  path = write_hdf5(tmp_path / 'a.hdf5', steps())
  with h5py.File(path, 'a') as f:
    del f['infos/qpos']
    layout = h5py.VirtualLayout((TOTAL, 6), 'f8')
    layout[:] = h5py.VirtualSource(str(other), 'infos/qpos', (TOTAL, 6))
    f.create_virtual_dataset('infos/qpos', layout)
  with pytest.raises(ValueError, match='a.hdf5.*qpos keeps its bytes in anoth'):
    episodes.open(path)
  with h5py.File(path, 'a') as f:
    del f['infos/qpos'], f['rewards']
    f['rewards'] = h5py.ExternalLink(str(other), 'rewards')
  with pytest.raises(ValueError, match='a.hdf5: //rewards is a link'):
    episodes.open(path)
  with h5py.File(path, 'a') as f:
    del f['rewards']
    f.create_dataset('images', (TOTAL, 50_000, 50_000, 3), 'u1', chunks=True)
  with pytest.raises(episodes.CorruptEpisode, match='images: .* declares 12'):
    episodes.open(path)[0]
