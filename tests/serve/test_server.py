"""The server: who is let in, who is answered what, and how it ends."""

import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
import serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rpt_jax.policy import sessions
from rpt_jax.serve import messages
from tests.policy import robots

STEPS = 6


def shown(seed=0, steps=STEPS):
  """Observations of one robot, without a batch."""
  seen, _ = robots.episode(steps, streams=serving.STREAMS, seed=seed)
  return [{name: x[0] for name, x in now.items()} for now in seen]


def alone(observations):
  """Actions of a policy that nobody else asks."""
  policy = serving.policy()
  policy.reset()
  one = [{name: x[None] for name, x in now.items()} for now in observations]
  return np.stack([policy.act(now)[0] for now in one])


def assert_close(given, want):
  """Equal but for a bf16 operand here and there that is rounded otherwise."""
  error = np.abs(np.asarray(given) - want)
  assert np.quantile(error, 0.8) < 1e-5 and error.max() < 2e-2


@pytest.fixture(scope='module')
def running():
  with serving.serve() as running:
    yield running


def play(running, seed, pause=0.0):
  """Actions [T, A] of an episode through the server."""
  with running.client() as client:
    actions = []
    for now in shown(seed):
      time.sleep(pause)
      actions.append(client.act(now)['actions'][0])
    return np.stack(actions)


def test_a_robot_elsewhere_does_what_it_would_do_here(running):
  with running.client() as client:
    about = client.about
    assert about['observed'] == {'proprio': {'shape': [3], 'dtype': 'float32'}}
    assert about['chunk'] == serving.CHUNK and about['action_dim'] == robots.A
    for _ in range(2):  # A reset forgets.
      client.reset()
      answers = [client.act(now) for now in shown()]
      assert_close([a['actions'][0] for a in answers], alone(shown()))
    assert answers[0]['actions'].shape == (serving.CHUNK, robots.A)
    timing = answers[-1]['server_timing']
    assert timing['infer_ms'] > 0 and timing['prev_total_ms'] > 0


def test_sessions_at_once_are_not_crossed_and_nothing_compiles(running):
  compiled = sessions.step._cache_size(), sessions.begin._cache_size()
  expected = [alone(shown(seed)) for seed in range(4)]
  before = running.server.served
  actions = [None] * 4

  def robot(seed):
    actions[seed] = play(running, seed, pause=0.001 * seed)

  threads = [threading.Thread(target=robot, args=(i,)) for i in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  for given, want in zip(actions, expected, strict=True):
    assert_close(given, want)
  assert (
    sessions.step._cache_size(), sessions.begin._cache_size()
  ) == compiled  # fmt: skip
  after = running.server.served
  requests = after['requests'] - before['requests']
  assert requests == 4 * (STEPS + 1)
  assert after['batches'] - before['batches'] < requests  # Some together.


def test_a_session_ends_with_its_connection(running):
  clients = [running.client() for _ in range(4)]
  with pytest.raises(InvalidStatus, match='503'):
    running.client()
  clients[0]._socket.socket.close()  # As of a robot that was switched off.
  for _ in range(100):
    try:
      again = running.client()
      break
    except InvalidStatus:
      time.sleep(0.05)
  assert_close(again.act(shown()[0])['actions'][0], alone(shown())[0])
  for client in (*clients[1:], again):
    client.close()


def test_an_observation_that_is_none_is_said_and_the_session_goes_on(running):
  expected = alone(shown())
  with running.client() as client:
    assert_close(client.act(shown()[0])['actions'][0], expected[0])
    for wrong, words in (
      ({}, "missing \\['proprio'\\]"),
      ({'propio': np.zeros(3)}, "'propio' may be meant as 'proprio'"),
      ({'proprio': np.zeros(4)}, 'shape'),
      ({'proprio': np.zeros(3, int)}, 'dtype'),
      ({'proprio': np.float32([0, np.nan, 0])}, 'y \\(m\\)'),
      ({'proprio': 'text'}, 'shape'),
      ({'endpoint': 'shutdown'}, 'endpoint'),
      ({'endpoint': 'reset', 'seed': -1}, 'seed'),
      (shown()[1] | {'stamp': {'steps': 1}}, 'stamp'),
      (shown()[1] | {'stamp': {'step': True}}, 'step'),
      (shown()[1] | {'stamp': {'within_ms': None}}, 'within_ms is None'),
      (shown()[1] | {'stamp': {'step': 0}}, 'late: step 0 came after step 0'),
      (shown()[1] | {'stamp': {'within_ms': 1e-9}}, 'late: waited'),
      (shown()[1] | {'stamp': {'executed': np.zeros((1, 9))}}, 'shape'),
      ([], 'list'),
      ({f'{i}': 0 for i in range(99)}, 'found 99 names'),
    ):
      client.send(wrong)
      with pytest.raises(RuntimeError, match=words) as caught:
        client.receive()
      assert 'Traceback' not in str(caught.value)
    assert_close(client.act(shown()[1])['actions'][0], expected[1])


def test_nonsense_is_answered_and_too_much_of_it_ends_the_session(running):
  with connect(running.address) as socket:
    socket.recv()
    answers = []
    with pytest.raises(ConnectionClosed) as closed:
      for _ in range(40):
        socket.send(b'\xc1nonsense')
        answers.append(socket.recv())
  assert len(answers) == 16 and 'message' in answers[0]
  assert closed.value.rcvd.code == 1008
  with connect(running.address, max_size=None) as socket:
    socket.recv()
    with pytest.raises(ConnectionClosed) as closed:
      socket.send(bytes(1 << 22))
      socket.recv()
  assert closed.value.rcvd.code == 1009
  assert_close(play(running, 0), alone(shown()))  # It serves as before.


def test_health_is_told_and_pages_of_a_browser_are_refused(running):
  address = running.address.replace('ws', 'http')
  with urllib.request.urlopen(f'{address}/healthz') as answer:
    assert (answer.status, answer.read()) == (200, b'OK\n')
  with pytest.raises(InvalidStatus, match='403'):
    connect(running.address, origin='https://example.org')


def test_a_token_lets_in():
  with serving.serve(token='word') as running:
    for token in ('', 'wrong'):
      with pytest.raises(InvalidStatus, match='401'):
        running.client(token=token)
    with running.client(token='word') as client:
      assert client.about['chunk'] == serving.CHUNK


def test_what_came_is_answered_before_the_server_ends():
  with serving.serve() as running, running.client() as client:
    client.act(shown()[0])
    places = running.server._places
    act = places.act

    def slowly(asked):
      time.sleep(0.1)
      return act(asked)

    places.act = slowly
    for now in shown()[1:]:
      client.send(now)
    time.sleep(0.15)  # One is answered, the others have come.
    running.stop()
    actions = [client.receive()['actions'][0] for _ in shown()[1:]]
    assert_close(actions, alone(shown())[1:])
    with pytest.raises(ConnectionClosed) as closed:
      client.receive()
    assert closed.value.rcvd.code == 1001
    with pytest.raises(OSError):
      running.client()


def test_who_does_not_read_takes_no_memory(running):
  with connect(running.address, close_timeout=1) as socket:
    data = messages.pack(shown()[0])
    sent = threading.Event()

    def flood():
      try:
        for _ in range(200_000):
          socket.send(data)
      except ConnectionClosed:
        pass
      sent.set()

    threading.Thread(target=flood, daemon=True).start()
    before = running.server.served['requests']
    while running.server.served['requests'] - before < 100:
      time.sleep(0.01)
    assert_close(play(running, 0), alone(shown()))
    assert not sent.is_set()  # It is held back.
  for _ in range(100):
    if not running.server._connections:
      break
    time.sleep(0.05)
  assert not running.server._connections


def test_a_robot_needs_no_jax():
  code = """
import sys
from rpt_jax.serve import client, messages, on_time
print(sorted({'jax', 'flax', 'ml_collections'} & set(sys.modules)))
"""
  output = subprocess.check_output([sys.executable, '-c', code], text=True)
  assert output == '[]\n'
