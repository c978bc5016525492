"""Replay buffers as zarr 2 wrote them, others by zarr 3; what hostile ones do.

`make_replay_zarr` wrote those in `data`.
"""

import json
import pickle
import resource
import shutil
import zipfile
import zlib

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import zarr
from tests.episodes.formats.make_replay_zarr import DATA, ENDS, pusht, umi

POSE = ('eef_pos', 'eef_rot_axis_angle', 'gripper_width')
SECOND = slice(*ENDS[:2])


@pytest.fixture
def buffer(tmp_path):
  """A copy of pusht that may be damaged."""
  return shutil.copytree(DATA / 'pusht.zarr', tmp_path / 'copy.zarr')


def change(folder, **about):
  path = folder / '.zarray'
  path.write_text(json.dumps({**json.loads(path.read_text()), **about}))


def write(root, name, array, chunks=None, **about):
  """An array that nothing packs: a chunk for so many rows of it."""
  folder = root / name
  folder.mkdir(parents=True)
  chunks = chunks or max(len(array), 1)
  head = {
    'zarr_format': 2,
    'shape': list(array.shape),
    'chunks': [chunks, *array.shape[1:]],
    'dtype': array.dtype.str,
    'compressor': None,
    'filters': None,
    'order': 'C',
    'fill_value': 0,
  }
  (folder / '.zarray').write_text(json.dumps({**head, **about}))
  for i in range(-(-len(array) // chunks)):
    chunk = np.zeros((chunks, *array.shape[1:]), array.dtype)
    rows = array[i * chunks : (i + 1) * chunks]
    chunk[: len(rows)] = rows
    key = '.'.join(['0'] * (array.ndim - 1))
    (folder / f'{i}.{key}'.rstrip('.')).write_bytes(chunk.tobytes())


def test_pusht_has_frames_as_floats():
  source = pickle.loads(pickle.dumps(episodes.open(DATA / 'pusht.zarr')))
  assert source.name == 'pusht' and source.fps is None
  assert source.lengths.tolist() == [4, 7, 5]
  assert source.observations == ('image', 'state')
  assert source.streams['image'].shape == (6, 6, 3)
  expected, episode = pusht(), source[1]
  assert episode.observation['image'].dtype == np.uint8
  np.testing.assert_array_equal(
    episode.observation['image'], expected['img'][SECOND]
  )
  np.testing.assert_array_equal(
    episode.observation['state'], expected['state'][SECOND]
  )
  np.testing.assert_array_equal(episode.action, expected['action'][SECOND])
  assert episode.is_last.nonzero()[0].tolist() == [6]
  metadata = source.metadata(1)
  assert (metadata['first'], metadata['stop']) == ENDS[:2]
  assert metadata['instruction'] == ''


def test_columns_can_be_named():
  source = episodes.open(DATA / 'pusht.zarr', keypoint='keypoint', x='state')
  assert source.observations == ('keypoint', 'x')
  np.testing.assert_array_equal(
    source[2].observation['keypoint'], pusht()['keypoint'][ENDS[1] :]
  )
  with pytest.raises(ValueError, match="no split 'train'.*'all'"):
    episodes.open(DATA / 'pusht.zarr', split='train')


def test_umi_joins_what_the_gripper_feels():
  pytest.importorskip('imagecodecs')
  source = pickle.loads(pickle.dumps(episodes.open(DATA / 'umi.zarr.zip')))
  assert source.name == 'umi' and source.observations == ('image', 'state')
  expected, episode = umi(), source[1]
  np.testing.assert_array_equal(
    episode.observation['image'], expected['camera0_rgb'][SECOND]
  )
  state = [expected[f'robot0_{part}'][SECOND] for part in POSE]
  np.testing.assert_array_equal(
    episode.observation['state'], np.concatenate(state, -1)
  )
  assert episode.action.shape == (7, 0)
  start = episodes.open(DATA / 'umi.zarr.zip', x='robot0_demo_start_pose')
  np.testing.assert_allclose(
    start[0].observation['x'], expected['robot0_demo_start_pose'][:4], 1e-6
  )


def test_a_folder_holds_one(buffer, tmp_path):
  assert episodes.open(tmp_path).lengths.tolist() == [4, 7, 5]
  shutil.copy(DATA / 'umi.zarr.zip', tmp_path)
  with pytest.raises(ValueError, match='holds copy.zarr, umi.zarr.zip; give'):
    episodes.open(tmp_path)


def test_only_chunks_of_the_episode_are_read(buffer):
  for chunk in (buffer / 'data').glob('*/2.*'):  # Rows 14 to 16.
    chunk.write_bytes(b'?')
  source = episodes.open(buffer)
  np.testing.assert_array_equal(source[1].action, pusht()['action'][SECOND])
  with pytest.raises(episodes.CorruptEpisode, match='episode 2.*img'):
    source[2]


@pytest.mark.parametrize('version', (2, 3))
def test_both_versions_of_the_format(tmp_path, version):
  library = pytest.importorskip('zarr', minversion='3.0')
  root = library.open_group(tmp_path / 'x.zarr', mode='w', zarr_format=version)
  rng = np.random.default_rng(2)
  arrays = {
    'action': rng.normal(size=(9, 3)),
    'dones': np.arange(9) == 8,
    'state': rng.normal(size=(9, 4, 5)).astype('>f4'),
    'swapped': rng.integers(-99, 99, (9, 2)).astype('>i2'),
    'top': rng.integers(0, 256, (9, 3, 8, 6), np.uint8),
  }
  for name, array in arrays.items():
    chunks = (4, *(2 for _ in array.shape[1:]))
    options = {'order': 'F'} if version == 2 and array.ndim == 3 else {}
    if version == 3 and name == 'swapped':
      options = {'serializer': library.codecs.BytesCodec(endian='big')}
    root.create_array(
      f'data/{name}',
      data=array,
      chunks=chunks,
      config={'write_empty_chunks': True},
      **options,
    )
  root.create_array('meta/episode_ends', data=np.array([3, 9], np.int32))
  source = episodes.open(tmp_path / 'x.zarr')
  assert source.lengths.tolist() == [3, 6]
  assert source.observations == ('image', 'state')
  swapped = episodes.open(tmp_path / 'x.zarr', x='swapped').read(1)['x']
  np.testing.assert_array_equal(swapped, arrays['swapped'][3:])
  episode = source[1]
  np.testing.assert_allclose(episode.action, arrays['action'][3:], 1e-6)
  np.testing.assert_array_equal(
    episode.observation['state'], arrays['state'][3:]
  )
  np.testing.assert_array_equal(
    episode.observation['image'], np.moveaxis(arrays['top'][3:], 1, 3)
  )
  assert episode.is_terminal.tolist() == [False] * 5 + [True]
  with zipfile.ZipFile(tmp_path / 'z.zarr.zip', 'w') as archive:
    for path in (tmp_path / 'x.zarr').rglob('*'):
      archive.write(path, path.relative_to(tmp_path / 'x.zarr'))
  zipped = episodes.open(tmp_path / 'z.zarr.zip')
  np.testing.assert_array_equal(zipped[1].action, episode.action)


@pytest.mark.parametrize('codec', ('Blosc', 'Zstd', 'Zlib', 'GZip', 'BZ2'))
def test_codecs_of_numcodecs(tmp_path, codec):
  numcodecs = pytest.importorskip('numcodecs')
  codec, state = getattr(numcodecs, codec)(), np.arange(40.0).reshape(8, 5)
  write(tmp_path, 'meta/episode_ends', np.array([8]))
  write(tmp_path, 'data/state', state, compressor=codec.get_config())
  chunk = tmp_path / 'data/state/0.0'
  chunk.write_bytes(codec.encode(state))
  source = episodes.open(tmp_path)
  np.testing.assert_array_equal(source[0].observation['state'], state)
  chunk.write_bytes(chunk.read_bytes()[:-20])
  with pytest.raises(episodes.CorruptEpisode, match='data/state'):
    source[0]


def test_frames_as_floats_are_whole(tmp_path):
  frames = np.full((4, 2, 2, 3), 7, np.float32)
  frames[2, 0, 1, 1] = 0.5
  write(tmp_path, 'meta/episode_ends', np.array([2, 4]))
  write(tmp_path, 'data/front_rgb', frames, chunks=2)
  write(tmp_path, 'data/flow', frames, chunks=2)
  source = episodes.open(tmp_path)
  assert source.observations == ('image', 'state')
  assert (source[0].observation['image'] == 7).all()
  with pytest.raises(episodes.CorruptEpisode, match=r'1: front_rgb: .*0\.5'):
    source[1]
  for other in (-1, 256, np.nan):
    frames[2] = other
    chunk = tmp_path / 'data/front_rgb/1.0.0.0'
    chunk.write_bytes(frames[2:].tobytes())
    with pytest.raises(episodes.CorruptEpisode, match='whole numbers'):
      source[1]


def test_faults_name_the_array(buffer):
  nan = np.full((7, 2), np.nan, np.float32)
  (buffer / 'data/action/1.0').unlink()
  source = episodes.open(buffer)
  source[0]
  with pytest.raises(episodes.CorruptEpisode, match='action/1.0 is missing'):
    source[1]
  change(buffer / 'data/action', compressor=None)
  (buffer / 'data/action/1.0').write_bytes(nan.tobytes())
  (buffer / 'data/action/0.0').write_bytes(nan.tobytes())
  with pytest.raises(episodes.CorruptEpisode, match='action: step 0 is not'):
    episodes.open(buffer.rename(buffer.with_name('nan.zarr')))[1]


def test_a_length_that_does_not_end_with_the_episodes(buffer):
  change(buffer / 'data/state', shape=[15, 5])
  with pytest.raises(ValueError, match=r'data/state.*\[15, 5\].*16 steps'):
    episodes.open(buffer)


@pytest.mark.parametrize('ends, words', [
  ([4, 3, 16], 'episode 1 ends at step 3'),
  ([-1, 3, 16], 'episode 0 ends at step -1'),
  ([4, 11, 17], '17 steps'),
  ([], 'one for each episode'),
  ([4.0, 11.0, 16.0], 'expected integers'),
])  # fmt: skip
def test_ends_are_in_order(buffer, ends, words):
  shutil.rmtree(buffer / 'meta')
  dtype = None if ends else np.int64
  write(buffer, 'meta/episode_ends', np.array(ends, dtype))
  with pytest.raises(ValueError, match=words):
    episodes.open(buffer)


def test_missing_parts(buffer):
  shutil.rmtree(buffer / 'meta')
  with pytest.raises(ValueError, match='found no meta/episode_ends'):
    episodes.open(buffer)
  write(buffer, 'meta/episode_ends', np.array([16]))
  shutil.rmtree(buffer / 'data')
  with pytest.raises(ValueError, match='found no array in data'):
    episodes.open(buffer)


def test_what_cannot_be_decoded_is_named(buffer):
  change(buffer / 'data/keypoint', compressor={'id': 'lz4', 'acceleration': 1})
  change(buffer / 'data/n_contacts', filters=[{'id': 'pickle'}])
  change(buffer / 'data/action', dtype='|O')
  source = episodes.open(buffer)
  assert source.left_out.keys() == {'keypoint', 'n_contacts', 'action'}
  assert 'action' not in source.columns_of(source.observations)
  for name, words in (
    ('keypoint', "packed by 'lz4'"),
    ('n_contacts', "filtered by .'pickle'."),
    ('action', r'of type \|O'),
  ):
    with pytest.raises(ValueError, match=words):
      episodes.open(buffer, x=name)
  change(buffer / 'data/img', compressor={'id': 'lzma'})
  change(buffer / 'data/state', compressor={'id': 'lzma'})
  with pytest.raises(ValueError, match='none of its.*img.*keypoint.*lz4'):
    episodes.open(buffer)


def test_declared_sizes_are_not_believed(buffer):
  vast = 1 << 40
  change(buffer / 'data/state', chunks=[vast, 5])
  with pytest.raises(episodes.CorruptEpisode, match='state.*140 bytes'):
    episodes.open(buffer, x='state')[0]
  change(buffer / 'data/state', compressor={'id': 'zstd', 'level': 1})
  with pytest.raises(episodes.CorruptEpisode, match='state.*declares'):
    episodes.open(buffer, x='state')[0]
  change(buffer / 'data/state', chunks=[7, 1], shape=[16, vast])
  with pytest.raises(episodes.CorruptEpisode, match='state/0.1 is missing'):
    episodes.open(buffer, x='state')[0]
  for about in (
    {'chunks': [0, 5]},
    {'chunks': [7]},
    {'shape': [16, -5]},
    {'shape': [16, True]},
    {'shape': 16},
  ):
    change(buffer / 'data/state', **{'shape': [16, 5], 'chunks': [7, 5]})
    change(buffer / 'data/state', **about)
    with pytest.raises(ValueError, match=r'state/.zarray'):
      episodes.open(buffer)
  (buffer / 'data/state/.zarray').write_text('{}')
  with pytest.raises(ValueError, match=r'state/.zarray.*another head than'):
    episodes.open(buffer)


def test_a_chunk_that_unpacks_to_more(buffer):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  chunk = buffer / 'data/state/0.0'
  blosc = bytearray(chunk.read_bytes())
  blosc[4:8] = (1 << 30).to_bytes(4, 'little')
  chunk.write_bytes(blosc)
  with pytest.raises(episodes.CorruptEpisode, match='1073741824 bytes'):
    episodes.open(buffer)[0]
  pack = zlib.compressobj(1)
  zeros = [pack.compress(bytes(1 << 22)) for _ in range(100)]
  bomb = b''.join([*zeros, pack.flush()])
  change(buffer / 'data/img', compressor={'id': 'zlib', 'level': 1})
  for big in (bomb, bomb[: 1 << 15]):
    (buffer / 'data/img/0.0.0.0').write_bytes(big)
    with pytest.raises(episodes.CorruptEpisode, match='img'):
      episodes.open(buffer)[0]
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 200 << 10  # KiB


def test_images_that_declare_another_size(tmp_path):
  imagecodecs = pytest.importorskip('imagecodecs')
  frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
  for codec in ('jpegxl', 'jpeg2k'):
    root = tmp_path / f'{codec}.zarr'
    write(root, 'meta/episode_ends', np.array([1, 2]))
    write(
      root,
      'data/camera0_rgb',
      np.zeros((2, 64, 96, 3), np.uint8),
      chunks=1,
      compressor={'id': f'imagecodecs_{codec}'},
    )
    pack = getattr(imagecodecs, f'{codec}_encode')
    for i, image in enumerate((frame, frame[:, :95])):
      file = root / f'data/camera0_rgb/{i}.0.0.0'
      file.write_bytes(pack(image, level=99))
    source = episodes.open(root)
    off = source[0].observation['image'][0].astype(int) - frame
    assert np.abs(off).mean() < 8
    with pytest.raises(episodes.CorruptEpisode, match=r'camera0_rgb.*95'):
      source[1]
    file.write_bytes(pack(frame, level=99)[:-400])
    with pytest.raises(episodes.CorruptEpisode, match='camera0_rgb'):
      source[1]


def test_images_need_their_library(monkeypatch, tmp_path):
  monkeypatch.setitem(__import__('sys').modules, 'imagecodecs', None)
  with pytest.raises(ValueError, match='needs imagecodecs: pip'):
    episodes.open(DATA / 'umi.zarr.zip')
  write(tmp_path, 'meta/episode_ends', np.array([2]))
  rgb = {'compressor': {'id': 'imagecodecs_jpegxl'}}
  write(tmp_path, 'data/rgb', np.zeros((2, 4, 4, 3), np.uint8), **rgb)
  write(tmp_path, 'data/state', np.zeros((2, 3)))
  why = episodes.open(tmp_path).left_out['rgb']
  assert why.endswith('chunks [2, 4, 4, 3], expected uint8 [1, 4, 4, 3]')


def test_nothing_leads_out(buffer, tmp_path):
  outside = tmp_path / 'outside'
  outside.write_bytes((buffer / 'data/state/0.0').read_bytes())
  (buffer / 'data/state/0.0').unlink()
  (buffer / 'data/state/0.0').symlink_to(outside)
  with pytest.raises(episodes.CorruptEpisode, match='leads out'):
    episodes.open(buffer)[0]
  change(buffer / 'data/action', dimension_separator='/../../')
  with pytest.raises(episodes.CorruptEpisode, match='missing'):
    episodes.open(buffer, x='keypoint')[0]


def test_a_zip_that_is_damaged(tmp_path):
  bad = tmp_path / 'bad.zarr.zip'
  whole = (DATA / 'umi.zarr.zip').read_bytes()
  bad.write_bytes(whole[:-300])
  with pytest.raises(ValueError, match='bad.zarr.zip: cannot be read'):
    episodes.open(bad)
  with zipfile.ZipFile(bad, 'w', zipfile.ZIP_DEFLATED) as archive:
    write(tmp_path, 'x/meta/episode_ends', np.array([2]))
    write(tmp_path, 'x/data/state', np.zeros((2, 3)))
    (tmp_path / 'x/data/state/0.0').unlink()
    for path in (tmp_path / 'x').rglob('*'):
      archive.write(path, path.relative_to(tmp_path / 'x'))
    archive.writestr('data/state/0.0', bytes(1 << 24))
  source = episodes.open(bad)
  with pytest.raises(episodes.CorruptEpisode, match='16777216 bytes'):
    source[0]


def test_rows_beyond_are_refused():
  group = zarr.Group(DATA / 'pusht.zarr')
  head = group.array('data/state')
  with pytest.raises(ValueError, match='no rows 10 to 17 of 16'):
    group.rows('data/state', head, 10, 17)
