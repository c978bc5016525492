"""Datasets as `datasets` wrote them, others by it or by pyarrow; their faults.

`make_huggingface` wrote those in `data`.
"""

import io
import json
import pathlib
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes.formats import huggingface, lerobot, rlds
from tests.episodes.formats.make_huggingface import (
  DATA,
  LENGTHS,
  encoded,
  steps,
  whole,
)

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')
FRONT = 'observation.images.front'
RNG = np.random.default_rng(5)


@pytest.fixture
def hf():
  return pytest.importorskip('datasets')


@pytest.fixture
def saved(tmp_path):
  """A copy of two splits that may be damaged."""
  return shutil.copytree(DATA / 'saved', tmp_path / 'saved')


def of(rows, name, episode):
  return np.stack([r[name] for r in rows if r['episode_index'] == episode])


def rows_of(*lengths):
  """Rows that are steps, and nothing but numbers."""
  return {
    'episode_index': np.repeat(np.arange(len(lengths)), lengths),
    'frame_index': np.concatenate([np.arange(n) for n in lengths]),
    'state': [*RNG.normal(size=(sum(lengths), 3))],
    'action': [*RNG.normal(size=(sum(lengths), 2))],
  }


def write(path, columns, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  table = columns if isinstance(columns, pa.Table) else pa.table(columns)
  table = table.replace_schema_metadata({'huggingface': '{}'})
  pq.write_table(table, path, **options)
  return path.parent


def test_rows_that_are_steps():
  source = pickle.loads(pickle.dumps(episodes.open(DATA / 'saved')))
  assert source.fps is None and source.left_out == {}
  assert source.lengths.tolist() == [*LENGTHS['train'], *LENGTHS['test']]
  assert source.observations == ('image', 'state')
  for index, split, episode in ((1, 'train', 1), (2, 'test', 0)):
    rows, read = steps(split), source[index]
    for stream, name in (('image', FRONT), ('state', 'observation.state')):
      np.testing.assert_array_equal(
        read.observation[stream], of(rows, name, episode)
      )
    np.testing.assert_array_equal(read.action, of(rows, 'action', episode))
    np.testing.assert_array_equal(
      read.is_terminal, of(rows, 'next.done', episode)
    )
    assert source.metadata(index) == {
      'episode': episode,
      'instruction': f'task {episode}',
    }
  test = episodes.open(DATA / 'saved', split='test', x='depth')
  assert test.lengths.tolist() == [4]
  np.testing.assert_array_equal(
    test[0].observation['x'], of(steps('test'), 'depth', 0)
  )
  assert test.metadata(0)['instruction'] == 'task 0'
  with pytest.raises(ValueError, match=r"no split 'val'.*test.*train"):
    episodes.open(DATA / 'saved', split='val')
  with pytest.raises(ValueError, match='observation.images.front'):
    episodes.open(DATA / 'saved', image='wrist')
  one = episodes.open(DATA / 'saved/train')
  assert one.lengths.tolist() == [*LENGTHS['train']]


def test_rows_that_are_episodes():
  source = pickle.loads(pickle.dumps(episodes.open(DATA / 'hub')))
  assert source.lengths.tolist() == [*LENGTHS['train']]
  assert source.observations == ('image', 'state')
  for index, row in enumerate(whole()):
    read = source[index]
    np.testing.assert_array_equal(read.observation['image'], row['frames'][:-1])
    np.testing.assert_array_equal(
      read.observation['state'], row['observations'][:-1]
    )
    for field, name in (
      ('action', 'actions'),
      ('reward', 'rewards'),
      ('is_terminal', 'dones'),
    ):
      np.testing.assert_array_equal(getattr(read, field), row[name])
    metadata = source.metadata(index)
    assert metadata['instruction'] == row['language_instruction']
    assert metadata['success'] is row['success']
    assert metadata['episode'] == index
  assert len(episodes.open(DATA / 'hub', split='train')) == 2


def test_all_that_datasets_can_hold(hf, tmp_path):
  number, rows = hf.Value('float32'), []
  for step in range(7):
    rows.append(
      {
        'episode_id': 'ab'[step > 2],
        'pose': RNG.normal(size=(2, 2)),
        'grey': Image.fromarray(RNG.integers(0, 256, (4, 5), np.uint8)),
        'raw': RNG.integers(0, 256, (4, 5, 3), np.uint8),
        'label': step % 2,
        'state': step,
        'sound': None,
        'note': {'x': 1},
        'task': f'do {step}',
      }
    )
  features = hf.Features({
    'episode_id': hf.Value('string'),
    'pose': hf.Sequence(hf.Sequence(number)),
    'grey': hf.Image(),
    'raw': hf.Array3D((4, 5, 3), 'uint8'),
    'label': hf.ClassLabel(names=['no', 'yes']),
    'state': hf.Value('float64'),
    'sound': hf.Audio(),
    'note': {'x': hf.Value('int64')},
    'task': hf.Value('string'),
  })  # fmt: skip
  saved = hf.Dataset.from_list(rows, features)
  saved.save_to_disk(tmp_path / 'saved', num_shards=3)
  saved.to_parquet(tmp_path / 'hub/data/train.parquet', batch_size=2)
  for name in ('saved', 'hub'):
    source = episodes.open(tmp_path / name)
    assert source.lengths.tolist() == [3, 4]
    assert source.observations == ('grey', 'raw', 'state')
    assert source.left_out['sound'].startswith('Audio')
    assert 'struct' in source.left_out['note']
    read = source[1].observation
    grey = np.stack([np.asarray(row['grey']) for row in rows[3:]])
    np.testing.assert_array_equal(read['grey'], grey[..., None].repeat(3, -1))
    np.testing.assert_array_equal(read['raw'], [row['raw'] for row in rows[3:]])
    assert read['state'].tolist() == [[3], [4], [5], [6]]
    assert source.metadata(1) == {'episode': 'b', 'instruction': 'do 3'}
    pose = episodes.open(tmp_path / name, pose='pose', label='label')
    np.testing.assert_allclose(
      pose[0].observation['pose'], [row['pose'] for row in rows[:3]], 1e-6
    )
    assert pose[0].observation['label'].tolist() == [0, 1, 0]


def test_arrays_of_any_length_are_episodes(hf, tmp_path):
  rows = [
    {'episode': n, 'state': RNG.normal(size=(n, 4)), 'goal': RNG.normal(size=2),
     'note': [f'do {n}'] * n}
    for n in (3, 5)
  ]  # fmt: skip
  features = hf.Features({
    'episode': hf.Value('int32'),
    'state': hf.Array2D((None, 4), 'float32'),
    'goal': hf.Sequence(hf.Value('float32'), length=2),
    'note': hf.Sequence(hf.Value('string')),
  })  # fmt: skip
  hf.Dataset.from_list(rows, features).save_to_disk(tmp_path / 'x')
  source = episodes.open(tmp_path / 'x', instruction='note')
  assert source.lengths.tolist() == [3, 5]
  np.testing.assert_allclose(
    source[1].observation['state'], rows[1]['state'], 1e-6
  )
  assert source.left_out == {'goal': 'one for a whole episode'}
  assert source.metadata(1)['instruction'] == 'do 5'
  assert source.metadata(1)['episode'] == 5


def test_steps_are_put_in_order(tmp_path):
  columns = rows_of(4, 6)
  order = np.array([2, 0, 3, 1, 9, 4, 8, 5, 7, 6])
  folder = write(
    tmp_path / 'data/train-00000-of-00001.parquet',
    pa.table(columns).take(order),
    row_group_size=3,
  )
  source = episodes.open(folder.parent)
  for index, part in enumerate((slice(0, 4), slice(4, 10))):
    np.testing.assert_allclose(
      source[index].observation['state'], columns['state'][part], 1e-6
    )
  columns['frame_index'][5] = 0
  write(tmp_path / 'twice/train.parquet', columns)
  with pytest.raises(
    episodes.CorruptEpisode, match='frame_index: found 0 twice'
  ):
    episodes.open(tmp_path / 'twice')[1]


def numbered(table):
  """A table whose texts and whole numbers are those of a dictionary."""
  for at, field in enumerate(table.schema):
    if pa.types.is_string(field.type) or pa.types.is_int64(field.type):
      column = table[field.name].dictionary_encode()
      table = table.set_column(at, field.name, column)
  return table


def test_texts_and_numbers_of_a_dictionary(saved):
  before = episodes.open(saved)
  said = [before.metadata(i)['instruction'] for i in range(len(before))]
  for file in saved.glob('*/*.arrow'):
    with pa.ipc.open_stream(file.read_bytes()) as reader:
      table = numbered(reader.read_all())
    assert pa.types.is_dictionary(table['task'].type)
    with pa.ipc.new_stream(file, table.schema) as writer:
      writer.write_table(table)
  source = episodes.open(saved)
  assert source.lengths.tolist() == before.lengths.tolist()
  assert source.left_out == before.left_out
  assert [source.metadata(i)['instruction'] for i in range(len(said))] == said


def test_an_episode_may_lie_in_two_files(tmp_path):
  table = pa.table(rows_of(4, 6, 2))
  for number, part in enumerate((table[:7], table[7:7], table[7:])):
    write(tmp_path / f'train-{number:05d}-of-00003.parquet', part)
  source = episodes.open(tmp_path)
  assert source.lengths.tolist() == [4, 6, 2]
  for index, first in enumerate((0, 4, 10)):
    np.testing.assert_allclose(
      source[index].action, table['action'].to_pylist()[first:][
        : source.lengths[index]
      ], 1e-6
    )  # fmt: skip
  (tmp_path / 'train-00001-of-00003.parquet').unlink()
  with pytest.raises(ValueError, match='train-00001-of-00003.parquet: missing'):
    episodes.open(tmp_path)


def test_rows_of_an_episode_lie_together(tmp_path):
  table = pa.table(rows_of(3, 3))
  folder = write(tmp_path / 'x.parquet', table.take([0, 1, 3, 2, 4, 5]))
  with pytest.raises(ValueError, match=r'row 3 is of episode_index 0 again'):
    episodes.open(folder)


def test_a_split_has_its_own_numbers(tmp_path):
  for split, lengths in (('train', (2, 3)), ('test', (4,))):
    write(tmp_path / f'data/{split}-00000-of-00001.parquet', rows_of(*lengths))
  assert episodes.open(tmp_path).lengths.tolist() == [4, 2, 3]
  assert episodes.open(tmp_path, split='train').lengths.tolist() == [2, 3]
  write(tmp_path / 'more/train-00000-of-00001.parquet', rows_of(2))
  with pytest.raises(ValueError, match="'train' lies in .*data and in .*more"):
    episodes.open(tmp_path)


def test_what_is_no_dataset_of_episodes(tmp_path):
  columns = rows_of(3)
  del columns['episode_index']
  folder = write(tmp_path / 'x/train.parquet', columns)
  with pytest.raises(
    ValueError, match=r'frame_index.*expected one of.*rows th'
  ):
    episodes.open(folder)
  columns['episode'] = pa.array([0, None, 0])
  folder = write(tmp_path / 'y/train.parquet', columns)
  with pytest.raises(ValueError, match='episode: found a row without a value'):
    episodes.open(folder)
  columns['episode'] = [0.0, 0.0, 1.0]
  folder = write(tmp_path / 'z/train.parquet', columns)
  with pytest.raises(ValueError, match='episode: found double, expected whole'):
    episodes.open(folder)
  folder = write(tmp_path / 'e/train.parquet', pa.table(rows_of(3))[:0])
  with pytest.raises(ValueError, match='found no rows'):
    episodes.open(folder)
  write(tmp_path / 'o/train-00000-of-00002.parquet', rows_of(3))
  columns = rows_of(2) | {'state': [*RNG.normal(size=2)]}
  folder = write(tmp_path / 'o/train-00001-of-00002.parquet', columns)
  with pytest.raises(ValueError, match='of-00002.parquet: found the columns'):
    episodes.open(folder)


def test_steps_of_another_shape(tmp_path):
  columns = rows_of(3, 4)
  columns['state'][4] = np.zeros(2)
  columns['action'] = pa.array(columns['action'][:2] + [None, [1, None]]
                               + columns['action'][4:])  # fmt: skip
  folder = write(tmp_path / 'train.parquet', columns)
  source = episodes.open(folder)
  for index, words in (
    (0, 'action: step 2 has 0 numbers, expected 2'),
    (1, 'state: step 1 has 2 numbers, expected 3'),
  ):
    with pytest.raises(episodes.CorruptEpisode, match=words):
      source[index]
  with pytest.raises(episodes.CorruptEpisode, match='action: step 0 has no n'):
    source.read(1, ['action'])


def test_values_that_are_not_finite(tmp_path):
  columns = rows_of(3)
  columns['state'][1] = np.array([0, np.nan, 0])
  source = episodes.open(write(tmp_path / 'train.parquet', columns))
  with pytest.raises(episodes.CorruptEpisode, match='state: step 1 is not fin'):
    source[0]


def test_lists_of_other_lengths(tmp_path):
  lengths = {'observations': (4, 3), 'actions': (3, 4), 'rewards': (3, 5)}
  columns = {
    name: pa.array([RNG.normal(size=(n, 2)).tolist() for n in each])
    for name, each in lengths.items()
  }
  columns['rewards'] = pa.array([[0.0] * 3, [0.0] * 5])
  source = episodes.open(write(tmp_path / 'train.parquet', columns))
  assert source.lengths.tolist() == [3, 4]
  assert source[0].observation['state'].shape == (3, 2)
  with pytest.raises(
    episodes.CorruptEpisode, match='observations: found 3 steps, ex'
  ):
    source.read(1, ['state'])
  with pytest.raises(
    episodes.CorruptEpisode, match='rewards: found 5 steps, expec'
  ):
    source.read(1, ['reward'])


def frames_in_files(folder, paths):
  struct = pa.struct([('bytes', pa.binary()), ('path', pa.string())])
  values = [{'bytes': None, 'path': path} for path in paths]
  columns = rows_of(len(paths)) | {'front': pa.array(values, struct)}
  return write(folder / 'train.parquet', columns)


def test_frames_in_files_lie_in_the_folder(tmp_path):
  frames = RNG.integers(0, 256, (2, 4, 6, 3), np.uint8)
  for i, frame in enumerate(frames):
    Image.fromarray(frame).save(tmp_path / f'{i}.png')
  (tmp_path / 'x/images').mkdir(parents=True)
  shutil.copy(tmp_path / '0.png', tmp_path / 'x/images/0.png')
  shutil.copy(tmp_path / '1.png', tmp_path / 'x/images/1.png')
  folder = frames_in_files(tmp_path / 'x', ['images/0.png', 'images/1.png'])
  source = episodes.open(folder)
  np.testing.assert_array_equal(source[0].observation['image'], frames)
  for outside in ('../1.png', str(tmp_path / '1.png'), 'images/2.png'):
    frames_in_files(folder, ['images/0.png', outside])
    with pytest.raises(episodes.CorruptEpisode, match='front: step 1: '):
      episodes.open(folder)[0]
  frames_in_files(folder, ['../0.png', 'images/0.png'])
  with pytest.raises(ValueError, match='front: the first step.*leads out'):
    episodes.open(folder)


def test_frames_that_differ(tmp_path):
  def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'PNG')
    return {'bytes': file.getvalue(), 'path': None}

  near = RNG.integers(0, 1 << 16, (4, 6), np.uint16)
  big, small = (np.zeros((n, 6, 3), np.uint8) for n in (5, 4))
  columns = rows_of(2, 2) | {
    'depth': [png(near)] * 4,
    'front': [png(small), png(big), png(small), {**png(small), 'bytes': b'?'}],
  }
  source = episodes.open(write(tmp_path / 'train.parquet', columns))
  depth = episodes.open(tmp_path, x='depth')[0].observation['x']
  np.testing.assert_array_equal(depth, np.stack([near, near])[..., None])
  words = r'front: step 1: found a frame \(5, 6, 3\), expected \(4, 6, 3\)'
  with pytest.raises(episodes.CorruptEpisode, match=words):
    source[0]
  with pytest.raises(
    episodes.CorruptEpisode, match='front: step 1: found 1 byt'
  ):
    source[1]


def test_damaged_streams(saved):
  file = saved / 'train/data-00000-of-00001.arrow'
  stream = file.read_bytes()
  for damaged in (stream[:-8], stream[: len(stream) // 2], b''):
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match='data-00000-of-00001.arrow'):
      episodes.open(saved)
  with pa.ipc.open_stream(stream) as reader:
    table = reader.read_all()
  options = pa.ipc.IpcWriteOptions(compression='zstd')
  zeros = pa.table({'episode_index': np.zeros(1 << 16, np.int64)})
  with pa.ipc.new_stream(file, zeros.schema, options=options) as writer:
    writer.write_table(zeros)
  with pytest.raises(ValueError, match='arrow: its batches are packed'):
    episodes.open(saved)
  with pa.ipc.new_stream(file, table.schema) as writer:
    writer.write_table(table)
  assert episodes.open(saved).lengths.tolist() == [3, 5, 4]
  at = 4 + stream.index(np.array([0, 6, 12], '<i4').tobytes())  # Of tasks.
  hostile = bytearray(stream)
  hostile[at : at + 4] = (1 << 30).to_bytes(4, 'little')
  file.write_bytes(hostile)
  with pytest.raises(ValueError, match='arrow: .*[Oo]ffset'):
    episodes.open(saved)


def test_what_state_json_names(saved):
  path = saved / 'train/state.json'
  state = json.loads(path.read_text())
  for about, words in (
    (
      {'_data_files': [{'filename': '../test/data-00000-of-00001.arrow'}]},
      'out',
    ),
    ({'_data_files': [{'filename': 'other.arrow'}]}, 'other.arrow: no such'),
    ({'_data_files': 'x'}, 'no list of file names'),
    ({'_indices_data_files': [{'filename': 'y'}]}, 'flatten_indices'),
  ):
    path.write_text(json.dumps({**state, **about}))
    with pytest.raises(ValueError, match=words):
      episodes.open(saved)
  (saved / 'dataset_dict.json').write_text('{"splits": ["../x"]}')
  with pytest.raises(ValueError, match='leads out'):
    episodes.open(saved)
  (saved / 'dataset_dict.json').write_text('{"splits": 3}')
  with pytest.raises(ValueError, match='splits is 3'):
    episodes.open(saved)


def test_damaged_parquet(tmp_path):
  file = tmp_path / 'data/train.parquet'
  folder = write(file, rows_of(2))
  file.write_bytes(file.read_bytes()[:-30])
  with pytest.raises(ValueError, match='train.parquet'):
    episodes.open(folder)


def test_others_keep_their_own(saved, tmp_path):
  for folder in (saved, saved / 'train'):
    assert rlds.sniff(folder) == 0 and huggingface.sniff(folder) == 1
  shutil.rmtree(saved / 'test')
  assert rlds.sniff(saved) == 0
  prepared = tmp_path / 'prepared/1.0.0'
  prepared.mkdir(parents=True)
  (prepared / 'dataset_info.json').write_text('{}')
  assert rlds.sniff(prepared) == rlds.sniff(prepared.parent) == 1
  assert huggingface.sniff(prepared) == huggingface.sniff(prepared.parent) == 0
  robot = tmp_path / 'many/robot'
  write(robot / 'data/chunk-000/file-000.parquet', rows_of(3))
  write(robot / 'meta/tasks.parquet', rows_of(3))
  (robot / 'meta/info.json').write_text('{}')
  assert lerobot.sniff(robot) == 1 and huggingface.sniff(robot) == 0
  assert huggingface.sniff(robot.parent) == 0
  assert huggingface.sniff(pathlib.Path('none/of\0these')) == 0
  pq.write_table(pa.table(rows_of(2)), tmp_path / 'x.parquet')
  assert huggingface.sniff(tmp_path / 'x.parquet') == 0.1
  assert len(episodes.open(tmp_path / 'x.parquet')) == 1
  with pytest.raises(ValueError, match='holds the datasets'):
    episodes.open(shutil.copytree(DATA, tmp_path / 'copies').parent / 'copies')


def test_frames_are_decoded_when_asked_for(monkeypatch):
  monkeypatch.setattr('rpt_jax.episodes.decode.image', None)
  source = episodes.open(DATA / 'saved')
  np.testing.assert_array_equal(
    source.read(0, ['action'])['action'], of(steps('train'), 'action', 0)
  )
  assert encoded(steps('test')[0][FRONT])['bytes'].startswith(b'\x89PNG')
