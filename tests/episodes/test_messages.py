"""What readers say of what is not there: by name, once, and what was found."""

import io
import pathlib
import types

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes, files
from rpt_jax.episodes import decode, errors, hdf5, listing, parquet, videos
from rpt_jax.episodes.columns import Column
from tests.episodes import odd


def fails(call, *words, kind=ValueError):
  """Refused in one line that has these words, and nothing of Python's."""
  with pytest.raises(kind) as error:
    call()
  text = str(error.value)
  assert '\n' not in text and '0x' not in text and 'Error' not in text, text
  assert all(word in text for word in words), text
  return text


def test_bytes_that_are_no_image():
  call = lambda: decode.image(b'junk')  # noqa: E731
  fails(call, '4 bytes that begin with 6a756e6b', 'PNG', kind=OSError)


def test_a_video_without_pictures(tmp_path):
  av = pytest.importorskip('av')
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('aac', rate=8000)
    silence = np.zeros((1, 1024), np.float32)
    frame = av.AudioFrame.from_ndarray(silence, 'fltp', 'mono')
    frame.sample_rate = 8000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
  for call in (
    lambda: videos.probe(path),
    lambda: videos.frames_at(path, [0.0], 1.0),
  ):
    text = fails(call, 'found no pictures, expected a video')
    assert text.count(str(path)) == 1


def test_what_an_hdf5_file_lacks(tmp_path):
  h5py = pytest.importorskip('h5py')
  path = tmp_path / 'a.hdf5'
  with h5py.File(path, 'w') as file:
    file['a/b'] = np.zeros(3)
  with hdf5.opened(path) as file:
    fails(lambda: hdf5.own(file, 'a/c'), f"{path}: /a holds no 'c'")
    fails(lambda: hdf5.own(file, 'a/b/c'), f"{path}: /a/b holds no 'c'")
    assert hdf5.own(file, 'a/b').shape == (3,)


def test_a_column_that_a_table_lacks(tmp_path):
  pa = pytest.importorskip('pyarrow')
  from pyarrow import parquet as written

  path = tmp_path / 'a.parquet'
  written.write_table(pa.table({'x': [1, 2]}), path)
  tables = parquet.Tables()
  fails(
    lambda: tables.rows(path, ['x', 'y'], 0, 1),
    f"{path}: found no column 'y'",
    kind=episodes.CorruptEpisode,
  )


@pytest.mark.parametrize(
  'format',
  ['aloha', 'flat', 'huggingface', 'mcap', 'npz', 'robomimic', 'video'],
)
def test_nothing_to_read(tmp_path, format):
  fails(
    lambda: episodes.open(tmp_path, format=format),
    f'{tmp_path}: found nothing to read, expected',
  )


def test_a_mask_that_names_nothing(tmp_path):
  h5py = pytest.importorskip('h5py')
  with h5py.File(tmp_path / 'a.hdf5', 'w') as file:
    file['data/demo_0/actions'] = np.zeros((3, 2))
    file['data/demo_0/obs/state'] = np.zeros((3, 2))
    file['mask/train'] = np.array([], 'S8')
  assert len(episodes.open(tmp_path)) == 1
  fails(
    lambda: episodes.open(tmp_path, split='train'),
    'found nothing to read, expected a demonstration in mask/train',
  )


def test_splits_that_are_folders(tmp_path):
  (tmp_path / 'data/a').mkdir(parents=True)
  np.savez(tmp_path / 'data/a/0.npz', action=np.zeros((3, 2)))
  np.savez(tmp_path / 'other.npz', action=np.zeros((3, 2)))

  def below(root):
    return sorted(listing.visible(root, '.npz'))

  root = tmp_path / 'data'
  assert listing.of_split(root, 'a', below, '') == below(root)
  assert listing.of_split(root, 'all', below, '') == below(root)
  fails(
    lambda: listing.of_split(root, 'b', below, ''),
    f"{root}: no split 'b'; it has ['a', 'all']",
  )
  fails(lambda: listing.of_split(root, '..', below, ''), 'leads out of this')


def test_archives_without_numbers_and_instructions_that_are_code(tmp_path):
  np.savez(tmp_path / 'a.npz', name=np.array('x'))
  fails(
    lambda: episodes.open(tmp_path, format='npz'),
    'found no array [T, ...] of numbers',
    'a.npz',
  )
  words = np.array(['pick', None], object)
  np.savez(tmp_path / 'a.npz', action=np.zeros((3, 2)), instruction=words)
  source = episodes.open(tmp_path, state='action')
  fails(
    lambda: source.metadata(0),
    'a.npz: instruction is a pickled object',
    kind=episodes.CorruptEpisode,
  )
  np.savez(tmp_path / 'a.npz', action=np.zeros((3, 2)), task=np.arange(3))
  source = episodes.open(tmp_path, state='action')
  assert source.metadata(0)['instruction'] == ''


def test_frames_of_an_episode_that_differ_or_are_none(tmp_path):
  pa = pytest.importorskip('pyarrow')

  def cells(episode, steps):
    sizes = [(48, 64)] * steps
    if episode == 1:
      sizes[2] = (8, 10)
    images = [Image.fromarray(odd.corner(*size)) for size in sizes]
    values = [{'bytes': odd.png(image), 'path': None} for image in images]
    if episode == 2:
      values[1] = None
    return pa.array(values)

  shape = {'dtype': 'image', 'shape': [48, 64, 3], 'names': None}
  name = odd.CAMERA
  odd.lerobot(tmp_path / 'd', columns={name: cells}, features={name: shape})
  source = episodes.open(tmp_path / 'd')
  assert source[0].observation['image'].shape == (12, 48, 64, 3)
  for index, words in (
    (1, 'episode 1: step 2: found a frame (8, 10, 3), expected (48, 64, 3)'),
    (2, 'episode 2: step 1: found no image, expected its bytes or a path'),
  ):
    kind = episodes.CorruptEpisode
    fails(lambda i=index: source[i], words, '.parquet', kind=kind)


def test_records_without_frames_and_of_other_kinds():
  tfds = pytest.importorskip('tensorflow_datasets')
  from rpt_jax.episodes.rlds import reader, steps

  feature = tfds.features.Image(shape=(4, 4, 3))
  column = Column('image', (4, 4, 3), np.dtype(np.uint8))
  fails(lambda: steps.decoded([], feature, column), 'found none in this record')
  for kind, words in (('tfrecord', '--convert=x'), ('riegeli', 'expected arr')):
    info = types.SimpleNamespace(file_format=types.SimpleNamespace(value=kind))
    builder = types.SimpleNamespace(info=info, data_dir='x')
    text = fails(lambda b=builder: reader._check_format(b), words)
    assert ('--convert' in text) == (kind == 'tfrecord')


def test_a_numeric_task_is_no_instruction():
  from rpt_jax.episodes.rlds import reader

  number = Column('values', (3,), np.dtype(np.int32))
  code = Column('values', (512,), np.dtype(np.int32))
  columns = {'observation/task': number, 'observation/instruction': code}
  assert reader._defaults(columns) == {'task': 'observation/task'}


def test_episodes_that_are_told_by_long_texts(tmp_path):
  pa = pytest.importorskip('pyarrow')
  from pyarrow import parquet as written

  table = pa.table({
    'episode': pa.array(['a', 'a', 'b'], pa.large_string()),
    'action': [[0.0, 1.0]] * 3,
    'state': [[0.0, 1.0]] * 3,
  })  # fmt: skip
  written.write_table(table, tmp_path / 'train.parquet')
  assert episodes.open(tmp_path).lengths.tolist() == [2, 1]


def test_a_fault_of_one_episode_is_its_own():
  def read(error, kind):
    with files.reading('d', kind):
      raise error

  for error in (ValueError('d/a: bad'), OSError('d/a: bad')):
    with pytest.raises(episodes.CorruptEpisode, match='^d/a: bad$'):
      read(error, episodes.CorruptEpisode)
  with pytest.raises(ValueError, match='MemoryError') as caught:
    read(MemoryError(), ValueError)
  assert 'copy it again' not in str(caught.value)


def test_blame_names_a_place_once():
  def blamed(error, *where):
    with errors.blaming(pathlib.Path('d'), *where):
      raise error

  def said(error, *where):
    with pytest.raises(episodes.CorruptEpisode) as caught:
      blamed(error, *where)
    return str(caught.value)

  assert said(ValueError('d: bad'), 'x') == 'd: x: bad'
  assert said(ValueError('d/a: bad'), 'x') == 'x: d/a: bad'
  assert said(KeyError('a'), 'x') == "d: x: KeyError: 'a'"
  assert said(OSError('two\nlines')) == 'd: two lines'
  assert said(episodes.CorruptEpisode('as it is'), 'x') == 'as it is'
  missing = errors.needs('av', 'video')
  missing.__cause__ = ImportError('av')
  with pytest.raises(ValueError, match='needs av') as caught:
    blamed(missing)
  assert not isinstance(caught.value, episodes.CorruptEpisode)


def test_frames_are_stacked_by_step():
  stream = io.BytesIO()
  Image.new('RGB', (4, 3)).save(stream, 'PNG')
  data = stream.getvalue()
  assert decode.stack([data] * 2, decode.image).shape == (2, 3, 4, 3)
  fails(lambda: decode.stack([data, b''], decode.image), 'step 1: found 0 byt')
