"""A robot gives what its dataset holds: its names, one of each, its frames."""

import numpy as np
import pytest
import robots

from rpt_jax.episodes import decode
from rpt_jax.policy import Policy
from rpt_jax.types import DatasetNames

RECORDED = DatasetNames(
  {
    'front': ('observation.images.front',),
    'corner2': ('observation.images.corner2',),
    'proprio': ('observation.arm', 'observation.hand'),
  },
  {'front': (30, 40)},
)


@pytest.fixture(scope='module')
def policy():
  return Policy(**robots.parts(), labels=robots.LABELS, recorded=RECORDED)


@pytest.fixture
def seen():
  (now,), _ = robots.episode(1)
  return now


def as_recorded(seen):
  """Under the names of the dataset."""
  return {
    'observation.images.front': seen['front'],
    'observation.images.corner2': seen['corner2'],
    'observation.arm': seen['proprio'][..., :2],
    'observation.hand': seen['proprio'][..., 2:],
  }


def acted(policy, observation):
  policy.reset()
  return policy.act(observation)


def test_the_names_of_the_dataset_are_taken_beside_ours(policy, seen):
  action_BA = acted(policy, seen)
  np.testing.assert_array_equal(acted(policy, as_recorded(seen)), action_BA)
  mixed = as_recorded(seen) | {'front': seen['front']}
  del mixed['observation.images.front']
  np.testing.assert_array_equal(acted(policy, mixed), action_BA)
  twice = as_recorded(seen) | {'front': seen['front']}
  with pytest.raises(ValueError, match=r"unknown \['observation.images.front'"):
    acted(policy, twice)
  less = as_recorded(seen)
  del less['observation.hand']
  with pytest.raises(ValueError, match=r"missing \['proprio'\]"):
    acted(policy, less)


def test_of_one_robot_nothing_needs_a_batch(policy, seen):
  action_BA = acted(policy, seen)
  single = {name: x[0] for name, x in as_recorded(seen).items()}
  action_A = acted(policy, single)
  np.testing.assert_array_equal(action_A, action_BA[0])
  policy.executed(action_A)
  with pytest.raises(ValueError, match="'proprio': found shape"):
    acted(policy, seen | {'proprio': seen['proprio'][0]})
  policy.reset(2)
  with pytest.raises(ValueError, match='found shape'):
    policy.act(single)
  with pytest.raises(ValueError, match=r'nan in lane 0 at index 2 \(gripper'):
    acted(policy, seen | {'proprio': np.float32([[0, 0, np.nan]])})


def test_frames_as_recorded_are_scaled_as_in_training(policy, seen):
  rng = np.random.default_rng(0)
  large = rng.integers(256, size=(1, 30, 40, 3), dtype=np.uint8)
  small = decode.resize(large, robots.FRAMES['front'])
  np.testing.assert_array_equal(
    acted(policy, seen | {'front': large}),
    acted(policy, seen | {'front': small}),
  )
  for other in (large[:, :29], large / np.float32(255)):
    with pytest.raises(ValueError, match="'front': found"):
      acted(policy, seen | {'front': other})
  with pytest.raises(ValueError, match="'corner2': found shape"):
    acted(policy, seen | {'corner2': large})


def test_what_was_recorded_is_saved(tmp_path):
  parts = robots.parts(('proprio', 'action'))
  about = RECORDED.only(['proprio', 'front'])
  assert 'corner2' not in about.columns
  policy = Policy(**parts, labels=robots.LABELS, recorded=about)
  policy.save(tmp_path / 'policy')
  loaded = Policy.load(tmp_path / 'policy')
  assert loaded.labels == robots.LABELS
  assert loaded.recorded == about and loaded.recorded.sizes['front'] == (30, 40)
