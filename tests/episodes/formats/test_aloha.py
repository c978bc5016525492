"""ALOHA's files, as act, act-plus-plus and RDT write them; their faults."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes import formats

h5py = pytest.importorskip('h5py')
CAMERAS = ('cam_high', 'cam_left_wrist', 'cam_right_wrist')
LENGTHS = {0: 4, 1: 6, 10: 5}


def arrays(seed, length):
  """What a robot does, and frames that JPEG nearly keeps."""
  rng = np.random.default_rng(seed)
  plain = rng.integers(0, 256, (len(CAMERAS), length, 1, 1, 3), np.uint8)
  return {
    'action': rng.normal(size=(length, 14)).astype(np.float32),
    'qpos': rng.normal(size=(length, 14)).astype(np.float32),
    'qvel': rng.normal(size=(length, 14)).astype(np.float32),
    'images': np.broadcast_to(plain, (len(CAMERAS), length, 16, 24, 3)),
  }


def write(path, seed, length, images=None, **attributes):
  """An episode; `images(group, name, frames)` writes those of a camera."""
  values = arrays(seed, length)
  path.parent.mkdir(parents=True, exist_ok=True)
  with h5py.File(path, 'w', rdcc_nbytes=1024**2 * 2) as root:
    root.attrs.update({'sim': False, **attributes})
    group = root.create_group('observations')
    for name in ('qpos', 'qvel'):
      group.create_dataset(name, data=values[name])
    root.create_dataset('action', data=values['action'])
    cameras = group.create_group('images')
    for name, frames in zip(CAMERAS, values['images'], strict=True):
      (images or raw)(cameras, name, frames)
  return values


def raw(group, name, frames):
  chunks = (1, *frames.shape[1:])
  group.create_dataset(name, data=frames, chunks=chunks)


def jpegs(frames):
  files = []
  for frame in frames:
    Image.fromarray(frame).save(file := io.BytesIO(), 'JPEG', quality=95)
    files.append(file.getvalue())
  return files


def padded(group, name, frames):
  """As compress_data.py of act-plus-plus."""
  encoded = [np.frombuffer(x, np.uint8) for x in jpegs(frames)]
  shape = len(encoded), max(len(x) for x in encoded) + 7
  data = group.create_dataset(name, shape, dtype='uint8')
  for i, x in enumerate(encoded):
    data[i, : len(x)] = x
  root = group.file
  root.attrs['compress'] = True
  if 'compress_len' not in root:
    root.create_dataset('compress_len', (len(CAMERAS), len(encoded)), 'f4')


def texts(group, name, frames):
  """As RDT: strings of one length, which NumPy fills with zeros."""
  group.create_dataset(name, data=np.array(jpegs(frames)))


def ragged(group, name, frames):
  data = group.create_dataset(
    name, (len(frames),), h5py.vlen_dtype(np.dtype('uint8'))
  )
  for i, x in enumerate(jpegs(frames)):
    data[i] = np.frombuffer(x, np.uint8)


@pytest.fixture
def folder(tmp_path):
  for i, length in LENGTHS.items():
    write(tmp_path / f'task/episode_{i}.hdf5', i, length)
  return tmp_path / 'task'


def test_files_are_episodes_in_the_order_of_their_numbers(folder):
  source = pickle.loads(pickle.dumps(episodes.open(folder)))
  assert source.lengths.tolist() == list(LENGTHS.values())
  assert source.fps is None and source.name == 'task'
  assert source.observations == (*CAMERAS, 'state')
  assert source.streams['cam_high'].shape == (16, 24, 3)
  expected, episode = arrays(10, 5), source[2]
  np.testing.assert_array_equal(episode.action, expected['action'])
  np.testing.assert_array_equal(episode.observation['state'], expected['qpos'])
  for camera, frames in zip(CAMERAS, expected['images'], strict=True):
    np.testing.assert_array_equal(episode.observation[camera], frames)
  assert not episode.is_terminal.any() and not episode.reward.any()
  meta = source.metadata(2)
  assert meta['sim'] is False and meta['file'].endswith('episode_10.hdf5')
  assert meta['instruction'] == ''
  one = episodes.open(folder / 'episode_1.hdf5')
  assert one.lengths.tolist() == [6]


def test_columns_can_be_named(folder):
  source = episodes.open(
    folder,
    image='observations/images/cam_high',
    joints='observations/qpos+observations/qvel',
  )
  assert source.observations == ('image', 'joints')
  episode, expected = source[0].observation['joints'], arrays(0, 4)
  assert episode.shape == (4, 28)
  np.testing.assert_array_equal(episode[:, 14:], expected['qvel'])
  with pytest.raises(ValueError, match='observations/images/cam_right_wrist'):
    episodes.open(folder, image='observations/images/cam_low')


@pytest.mark.parametrize('images', [padded, texts, ragged])
def test_encoded_frames_are_the_rgb_that_their_jpeg_declares(tmp_path, images):
  values = write(tmp_path / 'episode_0.hdf5', 3, 5, images)
  write(tmp_path / 'episode_1.hdf5', 4, 3, raw)
  source = episodes.open(tmp_path)
  assert source.observations == (*CAMERAS, 'state')
  assert 'compress_len' not in source.store.columns
  assert source.streams['cam_left_wrist'].shape == (16, 24, 3)
  few = write(tmp_path / 'few/episode_0.hdf5', 5, len(CAMERAS), images)
  three = episodes.open(tmp_path / 'few')
  assert 'compress_len' not in three.store.columns
  np.testing.assert_array_equal(three[0].action, few['action'])
  for camera, frames in zip(CAMERAS, values['images'], strict=True):
    seen = source.read(0, [camera])[camera]
    assert seen.shape == frames.shape and seen.dtype == np.uint8
    assert np.abs(seen.astype(int) - frames).max() <= 3
  assert source[1].observation['cam_high'].shape == (3, 16, 24, 3)


def test_what_is_to_be_done_and_how_often(tmp_path):
  for i, name in enumerate('abc'):
    rate = {} if name == 'b' else {'fps': 50}
    write(tmp_path / f'{name}/episode_0.hdf5', i, 3, **rate)
  kinds = h5py.string_dtype()
  with h5py.File(tmp_path / 'a/episode_0.hdf5', 'a') as f:
    f.create_dataset('language_raw', data=['open it'], dtype=kinds)
  with h5py.File(tmp_path / 'b/episode_0.hdf5', 'a') as f:
    f['language_raw/of'], f['instruction'] = 8, 7
    f['language'] = h5py.Empty('f')
    f.attrs['task'] = 'close it'
  (tmp_path / 'c/expanded_instruction_gpt-4-turbo.json').write_text(
    json.dumps({'instruction': 'turn it', 'expanded_instruction': ['slowly']})
  )
  source = episodes.open(tmp_path)
  said = [source.metadata(i)['instruction'] for i in range(3)]
  assert said == ['open it', 'close it', 'turn it'] and source.fps == 50
  assert source.metadata(0)['fps'] == 50
  assert episodes.open(tmp_path, split='b').lengths.tolist() == [3]
  with pytest.raises(ValueError, match=r"no split 'd'.*'a', 'all', 'b', 'c'"):
    episodes.open(tmp_path, split='d')
  write(tmp_path / 'c/episode_1.hdf5', 3, 3, fps=25)
  with pytest.raises(ValueError, match='50.0 Hz and .*episode_1.*25.0 Hz'):
    episodes.open(tmp_path)


def test_a_driven_base_is_a_column_and_depth_is_no_frame(tmp_path):
  write(tmp_path / 'episode_0.hdf5', 0, 4)
  with h5py.File(tmp_path / 'episode_0.hdf5', 'a') as f:
    f['base_action'] = np.full((4, 2), 5.0)
    f['observations/images/cam_high_depth'] = np.zeros((4, 16, 24), np.uint16)
    f['other'] = np.zeros((9, 2))
  source = episodes.open(tmp_path, action='action+base_action')
  assert (
    source[0].action.shape == (4, 16) and (source[0].action[:, 14:] == 5).all()
  )
  assert source.observations == (*CAMERAS, 'state')
  assert 'other' not in source.store.columns
  with h5py.File(tmp_path / 'episode_0.hdf5', 'a') as f:
    for camera in CAMERAS[1:]:
      del f[f'observations/images/{camera}']
    del f['observations/qpos']
  source = episodes.open(tmp_path)
  assert source.observations == ('image', 'state')
  np.testing.assert_array_equal(
    source[0].observation['state'], arrays(0, 4)['qvel']
  )


def test_faults_name_file_and_step(folder):
  (cut := folder / 'episode_0.hdf5').write_bytes(cut.read_bytes()[:900])
  with h5py.File(folder / 'episode_1.hdf5', 'a') as f:
    f['observations/qpos'][2, 3] = np.nan
    del f['observations/images/cam_high']
  with h5py.File(folder / 'episode_10.hdf5', 'a') as f:
    del f['observations/images/cam_left_wrist']
    f['observations/images/cam_left_wrist'] = np.zeros((4, 16, 24, 3), np.uint8)
  with h5py.File(folder / 'episode_11.hdf5', 'w') as f:
    f['observations/qpos'] = np.zeros((3, 14))
  source = episodes.open(folder, **{
    c: f'observations/images/{c}' for c in CAMERAS[1:]
  }, state='observations/qpos')  # fmt: skip
  assert source.lengths.tolist() == [0, 6, 5, 0]
  with pytest.raises(episodes.CorruptEpisode, match='_0.hdf5.*not a rea'):
    source[0]
  with pytest.raises(episodes.CorruptEpisode, match='state: step 2 is not'):
    source[1]
  with pytest.raises(episodes.CorruptEpisode, match='columns of lengths'):
    source[2]
  with pytest.raises(episodes.CorruptEpisode, match='11.hdf5: observ.*wrist'):
    source[3]


def test_a_folder_without_one_whole_episode_is_refused(folder):
  for i, path in enumerate(sorted(folder.iterdir())):
    with h5py.File(path, 'a') as f:
      del f['action']
      if i:
        f['action'] = np.zeros((0, 14))
  with pytest.raises(ValueError, match="0.hdf5.*no dataset 'action' among"):
    episodes.open(folder, format='aloha')
  with pytest.raises(ValueError, match="1.hdf5.*no step in 'action'"):
    episodes.open(folder / 'episode_1.hdf5')


@pytest.mark.parametrize('images', [padded, texts, ragged])
def test_truncated_frames_are_no_grey_ones(tmp_path, images):
  """Of what zeros follow, a decoder would make pixels."""

  def short(group, name, frames):
    noise = np.random.default_rng(0).integers(0, 256, frames.shape, np.uint8)
    images(group, name, noise)
    row = group[name][2]
    whole = row if images is texts else bytes(row).rstrip(b'\0')
    cut = np.frombuffer(whole[:-12], np.uint8)
    if images is padded:
      cut = np.pad(cut, (0, len(row) - len(cut)))
    group[name][2] = np.bytes_(cut.tobytes()) if images is texts else cut

  write(tmp_path / 'episode_0.hdf5', 0, 4, short)
  source = episodes.open(tmp_path)
  with pytest.raises(
    episodes.CorruptEpisode, match='episode_0.hdf5: observ.*cam_high: step 2'
  ):
    source[0]
  assert source.read(0, ['state'])['state'].shape == (4, 14)
  with h5py.File(tmp_path / 'episode_0.hdf5', 'a') as f:
    for camera in CAMERAS:
      f['observations/images'][camera][0] = f['observations/images'][camera][2]
  with pytest.raises(ValueError, match='episode_0.hdf5.*cam_high: step 0'):
    episodes.open(tmp_path)


def test_frames_of_an_episode_are_of_one_size(tmp_path):
  def grown(group, name, frames):
    ragged(group, name, frames)
    (larger,) = jpegs(np.zeros((1, 16, 32, 3), np.uint8))
    group[name][1] = np.frombuffer(larger, np.uint8)

  write(tmp_path / 'episode_0.hdf5', 0, 4, grown)
  with pytest.raises(
    episodes.CorruptEpisode, match=r'step 1: found a frame \(16, 32, 3\), exp'
  ):
    episodes.open(tmp_path)[0]


def test_what_lies_under_images_is_a_frame(tmp_path):
  write(tmp_path / 'episode_0.hdf5', 0, 4)
  with h5py.File(tmp_path / 'episode_0.hdf5', 'a') as f:
    del f['observations/images/cam_high']
    f['observations/images/cam_high'] = np.zeros((4, 99), np.uint8)
  with pytest.raises(ValueError, match="cam_high: found uint8.*'steps', 99"):
    episodes.open(tmp_path)


def test_a_file_leads_nowhere_and_holds_what_it_declares(folder, tmp_path):
  secret = tmp_path / 'secret.hdf5'
  with h5py.File(secret, 'w') as f:
    f['x'] = np.zeros((6, 14))
    f['t'] = ['secret']
  with h5py.File(folder / 'episode_1.hdf5', 'a') as f:
    del f['observations/qpos']
    f['observations/qpos'] = h5py.ExternalLink(str(secret), 'x')
    f['instruction'] = h5py.ExternalLink(str(secret), 't')
  with h5py.File(folder / 'episode_10.hdf5', 'a') as f:
    del f['observations/images/cam_high']
    f.create_dataset(
      'observations/images/cam_high', (5, 40_000, 40_000, 3), np.uint8,
      chunks=(1, 64, 64, 3),
    )  # fmt: skip
  source = episodes.open(folder)
  for read in (source.__getitem__, source.metadata):
    with pytest.raises(episodes.CorruptEpisode, match='is a link'):
      read(1)
  with pytest.raises(episodes.CorruptEpisode, match='declares 24000000000'):
    source[2]
  with h5py.File(folder / 'episode_0.hdf5', 'a') as f:
    del f['action']
    f['action'] = h5py.ExternalLink(str(secret), 'x')
  with pytest.raises(ValueError, match='episode_1.hdf5: .* is a link'):
    episodes.open(folder)  # Its columns would be those of episode 1.


def test_another_layout_is_not_its(tmp_path):
  aloha = formats.find(tmp_path, 'aloha')
  assert not aloha.sniff(tmp_path) and not aloha.sniff(tmp_path / 'none')
  (tmp_path / 'a.hdf5').write_bytes(b'no HDF5')
  assert not aloha.sniff(tmp_path)
  (tmp_path / 'episode_0.hdf5').write_bytes(b'no HDF5')
  assert aloha.sniff(tmp_path) == 0.3
  (tmp_path / 'episode_0.hdf5').unlink()
  with h5py.File(tmp_path / 'a.hdf5', 'w') as f:
    f['actions'], f['observations'] = np.zeros(3), np.zeros(3)
  assert not aloha.sniff(tmp_path)
