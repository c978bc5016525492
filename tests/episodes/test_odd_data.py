"""Data as labs have it: what was once read wrong, or refused without a word.

Every test is a kind of fault that somebody met in public, with the right value.
"""

import json
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes import (
  CorruptEpisode,
  animations,
  decode,
  scales,
  statistics,
)
from tests.episodes import odd

av = pytest.importorskip('av')
h5py = pytest.importorskip('h5py')
pa = pytest.importorskip('pyarrow')


# Language, wherever a dataset keeps it.


@pytest.mark.parametrize(
  'where',
  [
    ('data', 'problem_info', {'language_instruction': 'open the drawer'}),
    ('data', 'ep_meta', {'lang': 'open the drawer'}),
    ('data/demo_0', 'ep_meta', {'lang': 'open the drawer'}),
    ('data/demo_0', 'lang', 'open the drawer'),
    ('data/demo_0', 'language_instruction', 'open the drawer'),
  ],
)
def test_language_of_an_hdf5_file(tmp_path, where):
  group, name, value = where
  with h5py.File(tmp_path / 'l.hdf5', 'w') as file:
    demo = file.create_group('data/demo_0')
    demo['actions'], demo['obs/ee_pos'] = np.zeros((5, 7)), np.zeros((5, 3))
    text = value if isinstance(value, str) else json.dumps(value)
    file[group].attrs[name] = text
  source = episodes.open(tmp_path / 'l.hdf5')
  assert source.metadata(0)['instruction'] == 'open the drawer'


def test_a_folder_of_tasks_is_one_dataset(tmp_path):
  for task in ('open the drawer', 'close it'):
    with h5py.File(tmp_path / f'{task[:5]}.hdf5', 'w') as file:
      for i, length in enumerate((3, 4)):
        demo = file.create_group(f'data/demo_{i}')
        demo['actions'] = np.full((length, 2), len(task))
        demo['obs/ee_pos'] = np.zeros((length, 3))
      about = json.dumps({'language_instruction': task})
      file['data'].attrs['problem_info'] = about
  source = pickle.loads(pickle.dumps(episodes.open(tmp_path)))
  assert source.lengths.tolist() == [3, 4, 3, 4]
  texts = [source.metadata(i)['instruction'] for i in range(4)]
  assert texts == ['close it'] * 2 + ['open the drawer'] * 2
  assert source[2].action[0, 0] == len('open the drawer')


@pytest.mark.parametrize(
  'name', ['instruction', 'language_instruction', 'lang']
)
def test_language_of_an_npz(tmp_path, name):
  arrays = {'state': np.zeros((4, 2)), name: 'push'}
  np.savez(tmp_path / 'e0.npz', **arrays)
  assert episodes.open(tmp_path).metadata(0)['instruction'] == 'push'


@pytest.mark.parametrize('version', ['v2.1', 'v3.0'])
def test_a_task_that_changes_within_an_episode(tmp_path, version):
  """meta/episodes does not say when; every row does."""
  index = {'task_index': lambda e, steps: np.arange(steps) * 2 // steps}
  odd.lerobot(
    tmp_path / 'd', version, columns=index, episode_tasks=['pick', 'push']
  )
  source = episodes.open(tmp_path / 'd', task='task', state='observation.state')
  about = source.metadata(1)
  assert about['instruction'] == 'pick' and about['tasks'] == ['pick', 'push']
  steps = source.read(1, ['task'])['task']
  assert steps.tolist() == ['pick'] * 5 + ['push'] * 4


# Depth is no colour.


def test_depth_in_images_is_read_as_numbers(tmp_path):
  depth_HW = np.linspace(300, 3000, 12 * 16).reshape(12, 16).astype(np.uint16)
  rows = {'observation.images.depth': odd.encoded(depth_HW)}
  feature = {'dtype': 'image', 'shape': [12, 16, 1], 'names': None}
  odd.lerobot(
    tmp_path / 'd', columns=rows, features={'observation.images.depth': feature}
  )
  source = episodes.open(tmp_path / 'd')
  assert source.streams['depth'].kind == 'values'
  depth_THW1 = source[0].observation['depth']
  assert depth_THW1.dtype == np.uint16
  np.testing.assert_array_equal(depth_THW1[0, ..., 0], depth_HW)


def test_depth_is_never_decoded_as_colour():
  image = Image.fromarray(np.full((4, 4), 3000, np.uint16))
  with pytest.raises(OSError, match='8 bits a channel, perhaps depth'):
    decode.image(odd.png(image))
  with pytest.raises(OSError, match='expected 16, as in the first'):
    decode.depth(odd.png(Image.new('L', (4, 4))))


def test_a_video_of_distances_is_left_out_by_name(tmp_path):
  about = {'video.is_depth_map': True}
  odd.lerobot(tmp_path / 'd', camera={'info': about})
  source = episodes.open(tmp_path / 'd')
  assert 'observation.images.top' in source.left_out
  assert 'image' not in source.streams
  with pytest.raises(ValueError, match='depth in a video, which is not read'):
    episodes.open(tmp_path / 'd', image='observation.images.top')


# A frame is told by its axes.


@pytest.mark.parametrize(
  'shape, channels', [((3, 48, 64), 0), ((48, 64, 4), 2), ((48, 64, 1), 2)]
)
def test_frames_in_any_order_of_axes(tmp_path, shape, channels):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (6, *shape), np.uint8)
  np.savez(tmp_path / 'e0.npz', image=image, action=np.zeros((6, 2)))
  source = episodes.open(tmp_path)
  assert source.streams['image'].shape == (48, 64, 3)
  expected = np.moveaxis(image, channels + 1, 3)[..., :3]
  expected = np.broadcast_to(expected, (6, 48, 64, 3))
  np.testing.assert_array_equal(source[0].observation['image'], expected)
  small = episodes.open(tmp_path, size=(12, 16))[0].observation['image']
  assert small.shape == (6, 12, 16, 3)


def test_frames_as_lists_of_bytes(tmp_path):
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (12, 16, 3), np.uint8)
  kind = pa.list_(pa.list_(pa.list_(pa.uint8())))
  rows = {'observation.view': lambda e, n: pa.array([image.tolist()] * n, kind)}
  feature = {'dtype': 'uint8', 'shape': [12, 16, 3], 'names': None}
  odd.lerobot(
    tmp_path / 'd', columns=rows, features={'observation.view': feature}
  )
  source = episodes.open(tmp_path / 'd', view='observation.view')
  assert source.streams['view'].kind == 'image'
  np.testing.assert_array_equal(source[0].observation['view'][3], image)


# What cannot be read is named, and the rest is read.


def test_constants_of_an_episode_are_no_streams(tmp_path):
  for i, steps in enumerate((6, 3, 5)):
    arrays = {'goal': np.zeros(3), 'action': np.zeros((steps, 2))}
    np.savez(tmp_path / f'e{i}.npz', **arrays, state=np.zeros((steps, 4)))
  source = episodes.open(tmp_path)
  assert source.lengths.tolist() == [6, 3, 5]
  assert set(source.streams) == {'state', 'action'}
  (why,) = source.left_out.values()
  assert why == 'as many rows as steps in 1 of 3 episodes, expected most'


@pytest.mark.parametrize('dtype', [np.float32, np.int64])
def test_actions_of_one_number(tmp_path, dtype):
  state = np.arange(6.0)
  np.savez(tmp_path / 'e0.npz', state=state, action=state.astype(dtype))
  source = episodes.open(tmp_path)
  assert source[0].observation['state'].shape == (6, 1)
  assert source.streams['state'].shape == (1,)
  expected = (6, 1) if dtype == np.float32 else (6,)  # One of a few.
  assert source[0].action.shape == expected


def test_rows_of_another_width_do_not_move_the_rest(tmp_path):
  def ragged(episode, steps):
    rows = [[1.0, 2.0, 3.0, 4.0] if i % 2 else [1.0, 2.0] for i in range(steps)]
    return pa.array(rows, pa.list_(pa.float32()))

  odd.lerobot(tmp_path / 'd', columns={'action': ragged})
  with pytest.raises(ValueError, match=r'step 0 has 2 numbers, expected 3'):
    episodes.open(tmp_path / 'd')[0]


# What a video says of itself is obeyed.


@pytest.mark.parametrize('degrees', [0, 90, 180, -90])
def test_a_video_is_turned_as_it_says(tmp_path, degrees):
  upright = odd.corner(48, 64)  # Bright where it is shown at the upper left.
  stored = np.rot90(upright, -degrees // 90)
  odd.video(tmp_path / 'a.mp4', [stored] * 4, rotation=degrees)
  source = episodes.open(tmp_path / 'a.mp4')
  assert source.streams['image'].shape == (48, 64, 3)
  shown = source[0].observation['image'][1].astype(int)
  assert shown.shape == (48, 64, 3) and np.abs(shown - upright).mean() < 8
  small = episodes.open(tmp_path / 'a.mp4', size=(12, 16))
  small = small[0].observation['image'][1]
  assert small.shape == (12, 16, 3)
  assert small[:5, :7].min() > 150 and small[7:].max() < 90


@pytest.mark.parametrize('columns', [(1, 0), (0, 1), (-1, 0), (0, -1)])
@pytest.mark.parametrize('sign', [1, -1])
def test_a_video_is_mirrored_as_it_says(tmp_path, columns, sign):
  """A column leads to (a, b) and a row to (c, d), with y downwards."""
  (a, b), (c, d) = columns, (-sign * columns[1], sign * columns[0])
  stored = odd.corner(48, 64)
  path = tmp_path / 'a.mp4'
  odd.video(path, [stored] * 4)
  odd.replace_matrix(path, a, b, c, d)
  y, x = np.mgrid[:48, :64]
  shown_x, shown_y = a * x + c * y, b * x + d * y
  shown_x, shown_y = shown_x - shown_x.min(), shown_y - shown_y.min()
  expected = np.zeros((shown_y.max() + 1, shown_x.max() + 1, 3), int)
  expected[shown_y, shown_x] = stored
  image = episodes.open(path)[0].observation['image'][1].astype(int)
  assert image.shape == expected.shape
  assert np.abs(image - expected).mean() < 8


def test_depth_in_a_video_is_refused(tmp_path):
  path = tmp_path / 'a.mkv'
  with av.open(str(path), 'w') as container:
    stream = container.add_stream('ffv1', rate=10)
    stream.height, stream.width, stream.pix_fmt = 48, 64, 'gray16le'
    for _ in range(3):
      depth = np.full((48, 64), 1200, np.uint16)
      frame = av.VideoFrame.from_ndarray(depth, format='gray16le')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  with pytest.raises(
    ValueError, match='frames of gray16le, which are no colour'
  ):
    episodes.open(path)


def test_pixels_are_shown_square(tmp_path):
  frames = [odd.corner(48, 64)] * 3
  odd.video(tmp_path / 'a.mp4', frames, sample_aspect_ratio=2)
  source = episodes.open(tmp_path / 'a.mp4')
  assert source.streams['image'].shape == (48, 128, 3)
  assert source[0].observation['image'].shape == (3, 48, 128, 3)


def test_colours_are_those_of_the_matrix_that_a_video_names(tmp_path):
  red = np.broadcast_to(np.array([200, 60, 40], np.uint8), (48, 64, 3))
  seen = []
  for name, matrix in (('bt601', None), ('bt709', 'ITU709')):
    odd.video(tmp_path / f'{name}.mp4', [red] * 3, matrix=matrix)
    image = episodes.open(tmp_path / f'{name}.mp4')[0].observation['image']
    seen.append(image[1].reshape(-1, 3).mean(0))
  np.testing.assert_allclose(seen, [[200, 60, 40]] * 2, atol=4)


def test_a_container_without_times_counts_frames(tmp_path):
  odd.video(tmp_path / 'a.avi', [odd.numbered(i) for i in range(30)])
  source = episodes.open(tmp_path / 'a.avi')
  assert source.lengths.tolist() == [30] and source.fps == 10
  image = source[0].observation['image']
  assert odd.numbers(image) == list(range(30))


def test_times_count_from_the_first_frame(tmp_path):
  odd.lerobot(tmp_path / 'd', camera={}, start=7)
  source = episodes.open(tmp_path / 'd')
  first = sum(odd.LENGTHS[:1])
  seen = odd.numbers(source[1].observation['image'])
  assert seen == list(range(first, first + odd.LENGTHS[1]))


def test_an_animation_is_decoded_once_for_all_its_clips(tmp_path, monkeypatch):
  frames = [Image.fromarray(odd.numbered(i)) for i in range(30)]
  frames[0].save(
    tmp_path / 'a.gif', save_all=True, append_images=frames[1:], duration=100
  )
  source = episodes.open(tmp_path / 'a.gif', clip_steps=3)
  opened = []
  open_image = Image.open
  monkeypatch.setattr(
    Image, 'open', lambda *a, **k: opened.append(a) or open_image(*a, **k)
  )
  seen = [odd.numbers(e.observation['image']) for e in source]
  assert sum(seen, []) == list(range(30))
  assert len(opened) == 10 + 1  # Headers of all clips, and frames once.


def test_a_large_animation_is_not_kept(tmp_path, monkeypatch):
  monkeypatch.setattr(animations, '_KEPT_BYTES', 48 * 64 * 3 * 5)
  frames = [Image.fromarray(odd.numbered(i)) for i in range(6)]
  frames[0].save(
    tmp_path / 'a.gif', save_all=True, append_images=frames[1:], duration=100
  )
  animations._kept.cache_clear()
  image = episodes.open(tmp_path / 'a.gif')[0].observation['image']
  assert odd.numbers(image) == list(range(6))
  assert not animations._kept.cache_info().currsize


def test_files_that_differ_are_said_to(tmp_path):
  odd.video(tmp_path / 'a.mp4', [odd.corner(48, 64)] * 4)
  odd.video(tmp_path / 'b.mp4', [odd.corner(32, 64)] * 4)
  frames = [Image.fromarray(odd.corner(48, 64)) for _ in range(4)]
  frames[1].putpixel((0, 0), (0, 0, 0))
  frames[0].save(
    tmp_path / 'c.webp', save_all=True, append_images=frames[1:], duration=50
  )
  rates, sizes = episodes.open(tmp_path).warnings
  assert 'frames a second: 10.0' in rates and 'choose one with fps=' in rates
  assert '(32, 64), (48, 64); choose one with size=' in sizes
  assert not episodes.open(tmp_path, fps=5, size=(32, 64)).warnings


# One odd field of a dataset's description.


@pytest.mark.parametrize(
  'names', [{'axes': ['height', 'width', 'channel']}, None, {}, 'hwc']
)
@pytest.mark.parametrize('shape', [[48, 64, 3], [3, 48, 64]])
def test_axes_in_any_dialect(tmp_path, names, shape):
  if shape[0] == 3 and isinstance(names, dict) and names:
    names = {'axes': ['channels', 'height', 'width']}
  odd.lerobot(tmp_path / 'd', camera={'names': names, 'shape': shape})
  source = episodes.open(tmp_path / 'd')
  assert source.streams['image'].shape == (48, 64, 3)


def test_frames_as_plain_bytes(tmp_path):
  image = odd.corner(48, 64)
  data = odd.png(Image.fromarray(image))
  rows = {odd.CAMERA: lambda e, n: pa.array([data] * n, pa.binary())}
  odd.lerobot(tmp_path / 'd', camera={'dtype': 'image'}, columns=rows)
  seen = episodes.open(tmp_path / 'd')[0].observation['image']
  np.testing.assert_array_equal(seen[2], image)


@pytest.mark.parametrize(
  'changes, field',
  [
    ({'fps': None}, 'fps'),
    ({'fps': 'ten'}, 'fps'),
    ({'video_path': None}, 'video_path'),
    ({'data_path': 3}, 'data_path'),
    ({'features': []}, 'features'),
    ({'features': {'action': 'float32'}}, 'features.action'),
    ({'chunks_size': 0}, 'chunks_size'),
    ({'total_episodes': '3'}, 'total_episodes'),
    (
      {'features': {'action': {'dtype': 'float32', 'shape': ['two']}}},
      'features.action.shape',
    ),
  ],
)
def test_an_odd_field_is_named(tmp_path, changes, field):
  odd.lerobot(tmp_path / 'd', camera={}, info=changes)
  with pytest.raises(ValueError) as error:
    episodes.open(tmp_path / 'd')
  text = str(error.value)
  assert f'info.json: {field}: found' in text and '\n' not in text


@pytest.mark.parametrize(
  'value, expected',
  [
    ('0:2', [0, 1]),
    ('0:67%', [0, 1]),
    ('0:1,2:3', [0, 2]),
    ([2, 0], [2, 0]),
    (':', [0, 1, 2]),
  ],
)
def test_splits_in_any_dialect(tmp_path, value, expected):
  odd.lerobot(tmp_path / 'd', info={'splits': {'train': value}})
  source = episodes.open(tmp_path / 'd', split='train')
  lengths = [odd.LENGTHS[i] for i in expected]
  assert source.lengths.tolist() == lengths


@pytest.mark.parametrize(
  'value', ['all', '0:9', [7], None, {'a': 1}, '2:1', '0:999999999999']
)
def test_a_split_that_means_nothing_is_named(tmp_path, value):
  odd.lerobot(tmp_path / 'd', info={'splits': {'train': value}})
  with pytest.raises(ValueError, match=r'info.json: splits.train: found'):
    episodes.open(tmp_path / 'd', split='train')


# Which files belong to a dataset.


def test_hidden_files_are_no_episodes(tmp_path):
  odd.video(tmp_path / 'a.mp4', [odd.numbered(i) for i in range(5)])
  (tmp_path / '._a.mp4').write_bytes(b'\0\5\x16\7' * 100)
  (tmp_path / '__MACOSX').mkdir()
  shutil.copy(tmp_path / 'a.mp4', tmp_path / '__MACOSX/b.mp4')
  assert episodes.open(tmp_path).lengths.tolist() == [5]


def test_hidden_files_in_meta_are_left_alone(tmp_path):
  odd.lerobot(tmp_path / 'd', 'v3.0')
  hidden = tmp_path / 'd/meta/episodes/chunk-000/._file-000.parquet'
  hidden.write_bytes(b'\0\5\x16\7' * 100)
  assert len(episodes.open(tmp_path / 'd')) == 3


def test_a_folder_above_datasets_names_them(tmp_path):
  for name in ('pick_cup', 'push_box'):
    odd.lerobot(tmp_path / 'user' / name, camera={})
  with pytest.raises(ValueError, match='holds the datasets pick_cup, push_box'):
    episodes.open(tmp_path / 'user')


# What a mistake is answered with.


def test_a_path_that_is_not_there_is_said_so(tmp_path):
  with pytest.raises(ValueError, match='tpyo: no such file or folder'):
    episodes.open(tmp_path / 'tpyo')


@pytest.mark.parametrize(
  'value, right',
  [({'env_kwargs': None}, True), ({'env_kwargs': {}}, True), ('text', False)],
)
def test_attributes_that_hold_little(tmp_path, value, right):
  with h5py.File(tmp_path / 'l.hdf5', 'w') as file:
    demo = file.create_group('data/demo_0')
    demo['actions'], demo['obs/ee_pos'] = np.zeros((5, 7)), np.zeros((5, 3))
    text = json.dumps(value) if right else value
    file['data'].attrs['env_args'] = text
  if right:
    assert episodes.open(tmp_path / 'l.hdf5').fps is None
  else:
    with pytest.raises(ValueError, match='l.hdf5: /data: attribute env_args'):
      episodes.open(tmp_path / 'l.hdf5')


# A floor that is one.


def test_a_switch_that_is_seldom_thrown_is_not_blown_up():
  rng = np.random.default_rng(0)
  noise = 1e-5 * rng.normal(size=(4000, 1))
  action = np.where(rng.random((4000, 1)) < 0.004, 0.5, noise)
  moments = statistics.Moments()
  moments.add(action)
  scale = scales.of(moments.result(), 'quantiles')
  assert np.abs(scales.apply(action, scale)).max() < 30
  normal = rng.normal(size=(4000, 1))
  moments = statistics.Moments()
  moments.add(normal)
  scale = scales.of(moments.result(), 'quantiles')
  q01, q99 = np.quantile(scales.apply(normal, scale), (0.01, 0.99))
  np.testing.assert_allclose((q01, q99), (-1, 1), atol=1e-5)


def test_an_observation_after_the_last_action_is_left_out(tmp_path):
  for i, steps in enumerate((6, 4)):
    state = np.arange(steps + 1.0)[:, None]
    action = np.full((steps, 2), i)
    np.savez(tmp_path / f'e{i}.npz', state=state, action=action)
  source = episodes.open(tmp_path)
  assert source.lengths.tolist() == [6, 4]
  assert source[1].observation['state'][:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
  'arrays, said',
  [
    ({'action': np.full((6, 2), 2**33)}, 'action: step 0 holds 8589934592'),
    ({'reward': np.zeros((6, 2))}, r'reward: found \[2\] numbers a step'),
  ],
)
def test_numbers_that_would_be_others_are_refused(tmp_path, arrays, said):
  good = {'state': np.zeros((6, 3)), 'action': np.zeros((6, 2))}
  np.savez(tmp_path / 'e0.npz', **good | arrays)
  source = episodes.open(tmp_path)
  with pytest.raises(CorruptEpisode, match=said):
    source[0]


def test_one_value_where_others_have_steps_is_refused(tmp_path):
  for i in range(3):
    np.savez(tmp_path / f'e{i}.npz', state=np.zeros((6, 3)), k=np.zeros(6))
  np.savez(tmp_path / 'e3.npz', state=np.zeros((6, 3)), k=np.float32(1))
  source = episodes.open(tmp_path)
  assert source[0].length == 6
  with pytest.raises(CorruptEpisode, match='episode 3, k: found one value'):
    source[3]


def test_sums_lose_no_digits_and_names_may_hold_a_plus(tmp_path):
  ticks = np.full((4, 1), 2**24 + 1)
  np.savez(tmp_path / 'e0.npz', **{'ticks': ticks, 'pos+quat': np.ones((4, 7))})
  source = episodes.open(tmp_path, state='ticks+pos+quat')
  with pytest.raises(CorruptEpisode, match='holds 16777217, which float32'):
    source[0]
  source = episodes.open(tmp_path, state='pos+quat+pos+quat')
  assert source[0].observation['state'].shape == (4, 14)


def test_fields_of_an_observation_keep_their_names(tmp_path):
  arrays = {'observation/action': np.ones((4, 4)), 'action': np.zeros((4, 2))}
  np.savez(tmp_path / 'e0.npz', **arrays, **{'observation/s': np.zeros((4, 1))})
  source = episodes.open(tmp_path)
  assert source[0].action.shape == (4, 2)
  assert source.streams['observation/action'].shape == (4,)


def test_large_arrays_are_no_state(tmp_path):
  with h5py.File(tmp_path / 'l.hdf5', 'w') as file:
    demo = file.create_group('data/demo_0')
    demo['actions'], demo['obs/ee_pos'] = np.zeros((5, 7)), np.zeros((5, 3))
    demo['obs/depth'] = np.zeros((5, 48, 64), np.float32)
  source = episodes.open(tmp_path / 'l.hdf5')
  assert source.streams['state'].shape == (3,)
  (line,) = source.warnings
  assert 'obs/depth: float32[48, 64]' in line and 'unless you name it' in line


@pytest.mark.parametrize('times', ['nan', 'same'])
def test_times_that_do_not_ascend_are_refused(tmp_path, times):
  wrong = np.full(99, np.nan if times == 'nan' else 0.0, np.float32)
  columns = {'timestamp': lambda episode, steps: wrong[:steps]}
  odd.lerobot(tmp_path / 'd', camera={}, columns=columns)
  with pytest.raises(CorruptEpisode, match='timestamp does not ascend'):
    episodes.open(tmp_path / 'd')[0]


def test_rows_are_put_in_order(tmp_path):
  order = np.array([3, 2, 1, 0])
  columns = {
    'frame_index': lambda episode, steps: np.r_[order, np.arange(4, steps)],
    'action': lambda episode, steps: [
      *np.c_[np.r_[order, 4:steps]] * [1, 1, 1.0]
    ],
  }
  index = {'dtype': 'int64', 'shape': [1]}
  odd.lerobot(tmp_path / 'd', columns=columns, features={'frame_index': index})
  action = episodes.open(tmp_path / 'd')[0].action
  assert action[:, 0].tolist() == list(range(12))


def test_an_episode_that_is_there_twice_is_refused(tmp_path):
  odd.lerobot(tmp_path / 'd')
  path = tmp_path / 'd/meta/episodes.jsonl'
  lines = path.read_text().splitlines()
  path.write_text('\n'.join([*lines[:2], lines[1]]))
  with pytest.raises(ValueError, match='episode 1 is there twice'):
    episodes.open(tmp_path / 'd')
