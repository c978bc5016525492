"""Published datasets: what their columns mean, and one convention for all.

A card fills in the mapping of `episodes.open(path, card=...)` and, where the
dataset has a gripper, brings its action to one convention: the last dimension
is the gripper, absolute, 1 open and 0 closed. `checked` says what of a card
was seen in files here; the rest is from the publications and may be wrong.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Card:
  """One dataset in one version.

  `mapping` names columns for streams, as `episodes.open` takes them; `fps` is
  the control rate; `standardise` takes actions [T, A] as they are stored.
  """

  name: str
  homepage: str
  version: str
  format: str
  fps: float
  state: str
  action: str
  mapping: Mapping[str, str]
  checked: str
  standardise: Callable[[np.ndarray], np.ndarray] | None = None


def gripper_inverted(action_TA: np.ndarray) -> np.ndarray:
  """For grippers stored as 1 closed, 0 open."""
  return _with_gripper(action_TA, 1 - action_TA[:, -1])


def gripper_from_changes(action_TA: np.ndarray) -> np.ndarray:
  """For grippers stored as changes: 1 closes, -1 opens, 0 keeps.

  The gripper is what the last change made it; before the first change it is
  the opposite of that change, and open where none ever comes.
  """
  change_T = action_TA[:, -1]
  is_change_T = np.abs(change_T) > 0.5
  steps = np.arange(len(change_T))
  last_T = np.maximum.accumulate(np.where(is_change_T, steps, -1))
  moves = np.flatnonzero(is_change_T)
  before = float(change_T[moves[0]] > 0) if len(moves) else 1.0
  gripper_T = (change_T[np.maximum(last_T, 0)] < 0).astype(np.float32)
  return _with_gripper(action_TA, np.where(last_T >= 0, gripper_T, before))


def _with_gripper(action_TA, gripper_T):
  gripper_T1 = gripper_T[:, None].astype(action_TA.dtype)
  return np.concatenate([action_TA[:, :-1], gripper_T1], axis=1)


CARDS = {
  'bridge': Card(
    name='bridge_dataset',
    homepage='https://rail-berkeley.github.io/bridgedata/',
    version='1.0.0',
    format='RLDS, tfrecord',
    fps=5.0,
    state='end effector xyz, roll, pitch, yaw, gripper opening',
    action='change of xyz, roll, pitch, yaw; gripper absolute, 1 open',
    mapping={
      'image': 'observation/image_0',
      'image_1': 'observation/image_1',
      'image_2': 'observation/image_2',
      'state': 'observation/state',
      'action': 'action',
      'instruction': 'language_instruction',
    },
    checked='columns, shapes and instructions, on 25 episodes; has_image_* '
    'flags and is_last are wrong there; rate and gripper unchecked',
  ),
  'droid': Card(
    name='droid',
    homepage='https://droid-dataset.github.io/',
    version='1.0.0',
    format='RLDS, tfrecord',
    fps=15.0,
    state='7 joint positions, gripper position (1 closed)',
    action='6 end effector velocities (m/s, rad/s scaled to -1..1), gripper '
    'position stored as 1 closed, inverted here',
    mapping={
      'image': 'observation/exterior_image_1_left',
      'exterior': 'observation/exterior_image_2_left',
      'wrist': 'observation/wrist_image_left',
      'state': 'observation/joint_position+observation/gripper_position',
      'action': 'action_dict/cartesian_velocity+action_dict/gripper_position',
      'instruction': 'language_instruction',
    },
    checked='nothing: no file of it was at hand',
    standardise=gripper_inverted,
  ),
  'fractal': Card(
    name='fractal20220817_data',
    homepage='https://robotics-transformer1.github.io/',
    version='0.1.0',
    format='RLDS, tfrecord',
    fps=3.0,
    state='end effector xyz and quaternion in the base frame, gripper (1 '
    'closed)',
    action='change of xyz, of roll, pitch, yaw; gripper stored as a change '
    '(1 closes, -1 opens), made absolute here',
    mapping={
      'image': 'observation/image',
      'state': 'observation/base_pose_tool_reached+observation/gripper_closed',
      'action': 'action/world_vector+action/rotation_delta+'
      'action/gripper_closedness_action',
      'instruction': 'observation/natural_language_instruction',
    },
    checked='nothing: no file of it was at hand',
    standardise=gripper_from_changes,
  ),
  'language_table': Card(
    name='language_table',
    homepage='https://interactive-language.github.io/',
    version='0.0.1',
    format='RLDS, tfrecord',
    fps=10.0,
    state='end effector xy on the table',
    action='change of xy; no gripper',
    mapping={
      'image': 'observation/rgb',
      'state': 'observation/effector_translation',
      'action': 'action',
      'instruction': 'observation/instruction',  # Codes of bytes, 0-padded.
    },
    checked='nothing: no file of it was at hand',
  ),
  'g1': Card(
    name='YifanTian07/G1-policy-train',
    homepage='https://huggingface.co/datasets/YifanTian07/G1-policy-train',
    version='LeRobot v2.1',
    format='LeRobot, parquet and mp4',
    fps=10.0,
    state='14 arm joints, then 12 hand joints',
    action='absolute targets of the same 26 joints',
    mapping={
      'image': 'observation.images.cam_high',
      'state': 'observation.state',
      'action': 'action',
    },
    checked='columns, shapes, lengths and rate, on 60 episodes that keep '
    'every third frame',
  ),
}


def find(name: str) -> Card:
  """The card of that name; ValueError with the known names otherwise."""
  if name not in CARDS:
    raise ValueError(f'card: found {name!r}, expected one of {sorted(CARDS)}')
  return CARDS[name]
