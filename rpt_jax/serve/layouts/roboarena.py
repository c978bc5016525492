"""The messages of RoboArena's evaluation, which plays policies on DROID.

A client is sent what it is to send (`PolicyServerConfig`), sends observations
with an `endpoint` 'infer', plays all N actions [N, 8] of the answer, joints and
gripper, and then asks again; `endpoint` 'reset' begins an episode, as does
another `session_id`. Source: the README and interface of robo-arena/roboarena.
"""

import re

import numpy as np

from rpt_jax.serve import layouts, requests
from rpt_jax.serve.requests import Act, Reset

NUMBERS = 8  # Of an action: seven joints and the gripper.
SPACES = ('joint_position', 'joint_velocity')
_EXTERNAL = r'observation/exterior_image_(\d)_left'


def greeting(about: layouts.About) -> dict:
  """The settings of an evaluation; no others are allowed in it."""
  parts = [part for of in about.names.values() for part in of]
  sizes = {f.shape[:2] for f in about.fields.values() if f.frame}
  return {
    'image_resolution': list(sizes.pop()) if sizes else None,
    'needs_wrist_camera': any('wrist_image' in part for part in parts),
    'n_external_cameras': sum(bool(re.match(_EXTERNAL, p)) for p in parts),
    'needs_stereo_camera': any(p.endswith('_right') for p in parts),
    'needs_session_id': True,
    'action_space': about.action_space,
  }


def check(about: layouts.About) -> None:
  """Raises ValueError for what no evaluation of RoboArena can play."""
  sizes = {f.shape[:2] for f in about.fields.values() if f.frame}
  if about.action_space not in SPACES:
    raise ValueError(
      f'--action_space: found {about.action_space!r}, expected one of {SPACES}'
    )
  if about.num_actions or about.action_dim != NUMBERS:
    raise ValueError(
      f'layout roboarena: the policy has {about.num_actions} discrete actions, '
      f'{about.action_dim} numbers an action; expected {NUMBERS} numbers: '
      'seven joints and the gripper; serve it in the layout openpi'
    )
  if set(about.names) != set(about.fields) or len(sizes) > 1:
    raise ValueError(
      f'layout roboarena: names of {sorted(about.names)}, frames of sizes '
      f'{sorted(sizes)}; expected a name for each of {sorted(about.fields)} '
      'and frames of one size, as --names=wrist=observation/wrist_image_left,'
      'proprio=observation/joint_position+observation/gripper_position'
    )


def read(message, about: layouts.About) -> Act | Reset:
  """The request of a message; ValueError for none."""
  given = layouts.entries(message)
  endpoint = given.get('endpoint')
  if endpoint == 'reset':
    return Reset(requests.whole(given.get('seed', 0), 'reset: seed'))
  if endpoint != 'infer':
    raise ValueError(
      f"endpoint: found {str(endpoint)[:100]!r}, expected 'infer' or 'reset'"
    )
  session = np.asarray(given.get('session_id', '')).ravel()[:1].tolist()
  return Act(
    layouts.renamed(given, about.names),
    session=str(session)[:200],
    instruction=requests.instruction(given.get(layouts.PROMPT, '')),
  )


def begun(about: layouts.About) -> str:
  """The answer to a Reset."""
  del about
  return 'reset successful'


def acted(chunk, timing: dict, request: Act, about: layouts.About):
  """The answer to an Act: an array of what is played before the next."""
  del timing, request
  return chunk[: about.execute]
