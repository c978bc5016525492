"""What clients of openpi and RoboArena send, and what they expect.

Sessions as their documentation draws them: messages are built here, of maps,
texts and arrays, and what comes back is taken apart as those clients do it.
"""

import msgpack
import numpy as np
import pytest
import serving
from websockets.sync.client import connect

from rpt_jax.policy import Policy
from rpt_jax.serve import layouts, requests, starting
from rpt_jax.types import StreamSpec
from tests.policy import robots


def packed(value):
  """As the clients' `msgpack_numpy` writes it."""

  def write(x):
    return {
      b'__ndarray__': True,
      b'data': x.tobytes(),
      b'dtype': x.dtype.str,
      b'shape': x.shape,
    }

  return msgpack.packb(value, default=write)


def unpacked(data):
  def read(x):
    if b'__ndarray__' in x:
      return np.ndarray(x[b'shape'], np.dtype(x[b'dtype']), x[b'data'])
    return x

  return msgpack.unpackb(data, object_hook=read)


def test_a_session_of_openpi():
  state = np.float32([0.1, -0.2, 0.3])
  observation = {'observation/state': state, 'prompt': 'pick it up'}
  with serving.serve() as running, connect(running.address) as socket:
    about = unpacked(socket.recv())  # Before anything is asked.
    assert isinstance(about, dict)
    answers = []
    for _ in range(2):
      socket.send(packed(observation))
      answers.append(unpacked(socket.recv()))
    socket.send(packed({'observation/stat': state}))
    refused = socket.recv()
  policy = serving.policy()
  policy.reset()
  first = policy.act({'proprio': state[None]})[0]
  assert answers[0]['actions'].shape == (serving.CHUNK, robots.A)
  assert answers[0]['actions'].dtype == np.float32
  np.testing.assert_allclose(answers[0]['actions'][0], first, atol=2e-2)
  assert answers[0]['server_timing']['infer_ms'] > 0
  assert 'prev_total_ms' in answers[1]['server_timing']
  assert isinstance(refused, str) and 'missing' in refused


def droid():
  """A policy of a wrist camera and eight numbers of state and action."""
  specs = {
    'latent/front': robots.SPECS['latent/front'],
    'proprio': StreamSpec('proprio', 'continuous', dim=8),
    'action': StreamSpec('action', 'continuous', dim=8),
  }
  kept, robots.SPECS = robots.SPECS, specs
  try:
    return Policy(**robots.parts(('latent/front', 'proprio')))
  finally:
    robots.SPECS = kept


NAMES = (
  'front=observation/wrist_image_left,'
  'proprio=observation/joint_position+observation/gripper_position'
)


def test_an_evaluation_of_roboarena():
  policy = droid()
  names = starting.names(NAMES, policy.observed)
  rng = np.random.default_rng(0)
  frame = rng.integers(256, size=(16, 16, 3), dtype=np.uint8)
  joints, gripper = rng.normal(size=7), rng.normal(size=1)  # f64, as there.
  observation = {
    'endpoint': 'infer',
    'observation/wrist_image_left': frame,
    'observation/joint_position': joints,
    'observation/cartesian_position': np.zeros(6),
    'observation/gripper_position': gripper,
    'session_id': '6f1d',
    'prompt': 'put the cup away',
  }
  with (
    serving.serve(
      policy, sessions=1, execute=2, layout='roboarena', names=names
    ) as running,
    connect(running.address) as socket,
  ):
    settings = unpacked(socket.recv())
    chunks = []
    for session in ('6f1d', '6f1d', '70aa'):
      socket.send(packed(observation | {'session_id': session}))
      chunks.append(unpacked(socket.recv()))
    socket.send(packed({'endpoint': 'reset'}))
    said = socket.recv()
    socket.send(packed(observation | {'session_id': '70aa'}))
    chunks.append(unpacked(socket.recv()))
  assert settings == {
    'image_resolution': [16, 16],
    'needs_wrist_camera': True,
    'n_external_cameras': 0,
    'needs_stereo_camera': False,
    'needs_session_id': True,
    'action_space': 'joint_position',
  }
  assert said == 'reset successful'
  seen = {
    'front': frame[None],
    'proprio': np.float32(np.concatenate([joints, gripper]))[None],
  }
  policy.reset()
  first = policy.act(seen)[0]
  for chunk in (chunks[0], chunks[2], chunks[3]):  # An episode's first.
    assert chunk.shape == (2, 8) and chunk.dtype == np.float32
    np.testing.assert_allclose(chunk[0], first, atol=2e-2)
  assert np.abs(chunks[1] - chunks[0]).max() > 1e-3  # It has a history.


@pytest.mark.parametrize(
  'text, words',
  [
    ('front', '--names'),
    ('front=', '--names'),
    ('front=a,proprio=b+', '--names'),
    ('front=a', "expected one for each of \\['front', 'proprio'\\]"),
    ('front=a,proprio=b,side=c', 'side'),
  ],
)
def test_names_that_mean_nothing_are_refused(text, words):
  with pytest.raises(ValueError, match=words):
    starting.names(text, ('front', 'proprio'))


def test_what_roboarena_cannot_play_is_refused():
  with pytest.raises(ValueError, match='expected 8 numbers'):
    serving.serve(layout='roboarena')
  with pytest.raises(ValueError, match='expected a name for each'):
    serving.serve(droid(), sessions=1, layout='roboarena')


def test_every_layout_reads_that_an_episode_begins():
  for kind in layouts.KINDS:
    layout = layouts.load(kind)
    assert isinstance(layout.read({'endpoint': 'reset'}, None), requests.Reset)
