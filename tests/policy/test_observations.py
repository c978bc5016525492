"""What is wrong with an observation is said before anything moves."""

import numpy as np
import pytest
import robots

from rpt_jax.policy import Policy


@pytest.fixture(scope='module')
def policy():
  return Policy(**robots.parts(), labels=robots.LABELS)


@pytest.fixture
def seen():
  (now,), _ = robots.episode(1, batch=2)
  return now


def broken(x, index, value):
  x = x.copy()
  x[index] = value
  return x


FAULTS = {
  'a camera is missing': (
    lambda o: {k: x for k, x in o.items() if k != 'front'},
    r"missing \['front'\], unknown \[\]",
  ),
  'a name is wrong': (
    lambda o: {k.replace('corner2', 'corner'): x for k, x in o.items()},
    r"expected \['corner2', 'front', 'proprio'\].*"
    "'corner' may be meant as 'corner2'",
  ),
  'a name is too much': (
    lambda o: o | {'wrist': o['front']},
    r"missing \[\], unknown \['wrist'\]",
  ),
  'no dictionary': (lambda o: o['front'], 'found ndarray, expected a dict'),
  'cameras are swapped': (
    lambda o: o | {'front': o['corner2'], 'corner2': o['front']},
    r"'front': found shape \(2, 12, 20, 3\), expected \(2, 16, 16, 3\)",
  ),
  'camera and vector are swapped': (
    lambda o: o | {'front': o['proprio'], 'proprio': o['front']},
    r"'front': found shape \(2, 3\)",
  ),
  'channels come first': (
    lambda o: o | {'front': o['front'].transpose(0, 3, 1, 2)},
    r'found shape \(2, 3, 16, 16\)',
  ),
  'another frame size': (
    lambda o: o | {'front': o['front'][:, :8]},
    'frames of the size in training',
  ),
  'no batch': (lambda o: o | {'front': o['front'][0]}, 'found shape'),
  'frames are floats': (
    lambda o: o | {'front': o['front'] / np.float32(255)},
    'found dtype float32, expected uint8',
  ),
  'too short a vector': (
    lambda o: o | {'proprio': o['proprio'][:, :2]},
    r"'proprio': found shape \(2, 2\), expected \(2, 3\), a vector",
  ),
  'integers': (
    lambda o: o | {'proprio': o['proprio'].astype(int)},
    "'proprio': found dtype int64",
  ),
  'another batch': (
    lambda o: {k: x[:1] for k, x in o.items()},
    'a batch of 1, but reset was for 2',
  ),
  'not a number': (
    lambda o: o | {'proprio': broken(o['proprio'], (1, 2), np.nan)},
    r"'proprio': nan in lane 1 at index 2 \(gripper\)",
  ),
  'infinite': (
    lambda o: o | {'proprio': broken(o['proprio'], (0, 1), -np.inf)},
    r"'proprio': -inf in lane 0 at index 1 \(y \(m\)\)",
  ),
  'infinite as float32': (
    lambda o: o | {'proprio': broken(o['proprio'].astype(float), (0, 0), 1e60)},
    "'proprio': inf in lane 0 at index 0",
  ),
}


@pytest.mark.filterwarnings('ignore:overflow')
@pytest.mark.parametrize('fault', FAULTS)
def test_faults_are_named_and_change_nothing(policy, seen, fault):
  policy.reset(2)
  memory = policy._memory
  change, message = FAULTS[fault]
  with pytest.raises(ValueError, match=message):
    policy.act(change(seen))
  assert policy._memory is memory


def test_the_order_of_calls(seen):
  policy = Policy(**robots.parts())
  action_BA = np.zeros((2, robots.A), np.float32)
  with pytest.raises(ValueError, match='act before reset'):
    policy.act(seen)
  with pytest.raises(ValueError, match='at least 1'):
    policy.reset(0)
  policy.reset(2)
  with pytest.raises(ValueError, match='executed before act'):
    policy.executed(action_BA)


def test_what_was_executed_is_checked_too():
  parts = robots.parts(('proprio', 'action'))
  policy = Policy(**parts)
  policy.reset(2)
  policy.act({'proprio': np.zeros((2, robots.P), np.float32)})
  with pytest.raises(ValueError, match=r'shape \(2,\), expected \(2, 2\)'):
    policy.executed(np.zeros(2, np.float32))
  with pytest.raises(ValueError, match="'action': nan in lane 1 at index 0"):
    policy.executed(np.array([[0, 0], [np.nan, 0]], np.float32))


def test_actions_that_are_no_numbers_are_not_given():
  parts = robots.parts(('proprio', 'action'))
  params = parts['params'] | {'norm': {'scale': np.full(16, np.nan)}}
  params['norm']['bias'] = np.zeros(16)
  policy = Policy(**parts | {'params': params})
  policy.reset(2)
  with pytest.raises(ValueError, match='do not move the robot'):
    policy.act({'proprio': np.zeros((2, robots.P), np.float32)})


def without(tree, name):
  return {k: x for k, x in tree.items() if k != name}


PARTS = {
  'another image model': (
    lambda p: {'image': robots.image_model()},
    ('proprio',),
    'image: latents of width 8, but the streams of cameras are {}',
  ),
  'no image model': (
    lambda p: {'image': None},
    robots.ALL,
    'image: latents of width None',
  ),
  'no frame size': (
    lambda p: {'frames': without(p['frames'], 'front')},
    robots.ALL,
    r"frames: sizes of \['corner2'\]",
  ),
  'labels': (
    lambda p: {'labels': {'action': ('x',)}},
    robots.ALL,
    "labels: 1 of 'action'",
  ),
  'no statistics': (
    lambda p: {'scales': without(p['scales'], 'action')},
    ('proprio',),
    r"scales: none of \['action'\]",
  ),
  'statistics of another robot': (
    lambda p: {'scales': p['scales'] | {'proprio': (np.zeros(7), np.ones(7))}},
    robots.ALL,
    r"'proprio' has shapes \(7,\)",
  ),
  'negative deviation': (
    lambda p: {'scales': p['scales'] | {'action': (np.zeros(2), -np.ones(2))}},
    robots.ALL,
    "'action' has a mean or deviation",
  ),
  'limits': (
    lambda p: {'action_limit': (1, -1)},
    robots.ALL,
    'low below high',
  ),
  'all seeds': (
    lambda p: {'params': p['params'] | {'mask_action': np.zeros((5, 16))}},
    robots.ALL,
    r'misshaped mask_action \[5, 16\] .the model has \[16\]',
  ),
  'a parameter less': (
    lambda p: {'params': without(p['params'], 'mask_action')},
    robots.ALL,
    'one seed.: does not fit the model: missing mask_action',
  ),
}


@pytest.mark.parametrize('fault', PARTS)
def test_parts_that_do_not_fit_are_refused(fault):
  change, streams, message = PARTS[fault]
  parts = robots.parts(streams)
  with pytest.raises(ValueError, match=message):
    Policy(**parts | change(parts))
