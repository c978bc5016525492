"""LeRobot folders: real v2.1 episodes, and both versions as documented."""

import functools
import json
import pathlib
import pickle

import numpy as np
import pytest

from rpt_jax import domains, episodes
from rpt_jax.domains import recorded
from rpt_jax.episodes import lerobot_names, parquet
from rpt_jax.episodes.rlds import png
from tests.episodes.formats.test_video import SIZE, counted, write_video

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')
G1 = pathlib.Path(__file__).parents[3].parent / 'shared/data/g1_lerobot_v21'
needs_g1 = pytest.mark.skipif(not G1.exists(), reason=f'no {G1}')


@needs_g1
def test_real_episodes_agree_in_length_and_content():
  source = episodes.open(G1)
  assert len(source) == 60 and source.fps == 10
  assert source.lengths.sum() == 7135
  assert source.observations == ('state', 'image')
  clips = source.read_all(['state', 'action'])
  np.testing.assert_array_equal(clips.lengths, source.lengths)
  assert clips.arrays['action'].shape == (7135, 26)
  assert clips.arrays['action'].dtype == np.float32
  episode = pickle.loads(pickle.dumps(source))[7]
  assert episode.observation['image'].shape == (141, 120, 160, 3)
  assert episode.is_last.nonzero()[0].tolist() == [140]
  first = clips.offsets[7]
  np.testing.assert_array_equal(
    episode.observation['state'], clips.arrays['state'][first : first + 141]
  )
  assert source.metadata(7)['instruction'].startswith('Pick up the yellow')


LENGTHS, FPS, TASKS = (9, 14, 11), 10, ['push', 'pull']
FEATURES = {
  'observation.state': {
    'dtype': 'float32',
    'shape': [3],
    'names': [['elbow', 'wrist', 'hand']],
  },
  'action': {
    'dtype': 'float32',
    'shape': [2],
    'names': {'motors': ['elbow', 'wrist']},
  },
  'next.reward': {'dtype': 'float32', 'shape': [1], 'names': None},
  'timestamp': {'dtype': 'float32', 'shape': [1], 'names': None},
  'episode_index': {'dtype': 'int64', 'shape': [1], 'names': None},
  'observation.images.front': {
    'dtype': 'video',
    'shape': [3, *SIZE],
    'names': ['channels', 'height', 'width'],
  },
}


def expected_state(episode):
  steps = np.arange(LENGTHS[episode], dtype=np.float32)
  return np.stack([steps, 0 * steps + episode, steps**2], -1)


def rows(episode):
  length = LENGTHS[episode]
  steps = np.arange(length)
  state = expected_state(episode)
  return pa.table({
    'observation.state': pa.array(list(state), pa.list_(pa.float32())),
    'action': pa.array(list(-state[:, :2]), pa.list_(pa.float32(), 2)),
    'next.reward': pa.array(steps == length - 1).cast(pa.float32()),
    'timestamp': pa.array(steps / FPS, pa.float32()),
    'episode_index': np.full(length, episode),
  })  # fmt: skip


def write_info(root, version, **templates):
  info = {
    'codebase_version': version,
    'fps': FPS,
    'total_episodes': len(LENGTHS),
    'chunks_size': 2,
    'splits': {'train': '0:2', 'val': '2:3'},
    'features': FEATURES,
    **templates,
  }
  (root / 'meta').mkdir(parents=True)
  (root / 'meta/info.json').write_text(json.dumps(info))


def write_v2(root):
  write_info(
    root,
    'v2.1',
    data_path='data/chunk-{episode_chunk:03d}/'
    'episode_{episode_index:06d}.parquet',
    video_path='videos/chunk-{episode_chunk:03d}/{video_key}/'
    'episode_{episode_index:06d}.mp4',
  )
  lines = []
  for i, length in enumerate(LENGTHS):
    data = root / f'data/chunk-{i // 2:03d}'
    video = root / f'videos/chunk-{i // 2:03d}/observation.images.front'
    for folder in (data, video):
      folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows(i), data / f'episode_{i:06d}.parquet')
    write_video(video / f'episode_{i:06d}.mp4', length, first=sum(LENGTHS[:i]))
    row = {'episode_index': i, 'tasks': [TASKS[i % 2]], 'length': length}
    lines.append(json.dumps(row))
  (root / 'meta/episodes.jsonl').write_text('\n'.join(lines) + '\n')


def write_v3(root):
  """Episodes 0 and 1 share their files; 2 has a data and a video file more."""
  write_info(
    root,
    'v3.0',
    data_path='data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
    video_path='videos/{video_key}/chunk-{chunk_index:03d}/'
    'file-{file_index:03d}.mp4',
  )
  key = 'videos/observation.images.front'
  data, video = root / 'data/chunk-000', root / key / 'chunk-000'
  meta = root / 'meta/episodes/chunk-000'
  for folder in (data, video, meta):
    folder.mkdir(parents=True)
  for file, first in enumerate((0, 2)):
    indices = (0, 1) if file == 0 else (2,)
    table = pa.concat_tables(rows(i) for i in indices)
    pq.write_table(table, data / f'file-{file:03d}.parquet', row_group_size=5)
    steps = sum(LENGTHS[i] for i in indices)
    path = video / f'file-{file:03d}.mp4'
    write_video(path, steps, first=sum(LENGTHS[:first]))
  starts = (0, LENGTHS[0], 0)
  table = {
    'episode_index': [0, 1, 2],
    'length': LENGTHS,
    'tasks': [[TASKS[i % 2]] for i in range(3)],
    'stats/action/mean': [[0.0, 0.0]] * 3,
  }
  for prefix in ('data', key):
    table[f'{prefix}/chunk_index'] = [0, 0, 0]
    table[f'{prefix}/file_index'] = [0, 0, 1]
  table[f'{key}/from_timestamp'] = [s / FPS for s in starts]
  pq.write_table(pa.table(table), meta / 'file-000.parquet')


@pytest.fixture(params=[write_v2, write_v3], ids=['v2', 'v3'])
def folder(request, tmp_path):
  request.param(tmp_path / 'toy')
  return tmp_path / 'toy'


def test_rows_and_frames_of_an_episode_are_its_own(folder):
  source = episodes.open(folder)
  assert source.lengths.tolist() == list(LENGTHS) and source.fps == FPS
  assert source.streams['image'].shape == (*SIZE, 3)
  for i, episode in enumerate(source):
    state = expected_state(i)
    np.testing.assert_array_equal(episode.observation['state'], state)
    np.testing.assert_array_equal(episode.action, -state[:, :2])
    assert episode.reward.tolist() == [0.0] * (len(state) - 1) + [1.0]
    frames = counted(episode.observation['image'])
    assert frames == list(range(sum(LENGTHS[:i]), sum(LENGTHS[: i + 1])))
    assert source.metadata(i)['instruction'] == TASKS[i % 2]


def test_splits_and_mappings(folder):
  val = episodes.open(folder, split='val', size=(24, 32))
  assert len(val) == 1 and val.metadata(0)['index'] == 2
  assert val[0].observation['image'].shape == (11, 24, 32, 3)
  mapped = episodes.open(
    folder, both='observation.state+action', action='observation.state'
  )
  assert mapped.observations == ('both',)
  assert mapped.streams['both'].shape == (5,)
  assert mapped[1].observation['both'].shape == (14, 5)
  assert mapped[1].action.shape == (14, 3)
  with pytest.raises(ValueError, match=r"no split 'test'.*train.*val"):
    episodes.open(folder, split='test')
  with pytest.raises(ValueError, match="image='front' is not among"):
    episodes.open(folder, image='front')


def test_actions_come_without_decoding_video(folder):
  for path in folder.rglob('*.mp4'):
    path.write_bytes(b'')
  source = episodes.open(folder)
  assert source.read_all(['action']).arrays['action'].shape == (34, 2)
  with pytest.raises(episodes.CorruptEpisode, match='mp4'):
    source[0]


def test_a_video_shorter_than_its_rows_is_named(folder):
  last = sorted(folder.rglob('*.mp4'))[-1]
  write_video(last, LENGTHS[2] - 3)
  source = episodes.open(folder)
  with pytest.raises(episodes.CorruptEpisode, match='no frame at 0.800 s'):
    source[2]
  assert source[1].length == LENGTHS[1]


def test_faults_of_files_name_them(folder):
  first = sorted(folder.rglob('data/**/*.parquet'))[0]
  last = sorted(folder.rglob('*.mp4'))[-1]
  last.write_bytes(last.read_bytes()[:500])
  table = pq.read_table(first)
  pq.write_table(table.slice(1), first)
  source = episodes.open(folder)
  with pytest.raises(episodes.CorruptEpisode, match='8 rows of episode 0'):
    source.read(0, ['state'])
  with pytest.raises(episodes.CorruptEpisode, match=last.name):
    source[2]
  first.unlink()
  with pytest.raises(episodes.CorruptEpisode, match=f'{first.name}: missing'):
    source.read(0, ['state'])
  info = folder / 'meta/info.json'
  good = info.read_text()
  info.write_text(good.replace('"total_episodes": 3', '"total_episodes": 4'))
  with pytest.raises(ValueError, match='3 episodes, .* counts 4'):
    episodes.open(folder)
  info.write_text(good.replace('"v2.1"', '"v1.6"').replace('"v3.0"', '"v1.6"'))
  with pytest.raises(ValueError, match=r'is v1\.6, expected v2\.x or v3\.x'):
    episodes.open(folder)


def test_values_that_are_not_finite_never_pass(folder):
  path = sorted(folder.rglob('data/**/*.parquet'))[-1]
  table = pq.read_table(path)
  values = [[np.nan, 0.0]] * table.num_rows
  at = table.schema.get_field_index('action')
  table = table.set_column(at, 'action', pa.array(values))
  pq.write_table(table, path)
  source = episodes.open(folder)
  with pytest.raises(
    episodes.CorruptEpisode, match=r'episode 2, action \(elbow\): s'
  ):
    source.read(2, ['action'])
  assert np.isnan(source.read(2, ['action'], finite=False)['action']).any()
  assert source.read(2, ['state'])['state'].shape == (11, 3)


def test_numbers_have_the_names_that_the_dataset_gives(folder):
  names = {'state': ('elbow', 'wrist', 'hand'), 'action': ('elbow', 'wrist')}
  source = episodes.open(folder)
  assert source.labels == names and source.scaled_from == {}
  both = episodes.open(folder, felt='action+observation.state')
  assert both.labels['felt'] == names['action'] + names['state']
  settings = recorded.Settings(str(folder), cameras=('image',))
  domain = recorded.Recorded('robot', settings)
  assert domains.number_names(domain) == {
    'proprio': names['state'],
    'action': names['action'],
  }
  assert domains.as_recorded(domain).columns == {
    'image': ('observation.images.front',),
    'proprio': ('observation.state',),
  }


@pytest.mark.parametrize(
  'names, expected',
  [
    (['a', 'b'], ('a', 'b')),
    ([['a'], ['b']], ('a', 'b')),
    ({'motors': ['a', 'b']}, ('a', 'b')),
    ({'b': 1, 'a': 0}, ('a', 'b')),
    ({'0': 'a', '1': 'b'}, ('a', 'b')),
    ({'arm': ['a'], 'hand': ['b']}, ('a', 'b')),
    ({'left': {'motors': ['a']}, 'right': {'motors': ['b']}}, ('a', 'b')),
    (
      {'left': {'motors': ['a']}, 'right': {'motors': ['a']}},
      ('left.a', 'right.a'),
    ),
    ({'motors': ['hand', 'hand']}, ('hand', 'hand')),  # As LIBERO's fingers.
    ({'arm': {'a': 0}, 'hand': {'b': 0}}, ('a', 'b')),
    ([11, 12], ('11', '12')),
    (['a', 2], ('a', '2')),
    (['a \n', ' b'], ('a', 'b')),
    ([0, 1], ()),  # Which one it is, is known.
    (['a'], ()),  # Of the whole column.
    (['a', ''], ()),
    (['a', None], ()),
    (['a', True], ()),
    ({}, ()),
    (None, ()),
    ('ab', ()),
    (functools.reduce(lambda x, _: [x], range(900), ['a', 'b']), ()),
  ],
)
def test_dialects_of_names(names, expected):
  assert lerobot_names.labels({'names': names, 'shape': [2]}) == expected


def test_cameras_kept_as_images_in_the_table(tmp_path):
  write_v2(tmp_path)
  info = json.loads((tmp_path / 'meta/info.json').read_text())
  info['features']['observation.images.front']['dtype'] = 'image'
  (tmp_path / 'meta/info.json').write_text(json.dumps(info))
  frames = np.random.default_rng(0).integers(0, 256, (14, 8, 9, 3), np.uint8)
  path = tmp_path / 'data/chunk-000/episode_000001.parquet'
  cells = [{'bytes': b, 'path': None} for b in png.encode(frames)]
  table = pq.read_table(path)
  pq.write_table(
    table.append_column('observation.images.front', pa.array(cells)), path
  )
  found = episodes.open(tmp_path).read(1, ['image'])['image']
  np.testing.assert_array_equal(found, frames)
  small = episodes.open(tmp_path, size=(4, 6))
  assert small.scaled_from == {'image': SIZE}
  assert small.streams['image'].shape == (4, 6, 3)


def write_many(root, episodes, steps=10, group=None):
  """v3 without cameras: all episodes in one file, of one row group or more."""
  numbers = {k: v for k, v in FEATURES.items() if v['dtype'] != 'video'}
  (root / 'meta/episodes/chunk-000').mkdir(parents=True)
  info = {
    'codebase_version': 'v3.0',
    'fps': FPS,
    'total_episodes': episodes,
    'features': numbers,
    'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet',
  }
  (root / 'meta/info.json').write_text(json.dumps(info))
  number = np.arange(episodes)
  meta = {
    'episode_index': number,
    'length': np.full(episodes, steps),
    'tasks': [[TASKS[i % 2]] for i in number],
    'data/chunk_index': np.zeros_like(number),
    'data/file_index': np.zeros_like(number),
  }
  path = root / 'meta/episodes/chunk-000/file-000.parquet'
  pq.write_table(pa.table(meta), path)
  row = np.arange(episodes * steps, dtype=np.float32)
  state = np.stack([row, row % steps, (row % steps) ** 2], -1)
  (root / 'data/chunk-000').mkdir(parents=True)
  table = {
    'observation.state': pa.FixedSizeListArray.from_arrays(state.ravel(), 3),
    'action': pa.FixedSizeListArray.from_arrays(state[:, :2].ravel(), 2),
    'next.reward': row,
    'timestamp': (row % steps) / FPS,
    'episode_index': np.repeat(number, steps),
  }
  path = root / 'data/chunk-000/file-000.parquet'
  pq.write_table(pa.table(table), path, row_group_size=group)
  return path


@pytest.mark.parametrize('group', [None, 33, 7])
def test_a_file_of_many_episodes_is_opened_once(tmp_path, monkeypatch, group):
  """Read in order each row is decoded once, and whole groups for who goes back.

  In pieces of 16 rows, of which one that reads in order holds two at most.
  """
  write_many(tmp_path, 50, group=group)
  monkeypatch.setattr(parquet, '_PIECE', 16)
  source = episodes.open(tmp_path)
  opened, decoded, rows = [], [], []

  class Counted(pq.ParquetFile):
    def __init__(self, path):
      opened.append(path)
      super().__init__(path)

    def read_row_group(self, i, columns):
      decoded.append(i)
      return super().read_row_group(i, columns=columns)

    def iter_batches(self, size, row_groups, columns):
      for piece in super().iter_batches(size, row_groups, columns):
        rows.append(piece.num_rows)
        yield piece

  monkeypatch.setattr(pq, 'ParquetFile', Counted)
  for i in range(50):
    values = source.read(i, ('state', 'action'))
    expected = np.arange(10 * i, 10 * i + 10)
    np.testing.assert_array_equal(values['state'][:, 0], expected)
    np.testing.assert_array_equal(values['action'][:, 1], np.arange(10))
    groups = source.store._tables._groups.values()
    held = [each._table.num_rows for each in groups]
    assert max(held) <= 16 + 10
  assert len(opened) == 1 and not decoded
  assert sum(rows) == 500 and max(rows) <= 16
  clips = source.read_all(('state',), [*range(49, -1, -7)])
  np.testing.assert_array_equal(
    clips.arrays['state'][::10, 0], np.arange(49, -1, -7) * 10.0
  )
  assert decoded == ([0] if group is None else sorted({*decoded})[::-1])
  assert source.metadata(7)['instruction'] == 'pull'


def test_a_row_group_that_ends_early_is_named(tmp_path, monkeypatch):
  write_many(tmp_path, 50)
  source = episodes.open(tmp_path)
  monkeypatch.setattr(
    pq.ParquetFile, 'iter_batches', lambda *args, **kwargs: iter(())
  )
  with pytest.raises(episodes.CorruptEpisode, match='ends before its last row'):
    source.read(3, ['state'])


def test_rows_in_another_order_are_found(tmp_path):
  """Nobody promises that a file holds its episodes one after the other."""
  path = write_many(tmp_path, 6)
  table = pq.read_table(path)
  order = np.random.default_rng(0).permutation(6)
  rows = (order[:, None] * 10 + np.arange(10)).ravel()
  pq.write_table(table.take(rows), path)
  source = episodes.open(tmp_path)
  for i in range(6):
    expected = np.arange(10 * i, 10 * i + 10)
    np.testing.assert_array_equal(
      source.read(i, ['state'])['state'][:, 0], expected
    )


def test_an_episode_of_fewer_rows_is_named(tmp_path):
  path = write_many(tmp_path, 6)
  table = pq.read_table(path)
  pq.write_table(table.slice(0, 55), path)
  source = episodes.open(tmp_path)
  source.read(4, ['state'])
  with pytest.raises(episodes.CorruptEpisode, match='5 rows of episode 5'):
    source.read(5, ['state'])


def test_what_is_done_is_terminal(tmp_path):
  path = write_many(tmp_path, 2)
  table = pq.read_table(path)
  done = np.arange(20) == 9  # The second episode is cut off.
  pq.write_table(table.append_column('next.done', pa.array(done)), path)
  info = json.loads((tmp_path / 'meta/info.json').read_text())
  info['features']['next.done'] = {'dtype': 'bool', 'shape': [1]}
  (tmp_path / 'meta/info.json').write_text(json.dumps(info))
  first, second = episodes.open(tmp_path)
  assert first.is_terminal.tolist() == [False] * 9 + [True]
  assert first.discount[-1] == 0
  assert not second.is_terminal.any()
