"""MCAP files by Foxglove's writers, bags by rosbags and as rosbag2 has them."""

import io
import json
import pathlib
import pickle
import sqlite3
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from rpt_jax import episodes
from rpt_jax.episodes.formats import mcap as reader
from rpt_jax.episodes.ros import cdr, mcap_file

pytest.importorskip('mcap')
mcap_reader = pytest.importorskip('mcap.reader')
mcap_writer = pytest.importorskip('mcap.writer')
ros2 = pytest.importorskip('mcap_ros2.writer')

DATA = pathlib.Path(__file__).parent / 'data' / 'mcap'
SECOND, START = 10**9, 1_700_000_000 * 10**9
RNG = np.random.default_rng(0)
LINE = f'\n{"=" * 80}\n'
HEADER = (
  f'{LINE}MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\n'
  f'string frame_id{LINE}MSG: builtin_interfaces/Time\nint32 sec\n'
  'uint32 nanosec'
)
VECTORS = (
  f'{LINE}MSG: geometry_msgs/Vector3\n# A comment.\nfloat64 x\nfloat64 y\n'
  'float64 z'
)
POINTS = (
  f'{LINE}MSG: geometry_msgs/Pose\nPoint position\nQuaternion orientation'
  f'{LINE}MSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z'
  f'{LINE}MSG: geometry_msgs/Quaternion\nfloat64 x 0\nfloat64 y 0\n'
  'float64 z 0\nfloat64 w 1'
)
LAYOUT = (
  f'MultiArrayLayout layout\n%s[] data{LINE}MSG: std_msgs/MultiArrayLayout\n'
  f'MultiArrayDimension[] dim\nuint32 data_offset{LINE}'
  'MSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride'
)
TYPES = {
  'sensor_msgs/msg/Image': 'std_msgs/Header header # when\nuint32 height\n'
  'uint32 width\nstring encoding\nuint8 is_bigendian\nuint32 step\n'
  f'uint8[] data{HEADER}',
  'sensor_msgs/msg/CompressedImage': 'std_msgs/Header header\nstring format\n'
  f'uint8[] data{HEADER}',
  'sensor_msgs/msg/JointState': 'std_msgs/Header header\nstring[] name\n'
  f'float64[] position\nfloat64[] velocity\nfloat64[] effort{HEADER}',
  'std_msgs/msg/Float64MultiArray': LAYOUT % 'float64',
  'std_msgs/msg/Float32MultiArray': LAYOUT % 'float32',
  'std_msgs/msg/Float64': 'float64 data',
  'std_msgs/msg/Int32': 'int32 data',
  'std_msgs/msg/Bool': 'bool data',
  'std_msgs/msg/String': 'string data',
  'geometry_msgs/msg/PoseStamped': f'std_msgs/Header header\nPose pose{HEADER}'
  f'{POINTS}',
  'geometry_msgs/msg/TwistStamped': 'std_msgs/Header header\nTwist twist'
  f'{HEADER}{LINE}MSG: geometry_msgs/Twist\nVector3 linear\nVector3 angular'
  f'{VECTORS}',
  'geometry_msgs/msg/Wrench': f'Vector3 force\nVector3 torque{VECTORS}',
  'my_msgs/msg/Gripper': 'uint8 OPEN=1\nstring NAME="a b"\nint16[2] raw\n'
  'bool holds\nfloat32 width 0.5\nfloat64[<=4] forces',
  'my_msgs/msg/Log': 'string[] lines\nfloat64 x',
}


def image(pixels, encoding='rgb8', pad=0, big=0):
  """A message of pixels [H, W] or [H, W, C], each row filled up by `pad`."""
  rows = pixels.reshape(len(pixels), -1).view(np.uint8)
  rows = np.pad(rows, ((0, 0), (0, pad)), constant_values=99)
  return {
    **dict(height=len(pixels), width=pixels.shape[1], encoding=encoding),
    **dict(is_bigendian=big, step=rows.shape[1], data=rows.tobytes()),
  }


def joints(names, position, **others):
  return dict(name=list(names), position=list(position), **others)


def packed(pixels, kind='PNG'):
  stream = io.BytesIO()
  Image.fromarray(pixels).save(stream, kind)
  return stream.getvalue()


def write(path, topics, **options):
  """{topic: (type, [(seconds, message), ...])} as an MCAP file."""
  path.parent.mkdir(parents=True, exist_ok=True)
  rows = [
    (time, topic, message)
    for topic, (_, timed) in topics.items()
    for time, message in timed
  ]
  with open(path, 'wb') as file, ros2.Writer(file, **options) as writer:
    schemas = {
      kind: writer.register_msgdef(kind, TYPES[kind])
      for kind in {kind for kind, _ in topics.values()}
    }
    for time, topic, message in sorted(rows, key=lambda row: row[0]):
      at = START + round(time * SECOND)
      schema = schemas[topics[topic][0]]
      writer.write_message(topic, schema, message, log_time=at)
  return path


def frames(count, rate=10.0, first=0.0, size=(4, 6)):
  """A camera: its frames, and its messages at a rate."""
  pixels = RNG.integers(0, 256, (count, *size, 3), np.uint8)
  timed = [(first + t / rate, image(x)) for t, x in enumerate(pixels)]
  return pixels, ('sensor_msgs/msg/Image', timed)


def numbers(count, rate, first=0.0, width=3):
  x = RNG.normal(size=(count, width))
  timed = [(first + t / rate, {'data': list(v)}) for t, v in enumerate(x)]
  return x, ('std_msgs/msg/Float64MultiArray', timed)


def text(*timed):
  return 'std_msgs/msg/String', [(t, {'data': x}) for t, x in timed]


@pytest.fixture
def robot():
  """(topics, frames [20, ...], positions [100, 2] of a and b, actions)."""
  pixels, camera = frames(20)
  positions = RNG.normal(size=(100, 2))
  timed = []
  for t, x in enumerate(positions):
    names, values = (('a', 'b'), x) if t % 3 else (('b', 'a'), x[::-1])
    message = joints(names, values, velocity=list(10 * values))
    timed.append((0.003 + t / 50, message))
  actions, action = numbers(41, 20, 0.013)
  topics = {
    '/cam/image_raw': camera,
    '/joint_states': ('sensor_msgs/msg/JointState', timed),
    '/arm/action': action,
    '/task/instruction': text((-1.0, 'pick it up'), (1.0, 'put it down')),
    '/log': ('my_msgs/msg/Log', [(0.0, {'lines': ['a'], 'x': 1.0})]),
  }
  return topics, pixels, positions, actions


def held(times, steps):
  """Plainly: the last message at or before each step."""
  return [max(i for i, t in enumerate(times) if t <= s + 1e-9) for s in steps]


def test_a_file_is_an_episode(tmp_path, robot):
  topics, pixels, positions, actions = robot
  path = write(tmp_path / 'a.mcap', topics)
  source = pickle.loads(pickle.dumps(episodes.open(path)))
  assert source.fps == 10 and source.observations == ('image', 'state')
  # From the first action at 0.013 s to the last frame at 1.9 s.
  assert source.lengths.tolist() == [19]
  steps = 0.013 + 0.05 + np.arange(19) / 10
  episode = source[0]
  np.testing.assert_array_equal(
    episode.observation['image'], pixels[held(np.arange(20) / 10, steps)]
  )
  shown = held(0.003 + np.arange(100) / 50, steps)
  state = episode.observation['state']
  # The first message names b before a.
  np.testing.assert_allclose(state, positions[shown][:, ::-1], rtol=1e-6)
  shown = held(0.013 + np.arange(41) / 20, steps)
  np.testing.assert_allclose(episode.action, actions[shown], rtol=1e-6)
  meta = source.metadata(0)
  assert meta['instruction'] == 'pick it up' and meta['file'] == str(path)
  assert meta['start'] == START / SECOND + 0.063 and not meta['truncated']
  # The frame of 0.0 s was 0.063 s old at the first step, as all others.
  assert meta['oldest_sample'] == pytest.approx(0.063)
  velocity = episodes.open(path, v='/joint_states/velocity')[0].observation['v']
  np.testing.assert_allclose(velocity, 10 * state, rtol=1e-6)


def test_what_cannot_be_read_is_left_out_and_says_why(tmp_path, robot):
  path = write(tmp_path / 'a.mcap', robot[0])
  source = episodes.open(path)
  assert list(source.left_out) == ['/log']
  with pytest.raises(ValueError, match='/log.*lines is a list, expected numb'):
    episodes.open(path, state='/log')
  with pytest.raises(ValueError, match='/joint_states/position'):
    episodes.open(path, state='/joint_states')


def test_a_text_is_held_and_the_first_counts_from_the_beginning(
  tmp_path, robot
):
  topics = robot[0] | {'/note': text((0.5, 'late'), (1.0, 'later'))}
  source = episodes.open(write(tmp_path / 'a.mcap', topics))
  words = source.store.read(0, ['/task/instruction', '/note'])
  steps = 0.063 + np.arange(19) / 10
  late = ['put it down' if t >= 1 else 'pick it up' for t in steps]
  assert words['/task/instruction'].tolist() == late
  late = ['later' if t >= 1 else 'late' for t in steps]
  assert words['/note'].tolist() == late
  named = episodes.open(tmp_path / 'a.mcap', instruction='/note')
  assert named.metadata(0)['instruction'] == 'late'


@pytest.mark.parametrize(
  ('encoding', 'channels', 'order'),
  [
    ('rgb8', 3, [0, 1, 2]),
    ('bgr8', 3, [2, 1, 0]),
    ('rgba8', 4, [0, 1, 2]),
    ('bgra8', 4, [2, 1, 0]),
    ('mono8', 1, [0, 0, 0]),
  ],
)
def test_colours_become_rgb_and_padding_is_left_out(
  tmp_path, encoding, channels, order
):
  pixels = RNG.integers(0, 256, (5, 4, 6, channels), np.uint8)
  timed = [(t / 10, image(x, encoding, pad=7)) for t, x in enumerate(pixels)]
  topics = {'/cam/image_raw': ('sensor_msgs/msg/Image', timed)}
  source = episodes.open(write(tmp_path / 'a.mcap', topics))
  frames = source[0].observation['image']
  np.testing.assert_array_equal(frames, pixels[..., order])


@pytest.mark.parametrize(
  ('message', 'why'),
  [
    (image(np.zeros((4, 6), np.uint8), 'bayer_rggb8'), "encoding is 'bayer_rg"),
    (image(np.zeros((4, 6), np.uint8), '8UC1'), "encoding is '8UC1'"),
    (image(np.zeros((4, 6), np.uint16), 'mono16'), "encoding is 'mono16'"),
    (image(np.zeros((4, 6), np.uint8)), 'rows of 6 bytes'),
    ({**image(np.zeros((4, 6, 3), np.uint8)), 'height': 5}, '5 rows of 18'),
    ({**image(np.zeros((4, 6, 3), np.uint8)), 'width': 1 << 31}, 'rows of 18'),
    (image(np.zeros((4, 0, 3), np.uint8)), '4 rows of 0 bytes'),
  ],
)
def test_other_images_are_refused_by_name(tmp_path, message, why):
  timed = [(t / 10, message) for t in range(5)]
  topics = {
    '/bad': ('sensor_msgs/msg/Image', timed),
    '/cam': frames(5)[1],
  }
  path = write(tmp_path / 'a.mcap', topics)
  assert episodes.open(path).observations == ('image',)
  with pytest.raises(ValueError, match=f'image=./bad.*{why}'):
    episodes.open(path, image='/bad')
  # The same in a later message is a fault of the episode.
  timed[0] = 0.0, image(np.zeros((4, 6, 3), np.uint8))
  write(path, {'/cam': ('sensor_msgs/msg/Image', timed)})
  with pytest.raises(episodes.CorruptEpisode, match=f'a.mcap: /cam: .*{why}'):
    episodes.open(path)[0]


def test_depth_is_no_colour(tmp_path):
  deep = RNG.integers(0, 1 << 16, (5, 4, 6)).astype(np.uint16)
  far = RNG.normal(size=(5, 4, 6)).astype(np.float32)
  messages = {
    '/little': [image(x, '16UC1', pad=2) for x in deep],
    '/big': [image(x.astype('>u2'), '16UC1', big=1) for x in deep],
    '/far': [image(x, '32FC1') for x in far],
  }
  topics = {
    k: ('sensor_msgs/msg/Image', [(t / 10, m) for t, m in enumerate(x)])
    for k, x in messages.items()
  }
  packs = [{'format': '16UC1; png', 'data': packed(x)} for x in deep]
  timed = [(t / 10, x) for t, x in enumerate(packs)]
  topics['/png'] = ('sensor_msgs/msg/CompressedImage', timed)
  topics['/cam'] = frames(5)[1]
  path = write(tmp_path / 'a.mcap', topics)
  assert episodes.open(path).observations == ('image',)
  names = {k[1:]: k for k in topics}
  source = episodes.open(path, **names)
  assert source.streams['little'].kind == 'values'
  episode = source[0].observation
  for name in 'little', 'big', 'png':
    np.testing.assert_array_equal(episode[name][..., 0], deep)
    assert episode[name].dtype == np.uint16
  np.testing.assert_array_equal(episode['far'][..., 0], far)


@pytest.mark.parametrize('kind', ['JPEG', 'PNG'])
def test_what_a_format_says_does_not_change_its_decoding(tmp_path, kind):
  pixels = RNG.integers(0, 256, (5, 16, 16, 3), np.uint8)
  name = f'bgr8; {kind.lower()} compressed bgr8'
  packs = [packed(x, kind) for x in pixels]
  timed = [
    (t / 10, {'format': name, 'data': data}) for t, data in enumerate(packs)
  ]
  topics = {
    '/cam/image_raw': frames(5, size=(16, 16))[1],
    '/cam/image_raw/compressed': ('sensor_msgs/msg/CompressedImage', timed),
    '/video': (
      'sensor_msgs/msg/CompressedImage',
      [(t / 10, {'format': 'h264', 'data': b'0001'}) for t in range(5)],
    ),
  }
  path = write(tmp_path / 'a.mcap', topics)
  source = episodes.open(path)
  assert source.columns_of(['image']) == {'image': ['/cam/image_raw']}
  with pytest.raises(ValueError, match="format is 'h264', expected a whole"):
    episodes.open(path, image='/video')
  source = episodes.open(path, image='/cam/image_raw/compressed')
  expected = [np.asarray(Image.open(io.BytesIO(data))) for data in packs]
  np.testing.assert_array_equal(source[0].observation['image'], expected)
  small = episodes.open(path, size=(8, 4), image='/cam/image_raw/compressed')
  assert small.streams['image'].shape == (8, 4, 3)
  own = small.store.read(0, ['/cam/image_raw/compressed'])
  assert own['/cam/image_raw/compressed'].shape == (5, 8, 4, 3)
  resized = [
    Image.fromarray(x).resize((4, 8), Image.Resampling.BILINEAR)
    for x in expected
  ]
  np.testing.assert_array_equal(
    small[0].observation['image'], np.stack([np.asarray(x) for x in resized])
  )


def test_cameras_have_the_names_that_tell_them_apart(tmp_path):
  names = '/high/image_raw', '/low/color/image_raw', '/a/w/image', '/b/w/image'
  path = write(tmp_path / 'a.mcap', {name: frames(4)[1] for name in names})
  assert set(episodes.open(path).observations) == {'high', 'low', *names[2:]}


def test_names_say_what_is_felt_and_what_is_done(tmp_path):
  timed = [(t / 10, joints('ab', [t, 2])) for t in range(8)]
  arm = 'sensor_msgs/msg/JointState', timed
  topics = {'/left/joint_states': arm, '/leader/joint_states': arm}
  topics['/gripper/command'] = numbers(8, 10)[1]
  path = write(tmp_path / 'a.mcap', topics)
  assert episodes.open(path).store.defaults == {
    'state': '/left/joint_states/position',
    'action': '/gripper/command',
  }
  del topics['/gripper/command']
  source = episodes.open(write(path, topics))
  assert source.columns_of(['action', 'state']) == {
    'action': ['/leader/joint_states/position'],
    'state': ['/left/joint_states/position'],
  }


@pytest.mark.parametrize(
  ('message', 'why'),
  [
    (joints('ac', [1, 2]), r"\['b'\] are missing, \['c'\] are new"),
    (joints('a', [1]), r"\['b'\] are missing"),
    (joints('abc', [1, 2, 3]), r"\['c'\] are new"),
    (joints('aab', [1, 2, 3]), 'each once'),
    (joints('ab', [1]), 'position has 1 numbers for 2 joints'),
    (joints('', [1, 2]), r"\['a', 'b'\] are missing"),
  ],
)
def test_joints_that_differ_are_refused(tmp_path, message, why):
  timed = [(t / 10, joints('ab', [1, 2])) for t in range(8)]
  topics = {'/joint_states': ('sensor_msgs/msg/JointState', timed)}
  write(tmp_path / 'bags/0.mcap', topics)
  timed[5] = 0.5, message
  write(tmp_path / 'bags/1.mcap', topics)
  source = episodes.open(tmp_path / 'bags')
  assert source[0].observation['state'].tolist() == [[1, 2]] * 8
  with pytest.raises(
    episodes.CorruptEpisode, match=f'1.mcap: /joint_states: .*{why}'
  ):
    source[1]


def test_joints_without_names_are_taken_in_order(tmp_path):
  timed = [(t / 10, joints('', [t, 2])) for t in range(4)]
  topics = {'/joint_states': ('sensor_msgs/msg/JointState', timed)}
  state = episodes.open(write(tmp_path / 'a.mcap', topics))[0]
  assert state.observation['state'][:, 0].tolist() == [0, 1, 2, 3]


def test_other_messages_are_their_numbers(tmp_path):
  axes = {'x': 1.0, 'y': 2.0, 'z': 3.0}
  turn = {'x': 0.0, 'y': 0.0, 'z': 0.6, 'w': 0.8}
  pose = {'position': axes, 'orientation': turn}
  twist = {'linear': axes, 'angular': {'x': 4.0, 'y': 5.0, 'z': 6.0}}
  gripper = {'raw': [1, -2], 'holds': True, 'width': 0.25, 'forces': [7.0]}
  values = {
    '/pose': ('geometry_msgs/msg/PoseStamped', {'pose': pose}),
    '/twist': ('geometry_msgs/msg/TwistStamped', {'twist': twist}),
    '/wrench': (
      'geometry_msgs/msg/Wrench',
      {'force': axes, 'torque': twist['angular']},
    ),
    '/gripper': ('my_msgs/msg/Gripper', gripper),
    '/width': ('std_msgs/msg/Float64', {'data': 0.5}),
    '/mode': ('std_msgs/msg/Int32', {'data': -3}),
    '/done': ('std_msgs/msg/Bool', {'data': True}),
    '/few': ('std_msgs/msg/Float32MultiArray', {'data': [0.5, 1.5]}),
  }
  topics = {
    k: (kind, [(t / 10, message) for t in range(4)])
    for k, (kind, message) in values.items()
  }
  path = write(tmp_path / 'a.mcap', topics)
  store = episodes.open(path).store
  last = {k: x[-1].tolist() for k, x in store.read(0, list(values)).items()}
  assert last == {
    '/pose': [1, 2, 3, 0, 0, 0.6, 0.8],
    '/twist': [1, 2, 3, 4, 5, 6],
    '/wrench': [1, 2, 3, 4, 5, 6],
    '/gripper': [1, -2, 1, 0.25, 7],
    '/width': 0.5,
    '/mode': -3,
    '/done': True,
    '/few': [0.5, 1.5],
  }
  assert store.defaults == {'state': '/pose'}
  assert store.columns['/mode'].dtype == np.int32
  assert store.columns['/mode'].shape == ()
  named = episodes.open(path, state='/pose+/width', is_terminal='/done')
  assert named[0].observation['state'].shape == (4, 8)
  assert named[0].is_terminal.all()


def test_a_vector_that_changes_its_length_is_refused(tmp_path):
  _, (kind, timed) = numbers(6, 10)
  timed[3] = timed[3][0], {'data': [1.0]}
  path = write(tmp_path / 'a.mcap', {'/x': (kind, timed)})
  with pytest.raises(episodes.CorruptEpisode, match=r'/x: .*\[1\], expected'):
    episodes.open(path)[0]


def test_a_number_that_is_none_is_refused(tmp_path):
  _, (kind, timed) = numbers(6, 10)
  timed[3] = timed[3][0], {'data': [1.0, np.nan, 0.0]}
  path = write(tmp_path / 'a.mcap', {'/x': (kind, timed)})
  with pytest.raises(episodes.CorruptEpisode, match='state: step 3 is not fin'):
    episodes.open(path)[0]


def test_nothing_of_what_comes_later_is_seen(tmp_path):
  pixels, camera = frames(30)
  times = np.sort(RNG.uniform(0, 3, 200))
  timed = [(t, {'data': t}) for t in [0.0, *times]]
  topics = {'/cam': camera, '/t': ('std_msgs/msg/Float64', timed)}
  source = episodes.open(
    write(tmp_path / 'a.mcap', topics), fps=25, image='/cam', t='/t'
  )
  assert source.fps == 25 and source.lengths.tolist() == [73]
  episode = source[0].observation
  steps = 0.05 + np.arange(73) / 25
  assert (episode['t'][:, 0] <= steps + 1e-6).all()
  expected = [max(t for t in [0.0, *times] if t <= s) for s in steps]
  np.testing.assert_allclose(episode['t'][:, 0], expected, rtol=1e-6)
  shown = held(np.arange(30) / 10, steps)
  np.testing.assert_array_equal(episode['image'], pixels[shown])


def test_frames_whose_times_tremble_are_each_seen_once(tmp_path):
  pixels, (kind, timed) = frames(50, 30)
  timed = [
    (t + RNG.uniform(-0.008, 0.008) * (0 < i < 49), m)
    for i, (t, m) in enumerate(timed)
  ]
  source = episodes.open(write(tmp_path / 'a.mcap', {'/cam': (kind, timed)}))
  np.testing.assert_array_equal(source[0].observation['image'], pixels)


def test_without_a_camera_the_slowest_stream_gives_the_rate(tmp_path):
  topics = {
    '/joint_states': (
      'sensor_msgs/msg/JointState',
      [(t / 100, joints('ab', [1, t])) for t in range(200)],
    ),
    '/cmd': numbers(40, 20)[1],
    '/battery': numbers(4, 2)[1],
  }
  source = episodes.open(write(tmp_path / 'a.mcap', topics))
  assert source.fps == 20 and source[0].action.shape == (31, 3)


def test_a_topic_that_falls_silent_is_no_frozen_number(tmp_path, robot):
  topics = dict(robot[0])
  _, (kind, timed) = frames(100)
  topics['/cam/image_raw'] = kind, timed[:30] + timed[45:]
  for name in '/joint_states', '/arm/action':
    kind, others = topics[name]
    topics[name] = kind, [(t * 5, m) for t, m in others]
  path = write(tmp_path / 'a.mcap', topics)
  with pytest.raises(
    episodes.CorruptEpisode,
    match=r'/cam/image_raw: has been silent for 1\.\d+ s at 4.\d+ s, expected '
    r'a message every 1.00 s',
  ):
    episodes.open(path)[0]
  # Who does not ask for it is not disturbed.
  state = episodes.open(path, state='/joint_states/position')[0]
  assert state.observation['state'].shape[0] > 90


def test_slow_topics_may_be_silent_for_five_periods(tmp_path):
  times = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 18, 19]
  timed = [(t, {'data': t}) for t in times]
  topics = {'/t': ('std_msgs/msg/Float64', timed[:10]), '/cam': frames(121)[1]}
  path = write(tmp_path / 'a.mcap', topics)
  assert episodes.open(path, t='/t')[0].observation['t'].max() == 12
  topics = {'/t': ('std_msgs/msg/Float64', timed), '/cam': frames(191)[1]}
  write(path, topics)
  with pytest.raises(
    episodes.CorruptEpisode, match='/t: has been silent for 5.95'
  ):
    episodes.open(path, t='/t')[0]


def test_what_is_there_for_a_while_decides_nothing(tmp_path):
  topics = {
    '/cam': frames(40)[1],
    '/dead/image_raw': frames(5)[1],
    '/late': numbers(10, 10, 3.0)[1],
  }
  path = write(tmp_path / 'a.mcap', topics)
  source = episodes.open(path)
  assert source.lengths.tolist() == [40] and source.observations == ('image',)
  with pytest.raises(
    episodes.CorruptEpisode,
    match='/late: its first message comes 2.95 s after the first step',
  ):
    episodes.open(path, state='/late')[0]
  with pytest.raises(episodes.CorruptEpisode, match='/dead.*has been silent'):
    episodes.open(path, image='/dead/image_raw')[0]


def test_what_few_bags_have_is_no_default(tmp_path):
  for i in range(3):
    topics = {'/cam': frames(6)[1]} | ({'/b': frames(6)[1]} if i == 1 else {})
    write(tmp_path / f'bags/{i}.mcap', topics)
  source = episodes.open(tmp_path / 'bags')
  assert source.observations == ('image',)
  assert len(source[0].observation['image']) == 6
  assert len(episodes.open(tmp_path / 'bags', b='/b')[1].observation['b']) == 6


def test_what_comes_seldom_does_not_wait_for_itself(tmp_path):
  topics = {'/cam': frames(100)[1], '/battery': numbers(2, 0.2, 4.5)[1]}
  path = write(tmp_path / 'a.mcap', topics)
  assert episodes.open(path).lengths.tolist() == [100]


def test_a_damaged_bag_takes_no_topic_from_others(tmp_path):
  good = write(tmp_path / 'bags/10.mcap', {'/cam': frames(6)[1]})
  content = bytearray(good.read_bytes())
  with open(good, 'rb') as file:
    summary = mcap_reader.make_reader(file).get_summary()
  content[summary.chunk_indexes[0].chunk_start_offset + 33] ^= 1
  (tmp_path / 'bags/0.mcap').write_bytes(content)
  grey = [(t / 10, image(np.zeros((4, 6), np.uint8), '8UC1')) for t in range(3)]
  topics = {'/cam': ('sensor_msgs/msg/Image', grey), '/x': numbers(9, 10)[1]}
  write(tmp_path / 'bags/2.mcap', topics)
  source = episodes.open(tmp_path / 'bags')
  assert source.observations == ('image',) and not source.left_out
  assert source.lengths.tolist() == [0, 3, 6]
  with pytest.raises(episodes.CorruptEpisode, match='0.mcap: the chunk at'):
    source[0]
  with pytest.raises(episodes.CorruptEpisode, match="2.mcap: /cam.*'8UC1'"):
    source[1]


def test_topics_that_never_meet_are_an_episode_of_no_length(tmp_path):
  pixels, camera = frames(10)
  write(tmp_path / 'bags/a.mcap', {'/a': camera, '/b': frames(10)[1]})
  write(tmp_path / 'bags/b.mcap', {'/a': camera, '/b': frames(10, first=5)[1]})
  source = episodes.open(tmp_path / 'bags')
  assert source.lengths.tolist() == [10, 0]
  with pytest.raises(
    episodes.CorruptEpisode, match='b.mcap: has no time in wh'
  ):
    source[1]
  assert source.metadata(1)['instruction'] == ''


def test_times_that_are_no_recording_take_no_memory(tmp_path):
  _, (kind, timed) = frames(4)
  write(tmp_path / 'a.mcap', {'/a': (kind, [*timed, (1e9, timed[0][1])])})
  with pytest.raises(episodes.CorruptEpisode, match='5 messages of a topic ov'):
    episodes.open(tmp_path / 'a.mcap', fps=10)[0]


def test_a_topic_that_an_episode_lacks_is_named(tmp_path, robot):
  topics = robot[0]
  write(tmp_path / 'bags/0.mcap', topics)
  write(tmp_path / 'bags/1.mcap', topics)
  del topics['/joint_states']
  write(tmp_path / 'bags/2.mcap', topics)
  source = episodes.open(tmp_path / 'bags')
  with pytest.raises(
    episodes.CorruptEpisode, match='2.mcap: /joint_states: has no messages'
  ):
    source[2]


def test_wrong_settings_are_named(tmp_path, robot):
  path = write(tmp_path / 'a.mcap', robot[0])
  with pytest.raises(ValueError, match='found fps=-1, expected a number'):
    episodes.open(path, fps=-1)
  with pytest.raises(ValueError, match='clip_steps.*its format does not'):
    episodes.open(path, clip_steps=4)
  with pytest.raises(ValueError, match="no split 'train'"):
    episodes.open(path, split='train')
  write(path, {'/instruction': text((0.0, 'a'), (1.0, 'b'))})
  with pytest.raises(ValueError, match='found no topic of frames or numbers'):
    episodes.open(path)


def test_bags_are_in_the_order_of_their_numbers_and_splits_folders(tmp_path):
  lengths = {'train/2.mcap': 5, 'train/10.mcap': 7, 'val/1.mcap': 4}
  for name, length in lengths.items():
    write(tmp_path / 'data' / name, {'/cam': frames(length)[1]})
  write(tmp_path / 'data/.trash/1.mcap', {'/cam': frames(3)[1]})
  assert episodes.open(tmp_path / 'data').lengths.tolist() == [5, 7, 4]
  train = episodes.open(tmp_path / 'data', split='train')
  assert train.lengths.tolist() == [5, 7]
  with pytest.raises(ValueError, match=r"no split 'test'.*'train', 'val'"):
    episodes.open(tmp_path / 'data', split='test')


def rewritten(path, target, **options):
  """The same messages in another file, by Foxglove's own writer."""
  with open(path, 'rb') as old, open(target, 'wb') as new:
    writer = mcap_writer.Writer(new, **options)
    writer.start('ros2', 'test')
    channels = {}
    for schema, channel, message in mcap_reader.make_reader(
      old
    ).iter_messages():
      if channel.id not in channels:
        number = writer.register_schema(
          schema.name, schema.encoding, schema.data
        )
        channels[channel.id] = writer.register_channel(
          channel.topic, channel.message_encoding, number
        )
      at = channels[channel.id], message.log_time, message.data
      writer.add_message(*at, message.publish_time)
    writer.finish()
  return target


def same(one, other):
  assert one.lengths.tolist() == other.lengths.tolist()
  for i in range(len(one)):
    a, b = one.read(i), other.read(i)
    assert a.keys() == b.keys()
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


LAYOUTS = {
  'lz4': dict(compression=mcap_writer.CompressionType.LZ4, chunk_size=900),
  'plain': dict(compression=mcap_writer.CompressionType.NONE, chunk_size=900),
  'zstd': dict(chunk_size=900),
  'no_chunks': dict(use_chunking=False),
  'no_index': dict(index_types=mcap_writer.IndexType.NONE, chunk_size=900),
  'no_counts': dict(use_statistics=False, chunk_size=900),
  'no_repeats': dict(repeat_channels=False, repeat_schemas=False),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_files_are_read_however_they_are_laid_out(tmp_path, robot, layout):
  path = write(tmp_path / 'a.mcap', robot[0])
  other = rewritten(path, tmp_path / 'b.mcap', **LAYOUTS[layout])
  source = episodes.open(other)
  same(episodes.open(path), source)
  assert source.metadata(0)['truncated'] is False


def test_an_index_spares_reading_messages(tmp_path, robot, monkeypatch):
  path = write(tmp_path / 'a.mcap', robot[0], chunk_size=900)
  read = []
  content = mcap_file._content
  monkeypatch.setattr(
    mcap_file, '_content', lambda *a: read.append(a[2]) or content(*a)
  )
  mcap_file.channels(path)
  assert not read
  source = episodes.open(path)
  read.clear()
  source.read(0, ['action'])
  chunks = len(set(read))
  assert len(read) == chunks  # Each once.
  read.clear()
  source.read(0)
  assert len(set(read)) > chunks


@pytest.mark.parametrize('layout', ['zstd', 'no_chunks', 'no_index'])
def test_a_file_without_an_end_is_read_as_far_as_it_goes(
  tmp_path, robot, layout
):
  whole = write(tmp_path / 'whole.mcap', robot[0])
  rewritten(whole, tmp_path / 'all.mcap', **LAYOUTS[layout])
  content = (tmp_path / 'all.mcap').read_bytes()
  path = tmp_path / 'bags' / 'a.mcap'
  path.parent.mkdir()
  everything = episodes.open(whole)
  columns = list(everything.store.columns)
  complete = everything.store.read(0, columns)
  seen = set()
  for share in 0.5, 0.7, 0.9:
    path.write_bytes(content[: int(share * len(content))])
    source = episodes.open(path)
    assert source.metadata(0)['truncated'] is True
    (length,) = source.lengths
    assert 0 < length <= 19
    seen.add(int(length))
    for name, x in source.store.read(0, columns).items():
      np.testing.assert_array_equal(x, complete[name][:length])
  assert len(seen) > 1
  # A recorder that was stopped writes no more, and zeros where it kept room.
  path.write_bytes(content[: int(0.9 * len(content))] + bytes(1000))
  assert len(episodes.open(path)) == 1


def unsigned(content):
  """A file without the checksum of its end, which may be changed then."""
  content = bytearray(content)
  struct.pack_into('<I', content, len(content) - 12, 0)
  return content


def faulty(content, tmp_path, why):
  """Two files, a good one and this: the fault is that of the second."""
  folder = tmp_path / 'faulty'
  write(folder / '0.mcap', {'/cam': frames(4)[1]})
  (folder / '1.mcap').write_bytes(content)
  source = episodes.open(folder)
  assert source.lengths[0] == 4
  with pytest.raises(episodes.CorruptEpisode, match=why) as caught:
    source[1]
  assert '1.mcap' in str(caught.value)
  return source


def test_files_that_are_none_are_named(tmp_path, robot):
  faulty(b'', tmp_path, 'found nothing in it')
  faulty(b'PK\3\4' * 50, tmp_path, 'another kind of file, expected MCAP')
  faulty(mcap_file.MAGIC, tmp_path, 'has no time in which')
  with pytest.raises(ValueError, match='a.mcap.*another kind of file'):
    (tmp_path / 'a.mcap').write_bytes(b'PK\3\4' * 50)
    episodes.open(tmp_path / 'a.mcap')


def test_damage_is_named(tmp_path, robot):
  path = write(tmp_path / 'a.mcap', {'/cam': frames(4)[1]}, chunk_size=300)
  good = path.read_bytes()
  with open(path, 'rb') as file:
    summary = mcap_reader.make_reader(file).get_summary()
  at = summary.chunk_indexes[1].chunk_start_offset
  bad = bytearray(good)
  bad[at + 9 + 24] ^= 1  # Of the checksum.
  faulty(bytes(bad), tmp_path, 'chunk at byte .* is damaged')
  bad = bytearray(good)
  struct.pack_into('<Q', bad, at + 9 + 16, 1 << 40)
  faulty(bytes(bad), tmp_path, f'declares {1 << 40} bytes')
  bad = bytearray(good)
  struct.pack_into('<Q', bad, at + 9 + 16, 1 << 20)
  faulty(bytes(bad), tmp_path, f'expected {1 << 20}; copy it again')
  bad = bytearray(good)
  index = summary.chunk_indexes[1].message_index_offsets
  (entry,) = index.values()
  struct.pack_into('<Q', bad, entry + 9 + 6 + 8, 10**6)
  faulty(bytes(bad), tmp_path, 'no message of channel 1 and time')
  bad = bytearray(good)
  struct.pack_into('<Q', bad, entry + 9 + 6, START)  # A time that it is not.
  faulty(bytes(bad), tmp_path, 'no message of channel 1 and time')
  struct.pack_into('<Q', bad, entry + 9 + 6, 1 << 63)
  faulty(bytes(bad), tmp_path, 'times below zero')
  bad = bytearray(good)
  bad[-40] ^= 1
  faulty(bytes(bad), tmp_path, 'its end is damaged')
  bad = unsigned(good)
  struct.pack_into('<Q', bad, len(bad) - 8 - 20, 20)
  faulty(bytes(bad), tmp_path, 'record at byte 20 is not whole')
  # Without a summary all is read.
  struct.pack_into('<Q', bad, len(bad) - 8 - 20, 1 << 62)
  path.with_name('b.mcap').write_bytes(bad)
  same(episodes.open(path), episodes.open(path.with_name('b.mcap')))


def test_a_count_that_is_not_there_is_named(tmp_path):
  path = write(tmp_path / 'a.mcap', {'/cam': frames(4)[1]})
  bad = unsigned(path.read_bytes())
  at = bad.rindex(b'\x0b' + struct.pack('<Q', 46 + 10)) + 9
  assert struct.unpack_from('<Q', bad, at) == (4,)
  struct.pack_into('<Q', bad, at, 5)
  faulty(bytes(bad), tmp_path, 'found 4 messages, expected 5')


def test_messages_that_are_not_of_their_type_are_refused(tmp_path, monkeypatch):
  monkeypatch.setitem(TYPES, 'std_msgs/msg/Float64', 'float32 data')
  timed = [(t / 10, {'data': t}) for t in range(4)]
  topics = {'/x': ('std_msgs/msg/Float64', timed), '/cam': frames(4)[1]}
  path = write(tmp_path / 'a.mcap', topics)
  plain = dict(use_chunking=False, enable_crcs=False)
  uncompressed = rewritten(path, tmp_path / 'b.mcap', **plain)
  content = uncompressed.read_bytes()
  wrong = content.replace(b'float32 data', b'float64 data')
  uncompressed.write_bytes(wrong)
  with pytest.raises(ValueError, match='numbers end at byte 8 of 4'):
    episodes.open(uncompressed, x='/x')
  uncompressed.write_bytes(content.replace(b'float32 data', b'uint8   data'))
  episodes.open(uncompressed, x='/x')  # 3 bytes may fill up a message.
  twice = TYPES['std_msgs/msg/Float64'] + '\nfloat32 other\nfloat32 third'
  monkeypatch.setitem(TYPES, 'std_msgs/msg/Float64', twice)
  write(path, topics)
  content = rewritten(path, uncompressed, **plain).read_bytes()
  short = content.replace(b'third', b'T=001').replace(
    b'float32 T', b'float32 T'
  )
  uncompressed.write_bytes(short)
  with pytest.raises(ValueError, match='/x.*4 bytes are left over'):
    episodes.open(uncompressed, x='/x')


def test_messages_of_other_encodings_are_left_out(tmp_path):
  path = tmp_path / 'a.mcap'
  timed = [(t, {'data': 'x'}) for t in range(3)]
  write(path, {'/cam': frames(4)[1], '/task': ('std_msgs/msg/String', timed)})
  with open(tmp_path / 'b.mcap', 'wb') as file:
    writer = mcap_writer.Writer(file)
    writer.start()
    schema = writer.register_schema('foxglove.Log', 'jsonschema', b'{}')
    channel = writer.register_channel('/j', 'json', schema)
    for t in range(4):
      data = json.dumps({'x': t}).encode()
      writer.add_message(channel, START + t, data, START + t)
    writer.finish()
  (tmp_path / 'bags').mkdir()
  for name in 'a.mcap', 'b.mcap':
    (tmp_path / name).rename(tmp_path / 'bags' / name)
  source = episodes.open(tmp_path / 'bags')
  assert 'json' in source.left_out['/j'] and source.lengths.tolist() == [4, 0]
  with pytest.raises(ValueError, match="encoded as .'json'., expected cdr"):
    episodes.open(tmp_path / 'bags', state='/j')
  with pytest.raises(ValueError, match='found no topic.*json'):
    episodes.open(tmp_path / 'bags/b.mcap')


def test_bytes_of_either_order_are_read():
  types = cdr.definition('my_msgs/msg/A', 'ros2msg', 'uint8 a\nfloat64[] b')
  for order, mark in ('<', 1), ('>', 0):
    data = bytes([0, mark, 0, 0, 7, 0, 0, 0]) + struct.pack(
      f'{order}I2d', 2, 0.5, -3
    )
    message = cdr.decode(types, 'my_msgs/msg/A', data)
    assert message['a'] == 7 and message['b'].tolist() == [0.5, -3]
    assert message['b'].dtype == np.float64
  for mark in b'\0\2', b'\0\3', b'\0\7', b'{"':
    with pytest.raises(ValueError, match='expected CDR'):
      cdr.decode(types, 'my_msgs/msg/A', mark + data[2:])


@pytest.mark.parametrize(
  ('text', 'data', 'why'),
  [
    ('float64[] x', struct.pack('<I', 1 << 31), 'numbers end at byte'),
    ('string x', struct.pack('<I', 9) + b'abc', 'numbers end at byte'),
    ('string x', struct.pack('<I', 3) + b'abc', 'has no end'),
    ('string[] x', struct.pack('<I', 1 << 31), 'found 0 bytes, expected'),
    ('B[] x', struct.pack('<I', 1) + bytes(4), 'test_msgs/B has no definition'),
    ('float64[4000000000] x', bytes(8), 'numbers end at byte'),
    ('wstring x', bytes(8), 'test_msgs/wstring has no definition'),
  ],
)
def test_hostile_messages_are_refused(text, data, why):
  types = cdr.definition('test_msgs/msg/A', 'ros2msg', text)
  with pytest.raises(ValueError, match=why):
    cdr.decode(types, 'test_msgs/msg/A', bytes([0, 1, 0, 0]) + data)


def test_a_type_in_itself_is_left_out(tmp_path, monkeypatch):
  monkeypatch.setitem(TYPES, 'my_msgs/msg/Loop', 'float64 x\nuint8[] y')
  timed = [(t / 10, {'x': 1.0, 'y': b'abcd'}) for t in range(4)]
  topics = {'/cam': frames(4)[1], '/loop': ('my_msgs/msg/Loop', timed)}
  path = write(tmp_path / 'a.mcap', topics)
  plain = dict(use_chunking=False, enable_crcs=False)
  rewritten(path, tmp_path / 'b.mcap', **plain)
  content = (tmp_path / 'b.mcap').read_bytes()
  old, new = b'float64 x\nuint8[] y', b'Loop loop'
  content = content.replace(old, new.ljust(len(old)))
  (tmp_path / 'b.mcap').write_bytes(content)
  source = episodes.open(tmp_path / 'b.mcap')
  assert '/loop' in source.left_out and source.observations == ('image',)


def test_what_is_missing_to_read_mcap_is_named(tmp_path, monkeypatch):
  path = write(tmp_path / 'a.mcap', {'/cam': frames(4)[1]})
  mcap_file.library.cache_clear()
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, 'mcap', None)
    with pytest.raises(
      ValueError, match=r"needs mcap: pip install -e '.\[ros\]"
    ):
      episodes.open(path)
  assert episodes.open(path).lengths.tolist() == [4]


# Bags as rosbag2 has them.

HUMBLE = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY,ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY,metadata_version INTEGER NOT NULL,metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,type TEXT NOT NULL,serialization_format TEXT NOT NULL,offered_qos_profiles TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,timestamp INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES(3,'humble');
"""  # noqa: E501
METADATA = """rosbag2_bagfile_information:
  version: 5
  storage_identifier: {storage}
  duration:
    nanoseconds: 1
  relative_file_paths:
{paths}
  files:
{files}
"""


def database(path, mcap_path, keep=lambda time: True, script=HUMBLE):
  """The messages of an MCAP file as ROS 2 Humble keeps them: undefined."""
  path.parent.mkdir(parents=True, exist_ok=True)
  path.unlink(missing_ok=True)
  base = sqlite3.connect(path)
  base.executescript(script)
  with open(mcap_path, 'rb') as file:
    topics = {}
    for schema, channel, m in mcap_reader.make_reader(file).iter_messages():
      row = channel.id, channel.topic, schema.name, 'cdr', ''
      if channel.id not in topics:
        base.execute('INSERT INTO topics VALUES(?,?,?,?,?)', row)
        topics[channel.id] = row
      if keep(m.log_time):
        row = channel.id, m.log_time, m.data
        base.execute(
          'INSERT INTO messages(topic_id,timestamp,data) VALUES(?,?,?)', row
        )
  base.commit()
  base.close()
  return path


def metadata(folder, names, storage='sqlite3'):
  text = METADATA.format(
    storage=storage,
    paths='\n'.join(f'    - {name}' for name in names),
    files='\n'.join(f'    - path: {name}' for name in names),
  )
  (folder / 'metadata.yaml').write_text(text)


def test_a_bag_of_several_files_is_one_episode(tmp_path, robot):
  whole = write(tmp_path / 'a.mcap', robot[0])
  bag = tmp_path / 'bags' / 'bag'
  names = [f'bag_{i}.db3' for i in (9, 10)]
  half = START + SECOND
  database(bag / names[0], whole, lambda time: time < half)
  database(bag / names[1], whole, lambda time: time >= half)
  metadata(bag, [f'bag/{names[0]}', names[1]])
  source = pickle.loads(pickle.dumps(episodes.open(bag)))
  same(episodes.open(whole), source)
  same(episodes.open(tmp_path / 'bags'), source)
  assert source.metadata(0)['file'] == str(bag)
  assert source.metadata(0)['instruction'] == 'pick it up'
  assert 'found no definition' in source.left_out['/log']
  same(episodes.open(whole), episodes.open(database(tmp_path / 'b.db3', whole)))
  (bag / names[1]).unlink()
  with pytest.raises(ValueError, match='bag_10.db3: no such file; metadata.ya'):
    episodes.open(bag)


def test_a_bag_leads_out_of_no_folder(tmp_path, robot):
  whole = write(tmp_path / 'a.mcap', robot[0])
  bag = tmp_path / 'bag'
  bag.mkdir()
  (bag / 'a_0.mcap').symlink_to(whole)
  metadata(bag, ['../a.mcap', 'a_0.mcap'], 'mcap')
  with pytest.raises(ValueError, match='leads out of this folder'):
    episodes.open(bag)


def test_a_file_that_is_compressed_as_a_whole_is_named(tmp_path):
  bag = tmp_path / 'bag'
  bag.mkdir()
  (bag / 'bag_0.db3.zstd').write_bytes(b'\x28\xb5\x2f\xfd')
  metadata(bag, ['bag_0.db3.zstd'])
  with pytest.raises(ValueError, match='bag_0.db3.zstd: is compressed as a wh'):
    episodes.open(bag)


def test_faults_of_databases_are_named(tmp_path, robot):
  whole = write(tmp_path / 'a.mcap', robot[0])
  path = database(tmp_path / 'a.db3', whole)
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(ValueError, match='a.db3: no readable SQLite file'):
    episodes.open(path)
  path.write_bytes(b'SQLite format 3\0' + bytes(200))
  with pytest.raises(ValueError, match='a.db3: no readable SQLite file'):
    episodes.open(path)
  path.unlink()
  sqlite3.connect(path).executescript(
    'CREATE TABLE x(y); INSERT INTO x VALUES(1)'
  )
  with pytest.raises(ValueError, match=r"tables \['x'\], expected topics and"):
    episodes.open(path)
  database(path, whole)
  pathlib.Path(f'{path}-wal').write_bytes(b'x')
  with pytest.raises(
    ValueError, match='a.db3: its last messages are in a.db3-'
  ):
    episodes.open(path)


@pytest.mark.parametrize(
  'trap',
  [
    'ALTER TABLE messages RENAME TO kept; CREATE VIEW messages AS SELECT id, '
    'topic_id, timestamp, zeroblob(1 << 20) AS data FROM kept',
    'ALTER TABLE messages RENAME TO kept; CREATE TABLE messages(id INTEGER, '
    'topic_id INTEGER, timestamp INTEGER, data BLOB AS (zeroblob(1 << 20)));'
    'INSERT INTO messages(id, topic_id, timestamp) '
    'SELECT id, topic_id, timestamp FROM kept',
  ],
)
def test_databases_that_compute_are_refused(tmp_path, robot, trap):
  path = database(tmp_path / 'a.db3', write(tmp_path / 'a.mcap', robot[0]))
  base = sqlite3.connect(path)
  base.executescript(trap)
  base.close()
  with pytest.raises(ValueError, match='expected topics and messages'):
    episodes.open(path)


def test_bags_by_rosbags_are_read():
  """SQLite, MCAP, and SQLite whose messages are compressed one by one."""
  first, source = episodes.open(DATA), episodes.open(DATA)
  assert first.streams == source.streams  # The second is from what was kept.
  assert source.columns_of(['state']) == {'state': ['/joint_states/position']}
  assert source.lengths.tolist() == [5, 5, 5] and source.fps == 10
  for i in range(3):
    episode = source.read(i)
    # From the first pose at 0.02 s on: frames of 0.0 s, joints of 0.01 s.
    frames = [np.arange(t, t + 24, dtype=np.uint8) for t in range(5)]
    pixels = np.reshape(frames, (5, 2, 12))[:, :, :9].reshape(5, 2, 3, 3)
    np.testing.assert_array_equal(episode['image'], pixels[..., ::-1])
    state = [[t, t / 8] for t in range(5)]
    np.testing.assert_array_equal(episode['state'], state)
    meta = source.metadata(i)
    assert meta['instruction'] == 'pick it up'
    assert meta['oldest_sample'] == pytest.approx(0.07)
    assert meta['file'].endswith(f'episode_{i}')
  pose = episodes.open(
    DATA / 'episode_1', state='/eef', e='/joint_states/effort'
  )
  episode = pose[0].observation
  assert episode['state'][4].tolist() == [1, 2, 1, 0, 0, 0, 1]
  assert episode['e'].tolist() == [[-t, 1] for t in range(5)]


def test_sniffing_is_sure_of_marks_alone(tmp_path):
  assert reader.sniff(DATA / 'episode_0') == 1
  assert reader.sniff(DATA / 'episode_1/episode_1.mcap') == 1
  assert reader.sniff(DATA) == 0.5
  assert reader.sniff(tmp_path) == reader.sniff(tmp_path / 'none') == 0
  (tmp_path / 'metadata.yaml').write_text('x: 1')
  assert reader.sniff(tmp_path) == 0
