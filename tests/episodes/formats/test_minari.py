"""Minari's datasets, as the library wrote them (see make_minari.py); faults."""

import io
import json
import pathlib
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes import formats

h5py = pytest.importorskip('h5py')
pa = pytest.importorskip('pyarrow')
ARCHIVE = pathlib.Path(__file__).parent / 'data/minari.zip'
KINDS = ('hdf5', 'arrow', 'parquet')
LENGTHS = [3, 5]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  folder = tmp_path_factory.mktemp('minari')
  with zipfile.ZipFile(ARCHIVE) as archive:
    archive.extractall(folder)
  return folder


@pytest.fixture
def copied(written, tmp_path):
  """A dataset of one's own to break."""

  def copy(name):
    return pathlib.Path(shutil.copytree(written / name, tmp_path / name))

  return copy


def said(written, name):
  """What Minari's reader says: {episode/column: values}."""
  with np.load(written / f'{name}.npz') as arrays:
    return dict(arrays)


def edit(path, **changes):
  about = json.loads(path.read_text())
  path.write_text(json.dumps(about | changes))


@pytest.mark.parametrize('kind', [*KINDS, 'old'])
def test_plain_spaces(written, kind):
  """Actions of a Discrete space are numbers, as those of gymnax."""
  path = written / ('old-v0' if kind == 'old' else f'plain/{kind}-v0')
  source = pickle.loads(pickle.dumps(episodes.open(path)))
  assert source.lengths.tolist() == LENGTHS and source.fps is None
  assert source.observations == ('state',)
  assert source.name == path.relative_to(written).as_posix()
  expected = said(written, 'plain')
  for i, episode in enumerate(source):
    seen = expected[f'{i}/observations']
    np.testing.assert_array_equal(
      episode.observation['state'], seen[:-1].astype(np.float32)
    )
    assert len(seen) == episode.length + 1
    assert episode.action.dtype == np.int32
    assert episode.action.tolist() == expected[f'{i}/actions'].tolist()
    np.testing.assert_array_equal(
      episode.reward, expected[f'{i}/rewards'].astype(np.float32)
    )
    ends = expected[f'{i}/terminations'].tolist()
    assert episode.is_terminal.tolist() == ends and ends[-1] is (i == 0)
  meta = source.metadata(1)
  assert meta['id'] == 1 and meta['total_steps'] == 5
  assert meta['env_name'] == ('CartPole-v1' if kind == 'old' else '')
  assert meta['instruction'] == ''
  for place in (path / 'data', path / 'data/main_data.hdf5'):
    if place.exists():
      assert episodes.open(place).lengths.tolist() == LENGTHS


@pytest.mark.parametrize('kind', KINDS)
def test_nested_spaces(written, kind):
  source = episodes.open(written / f'nested/{kind}-v0')
  source = pickle.loads(pickle.dumps(source))
  assert source.lengths.tolist() == LENGTHS
  assert source.observations == ('image', 'state')
  assert source.streams['image'].shape == (32, 40, 3)
  expected = said(written, 'nested')
  for i, episode in enumerate(source):
    frames = expected[f'{i}/observations/camera'][:-1]
    np.testing.assert_array_equal(episode.observation['image'], frames)
    parts = [
      expected[f'{i}/observations/{name}'][:-1]
      for name in ('direction', 'pair/0', 'pair/1')
    ]
    flat = [x.reshape(len(x), -1).astype(np.float32) for x in parts]
    np.testing.assert_array_equal(
      episode.observation['state'], np.concatenate(flat, 1)
    )
    actions = [expected[f'{i}/actions/{name}'] for name in ('arm', 'grip')]
    np.testing.assert_array_equal(episode.action, np.concatenate(actions, 1))
  assert source.metadata(1)['instruction'] == 'open the door'
  texts = source.store.read(1, ['observations/mission'])
  assert texts['observations/mission'].tolist() == ['open the door'] * 5


@pytest.mark.parametrize('kind', KINDS)
def test_columns_can_be_named(written, kind):
  source = episodes.open(
    written / f'nested/{kind}-v0',
    goal='observations/pair/1',
    done='infos/success',
    instruction='observations/mission',
    action='actions/grip',
  )
  assert source.observations == ('goal', 'done')
  expected = said(written, 'nested')
  episode = source[1]
  np.testing.assert_array_equal(
    episode.observation['goal'],
    expected['1/observations/pair/1'][:-1].astype(np.float32),
  )
  assert episode.observation['done'].tolist() == [False] * 3 + [True] * 2
  assert episode.action.shape == (5, 1)
  with pytest.raises(ValueError, match='observations/mission'):
    episodes.open(written / f'nested/{kind}-v0', goal='observations/goal')
  with pytest.raises(ValueError, match="no split 'train'"):
    episodes.open(written / f'nested/{kind}-v0', split='train')


def test_the_goal_of_a_robot_is_not_its_state(copied):
  path = copied('nested/hdf5-v0')
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    for i, steps in enumerate(LENGTHS):
      seen = f[f'episode_{i}/observations']
      seen['observation'] = np.full((steps + 1, 6), float(i))
      seen['desired_goal'] = np.zeros((steps + 1, 3))
  source = episodes.open(path)
  assert source.observations == ('image', 'state')
  assert source[1].observation['state'].tolist() == [[1.0] * 6] * 5


def test_a_tuple_is_read_in_its_order(copied):
  path = copied('nested/hdf5-v0')
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    del f['episode_1/observations'], f['episode_0/observations']
    for i, steps in enumerate(LENGTHS):
      for k in range(11):
        values = np.full(steps + 1, float(k))
        f[f'episode_{i}/observations/_index_{k}'] = values
  episode = episodes.open(path)[1].observation['state']
  assert episode.tolist() == [list(range(11))] * 5


def test_frames_that_are_not_encoded(copied):
  """With jpeg_encoding False: an array as it is, in Arrow laid flat."""
  path = copied('nested/hdf5-v0')
  frames = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), np.uint8)
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    del f['episode_0/observations/camera']
    f['episode_0/observations/camera'] = frames
  source = episodes.open(path)
  np.testing.assert_array_equal(source[0].observation['image'], frames[:3])
  assert source[1].observation['image'].shape == (5, 32, 40, 3)
  path = copied('plain/arrow-v0')
  box = {'type': 'Box', 'shape': [32, 40, 3], 'dtype': 'uint8'}
  edit(path / 'data/metadata.json', observation_space=json.dumps(box))
  rewrite(
    path / 'data/0/part-0.arrow',
    observations=pa.FixedSizeListArray.from_arrays(
      frames.reshape(-1), 32 * 40 * 3
    ),
  )
  source = episodes.open(path)
  assert source.observations == ('image',)
  np.testing.assert_array_equal(source[0].observation['image'], frames[:3])
  with pytest.raises(
    episodes.CorruptEpisode, match='1: observations has 4 numbers a row'
  ):
    source[1]


def rewrite(place, rows=None, **columns):
  """A table with other columns, or (None) without some."""
  table = pa.ipc.open_file(pa.BufferReader(place.read_bytes())).read_all()
  for name, values in columns.items():
    index = table.column_names.index(name)
    table = table.remove_column(index)
    if values is not None:
      table = table.add_column(index, name, values)
  with pa.ipc.new_file(str(place), table.schema) as file:
    file.write_table(table.slice(0, rows))


def test_columns_that_cannot_be_read_are_named(copied):
  path = copied('plain/arrow-v0')
  observed = pa.array([[1.0], [2.0, 3.0], [], [4.0]])
  infos = pa.array([{'a': 1}, None, {'a': 2}, {'a': 3}])
  table = pa.table({'infos': infos, 'observed': observed})
  place = path / 'data/0/part-0.arrow'
  whole = pa.ipc.open_file(pa.BufferReader(place.read_bytes())).read_all()
  for name in table.column_names:
    if name in whole.column_names:
      whole = whole.remove_column(whole.column_names.index(name))
    whole = whole.append_column(name, table[name])
  with pa.ipc.new_file(str(place), whole.schema) as file:
    file.write_table(whole)
  source = episodes.open(path)
  assert set(source.left_out) == {'infos', 'observed'}
  assert 'list<item: double>, expected as many' in source.left_out['observed']
  with pytest.raises(ValueError, match='observed.*as many numbers in every'):
    episodes.open(path, state='observed')


def test_faults_of_groups_name_their_episode(copied):
  path = copied('nested/hdf5-v0')
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    f['episode_1/observations/pair/_index_0'][3, 1] = np.nan
    del f['episode_1/actions/arm']
    f['episode_1/actions/arm'] = np.zeros((4, 3), np.float32)
    frame = f['episode_1/observations/camera'][2]
    f['episode_1/observations/camera'][2] = frame[: len(frame) // 2]
    del f['episode_0/rewards'], f['episode_0/observations/direction']
  source = episodes.open(path)
  assert source.lengths.tolist() == [0, 5]
  for fields, match in {
    'state': 'state: step 3 is not finite',
    'image': 'episode 1: step 2: .*truncated',
  }.items():
    with pytest.raises(episodes.CorruptEpisode, match=match):
      source.read(1, [fields])
  with pytest.raises(episodes.CorruptEpisode, match='columns of lengths'):
    source.read(1, ['action', 'reward'])
  with pytest.raises(episodes.CorruptEpisode, match='episode 0: .*rewards'):
    source.read(0, ['reward'])
  (place := path / 'data/main_data.hdf5').write_bytes(place.read_bytes()[:3000])
  with pytest.raises(episodes.CorruptEpisode, match='main_data.hdf5.*not a re'):
    source[1]
  with pytest.raises(ValueError, match='main_data.hdf5: not a readable HDF5'):
    episodes.open(path)


def test_a_group_leads_nowhere_and_holds_what_it_declares(copied, tmp_path):
  path = copied('plain/hdf5-v0')
  with h5py.File(secret := tmp_path / 'secret.hdf5', 'w') as f:
    f['x'] = np.zeros((5, 4))
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    del f['episode_1/observations'], f['episode_0/observations']
    f['episode_1/observations'] = h5py.ExternalLink(str(secret), 'x')
    f.create_dataset('episode_0/observations', (4, 1 << 30), 'f4', chunks=True)
  source = episodes.open(path, state='observations')
  with pytest.raises(episodes.CorruptEpisode, match='1: .*is a link'):
    source[1]
  with pytest.raises(
    episodes.CorruptEpisode, match='0: .*declares 17179869184'
  ):
    source[0]
  with h5py.File(path / 'data/main_data.hdf5', 'a') as f:
    del f['episode_0/actions']
    f['episode_0/actions'] = h5py.ExternalLink(str(secret), 'x')
  with pytest.raises(ValueError, match='actions is a link'):
    episodes.open(path)


def test_faults_of_tables_name_their_episode(copied):
  path = copied('plain/arrow-v0')
  place = path / 'data/1/part-0.arrow'
  whole = place.read_bytes()
  source = episodes.open(path)

  def fails(match):
    with pytest.raises(episodes.CorruptEpisode, match=f'episode 1: .*{match}'):
      source[1]
    place.write_bytes(whole)

  place.write_bytes(whole[: len(whole) // 2])
  fails('')
  rewrite(place, rows=4)
  fails('found 4 rows, expected 6')
  rewrite(place, actions=pa.array([1, None, 2, 3, 4, 0]))
  fails('actions has rows without a value')
  rewrite(place, rewards=None)
  fails('rewards is missing')
  place.rename(place.with_name('x'))
  fails('found 0 .arrow files, expected one')
  (path / 'data/0/metadata.json').write_text('{')
  source = episodes.open(path)
  assert source.lengths.tolist() == [0, 5] and source[1].length == 5
  for read in (source.__getitem__, source.metadata):
    with pytest.raises(episodes.CorruptEpisode, match='episode 0'):
      read(0)
  rewrite(path / 'data/1/part-0.arrow', rewards=None)
  with pytest.raises(ValueError, match='found no .rewards. among'):
    episodes.open(path)


def test_texts_end_within_their_table(copied):
  """Places that lead out of it would be read as they are."""
  path = copied('nested/arrow-v0')
  place = path / 'data/1/part-0.arrow'
  source = episodes.open(path)
  ends = np.arange(7, dtype='<i4') * len('open the door')
  whole = place.read_bytes()
  assert whole.count(ends.tobytes()) == 1
  beyond = np.where(np.arange(7) == 3, 200, ends).astype('<i4')
  place.write_bytes(whole.replace(ends.tobytes(), beyond.tobytes()))
  for read in (source.metadata, source.__getitem__):
    with pytest.raises(episodes.CorruptEpisode, match='episode 1: .*offset'):
      read(1)
  assert source.read(1, ['action'])['action'].shape == (5, 4)


@pytest.mark.parametrize('kind', ['arrow', 'parquet'])
def test_tables_that_lie_are_refused(copied, kind):
  path = copied(f'plain/{kind}-v0')
  place = path / f'data/1/part-0.{kind}'
  source = episodes.open(path)
  whole = place.read_bytes()
  rng = np.random.default_rng(0)
  for _ in range(60):
    broken = bytearray(whole)
    for at in rng.integers(0, len(whole), 8):
      broken[at] = rng.integers(0, 256)
    place.write_bytes(broken)
    try:
      assert source[1].length == 5
    except episodes.CorruptEpisode as error:
      named = 'episode 1', f'1/{place.name}'
      assert any(name in str(error) for name in named)


@pytest.mark.parametrize(
  'changes, match',
  [
    ({'total_episodes': 3}, '2 of 2 episodes have steps, its metadata count 3'),
    ({'total_episodes': None}, 'its metadata count None'),
    ({'data_format': 'zarr'}, "data_format is 'zarr', expected hdf5"),
    (
      {'observation_space': '{"type": "Box"}'},
      'observation_space cannot be read',
    ),
    ({'observation_space': '[' * 99_999}, 'observation_space cannot be read'),
    ({'observation_space': '[]'}, 'observation_space cannot be read'),
    (
      {'observation_space': '{"type": "Box", "shape": [2, 3]}'},
      r'observations has 4 numbers a row, its space is \[2, 3\]',
    ),
  ],
)
def test_what_metadata_say_is_checked(copied, changes, match):
  path = copied('plain/arrow-v0')
  edit(path / 'data/metadata.json', **changes)
  with pytest.raises(ValueError, match=match):
    episodes.open(path)


def test_steps_that_cannot_be(copied):
  path = copied('plain/parquet-v0')
  for steps in (10**12, -1, 2.5, True, 'x', None):
    edit(path / 'data/0/metadata.json', total_steps=steps)
    assert episodes.open(path).lengths.tolist() == [0, 5]
  shutil.rmtree(path / 'data/1')
  with pytest.raises(ValueError, match='0 of 1 episodes have steps'):
    episodes.open(path)


def test_a_frame_may_be_png_in_arrow(copied):
  path = copied('nested/arrow-v0')
  frame = np.random.default_rng(0).integers(0, 256, (32, 40), np.uint8)
  Image.fromarray(frame).save(file := io.BytesIO(), 'PNG')
  rewrite(
    path / 'data/0/part-0.arrow',
    observations=pa.StructArray.from_arrays(
      [pa.array([file.getvalue()] * 4, pa.binary())], ['camera']
    ),
  )
  source = episodes.open(path)
  seen = source[0].observation['image']
  np.testing.assert_array_equal(
    seen, np.stack([frame] * 3, -1)[None].repeat(3, 0)
  )


def test_another_layout_is_not_its(tmp_path):
  minari = formats.find(tmp_path, 'minari')
  assert not minari.sniff(tmp_path) and not minari.sniff(tmp_path / 'none')
  (tmp_path / 'metadata.json').write_text('{"total_episodes": 3}')
  assert not minari.sniff(tmp_path)
  with pytest.raises(ValueError, match="expected a folder with Minari's"):
    episodes.open(tmp_path, format='minari')
