"""Cards: their columns on real and on made files, one gripper convention."""

import json
import pickle

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from rpt_jax import episodes
from rpt_jax.episodes import cards
from rpt_jax.episodes.rlds import png
from rpt_jax.tools import convert
from tests.episodes.formats.test_lerobot import G1, needs_g1
from tests.episodes.rlds.test_tfrecord import BRIDGE, frame, needs_bridge


@needs_bridge
def test_bridge(tmp_path):
  folder = convert.run(BRIDGE, tmp_path / 'bridge' / '1.0.0')
  source = episodes.open(folder.parent, card='bridge')
  assert source.fps == 5
  assert source.observations == ('image', 'image_1', 'image_2', 'state')
  plain = episodes.open(folder)
  np.testing.assert_array_equal(source[4].action, plain[4].action)
  other = episodes.open(folder, card='bridge', image='observation/image_2')
  np.testing.assert_array_equal(
    other.read(4, ['image'])['image'], plain.read(4, ['image_2'])['image_2']
  )


@needs_g1
def test_g1():
  source = episodes.open(G1, card='g1')
  assert source.observations == ('image', 'state')
  assert source[0].action.shape == (131, 26)


STEPS = {
  'droid': {
    'observation': {
      'exterior_image_1_left': (4, 6, 3),
      'exterior_image_2_left': (4, 6, 3),
      'wrist_image_left': (4, 6, 3),
      'joint_position': (7,),
      'gripper_position': (1,),
    },
    'action_dict': {'cartesian_velocity': (6,), 'gripper_position': (1,)},
    'language_instruction': None,
  },
  'fractal': {
    'observation': {
      'image': (4, 6, 3),
      'base_pose_tool_reached': (7,),
      'gripper_closed': (1,),
      'natural_language_instruction': None,
    },
    'action': {
      'world_vector': (3,),
      'rotation_delta': (3,),
      'gripper_closedness_action': (1,),
    },
  },
  'language_table': {
    'observation': {
      'rgb': (4, 6, 3),
      'effector_translation': (2,),
      'instruction': (512,),
    },
    'action': (2,),
  },
}
GRIPPER = [0.0, 1.0, 0.0, -1.0, 0.0]


def feature(name, shape):
  if shape is None:
    return tfds.features.Text()
  if len(shape) == 3:
    return tfds.features.Image(shape=shape, encoding_format='png')
  is_codes = name == 'instruction'
  return tfds.features.Tensor(
    shape=shape, dtype=np.int32 if is_codes else np.float32
  )


def fill(example, path, shape, length):
  """Random values, the known gripper, 'push' in the two ways of saying it."""
  rng = np.random.default_rng(len(path))
  target = example.features.feature[path]
  if shape is None:
    target.bytes_list.value.extend([b'push'] * length)
  elif len(shape) == 3:
    images = rng.integers(0, 256, (length, *shape), np.uint8)
    target.bytes_list.value.extend(png.encode(images))
  elif shape == (512,):
    codes = np.zeros((length, 512), int)
    codes[:, :4] = list(b'push')
    target.int64_list.value.extend(codes.ravel().tolist())
  elif 'gripper' in path and 'action' in path:
    target.float_list.value.extend(GRIPPER)
  else:
    count = length * int(np.prod(shape))
    target.float_list.value.extend(rng.normal(size=count).tolist())


def write(folder, name, steps):
  """A dataset of one tfrecord as tfds lays it out, by tfds's own features."""
  nested = {
    k: {n: feature(n, s) for n, s in v.items()}
    if isinstance(v, dict)
    else feature(k, v)
    for k, v in steps.items()
  }
  features = tfds.features.FeaturesDict(
    {'steps': tfds.features.Dataset(nested)}
  )
  folder.mkdir()
  features.save_config(str(folder))
  example = tf_example_pb2.Example()
  for key, value in steps.items():
    leaves = value.items() if isinstance(value, dict) else [(None, value)]
    for leaf, shape in leaves:
      path = f'steps/{key}/{leaf}' if leaf else f'steps/{key}'
      fill(example, path, shape, len(GRIPPER))
  record = frame(example.SerializeToString())
  (folder / f'{name}-train.tfrecord-00000-of-00001').write_bytes(record)
  splits = [
    {
      'name': 'train',
      'shardLengths': ['1'],
      'numBytes': str(len(record)),
      'filepathTemplate': '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}',
    }
  ]
  info = {'name': name, 'version': '1.0.0', 'fileFormat': 'tfrecord'}
  text = json.dumps({**info, 'splits': splits})
  (folder / 'dataset_info.json').write_text(text)


@pytest.mark.parametrize(
  'name, cameras, widths, gripper',
  [
    ('droid', 3, (8, 7), [1, 0, 1, 2, 1]),
    ('fractal', 1, (8, 7), [1, 0, 0, 1, 1]),
    ('language_table', 1, (2, 2), None),
  ],
)
def test_layouts_as_published(tmp_path, name, cameras, widths, gripper):
  write(tmp_path / 'raw', cards.find(name).name, STEPS[name])
  folder = convert.run(tmp_path / 'raw', tmp_path / 'new')
  source = pickle.loads(pickle.dumps(episodes.open(folder, card=name)))
  episode = source[0]
  kinds = [source.streams[k].kind for k in source.observations]
  assert kinds.count('image') == cameras
  assert episode.observation['state'].shape == (5, widths[0])
  assert episode.action.shape == (5, widths[1])
  assert source.metadata(0)['instruction'] == 'push'
  assert source.fps == cards.find(name).fps
  if gripper:
    assert episode.action[:, -1].tolist() == gripper


@pytest.mark.parametrize(
  'stored, expected',
  [
    ([0, 0, 0], [1, 1, 1]),
    ([0, 1, 0], [1, 0, 0]),
    ([0, -1, 0], [0, 1, 1]),
    ([1, 0, -1, 0.1], [0, 0, 1, 1]),
  ],
)
def test_changes_of_a_gripper_become_where_it_is(stored, expected):
  action = np.array([[7.0, g] for g in stored], np.float32)
  found = cards.gripper_from_changes(action)
  assert found[:, 1].tolist() == expected and (found[:, 0] == 7).all()
  assert found.dtype == np.float32 and action[:, 1].tolist() != expected


def test_an_unknown_card_is_named(tmp_path):
  np.savez(tmp_path / 'a.npz', state=np.zeros((2, 1)))
  with pytest.raises(ValueError, match="'brigde', expected one of.*bridge"):
    episodes.open(tmp_path, card='brigde')
