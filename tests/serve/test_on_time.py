"""A robot that is never late, whatever the network and the server do."""

import time

import numpy as np
import pytest
import serving

from rpt_jax.serve.client import Client
from rpt_jax.serve.on_time import Player

CHUNK = serving.CHUNK
REST = np.float32([7.0, 7.0])  # Nothing that a policy would do.


class Far(Client):
  """A client whose answers take `seconds` longer, one after another."""

  def __init__(self, address):
    self.seconds, self.sent = 0.0, []
    super().__init__(address)

  def send(self, message):
    self.sent.append(message)
    super().send(message)

  def receive(self):
    answer = super().receive()
    time.sleep(self.seconds)
    return answer


@pytest.fixture(scope='module')
def running():
  with serving.serve() as running:
    yield running


def seen(step):
  return {'proprio': np.float32([0.1, 0.2, 0.3]) * step}


def settled(player):
  """Waits until all that was asked is answered."""
  until = time.monotonic() + 30
  while player._sent or not player._questions.empty():
    assert time.monotonic() < until
    time.sleep(0.002)


def begun(player):
  """Shows the first observation and waits for the first chunk."""
  step = player.step(seen(0))
  np.testing.assert_array_equal(step.action, REST)
  assert step.age is None and 'nothing has arrived' in step.why
  settled(player)


def test_what_is_due_is_played_with_its_age_and_delay(running):
  player = Player(Client(running.address), REST)
  begun(player)
  chunk = player._chunk.actions
  player._free = type(player._free)(0)  # No more is sent.
  for age in range(CHUNK):
    step = player.step(seen(age))
    np.testing.assert_array_equal(step.action, chunk[age])
    assert step.age == age and 0 < step.delay < 30 and not step.why
  step = player.step(seen(CHUNK))
  np.testing.assert_array_equal(step.action, REST)
  assert step.age is None and 'ended 1 steps ago' in step.why
  player.close()


def test_what_is_too_old_is_not_played(running):
  player = Player(Client(running.address), REST, oldest=2)
  begun(player)
  player._free = type(player._free)(0)
  ages = [player.step(seen(t)).age for t in range(5)]
  assert ages == [0, 1, 2, None, None]
  assert '2 are allowed' in player.step(seen(5)).why
  player.close()


def test_no_step_waits_and_history_is_what_was_done(running):
  """The last chunk is that of a client that shows and tells the same."""
  client = Far(running.address)
  player = Player(client, REST, ahead=2)
  begun(player)
  client.seconds, done, longest = 0.05, [], 0.0
  for t in range(12):
    began = time.monotonic()
    step = player.step(seen(t))
    longest = max(longest, time.monotonic() - began)
    player.executed(step.action / 2)  # A limit, as it were.
    done.append(step.action / 2)
    time.sleep(0.02)
  settled(player)
  assert longest < 0.05  # No step waits for an answer.
  stamps = [message['stamp'] for message in client.sent]
  assert 3 < len(stamps) < 12  # Some steps were not shown.
  for stamp in stamps[1:]:
    np.testing.assert_array_equal(stamp['executed'], done[: stamp['step']])
  with running.client() as again:
    for message in client.sent:
      again.send(message)
      answer = again.receive()
  np.testing.assert_allclose(
    answer['actions'], player._chunk.actions, atol=5e-2
  )
  player.close()


def test_who_has_patience_plays_what_is_new(running):
  client = Far(running.address)
  player = Player(client, REST, patience=5.0)
  begun(player)
  assert [player.step(seen(t)).age for t in range(4)] == [0, 0, 0, 0]
  client.seconds, player._patience = 0.5, 0.05
  began = time.monotonic()
  assert player.step(seen(4)).age == 1
  assert 0.04 < time.monotonic() - began < 0.45
  player.close()


def test_an_observation_that_is_refused_is_shown_again(running):
  player = Player(Client(running.address), REST)
  player.step({'proprio': np.zeros(4, np.float32)})
  settled(player)
  assert 'shape' in player.step(seen(0)).why
  settled(player)
  assert player.step(seen(0)).age == 0
  player.close()


def test_an_episode_begins_with_nothing_of_the_last(running):
  client = Far(running.address)
  player = Player(client, REST)
  begun(player)
  player.step(seen(3))
  client.seconds = 0.05
  player.step(seen(5))
  player.reset()
  assert player.step(seen(0)).age is None
  settled(player)
  step = player.step(seen(0))
  assert step.age == 0
  with running.client() as fresh:
    expected = fresh.act(seen(0))['actions']
  np.testing.assert_allclose(step.action, expected[0], atol=2e-2)
  player.close()


def test_without_a_connection_the_robot_rests_when_the_chunk_ends():
  with serving.serve() as running:
    player = Player(running.client(), REST)
    begun(player)
  steps = [player.step(seen(t)) for t in range(CHUNK + 1)]
  assert [step.age for step in steps] == [*range(CHUNK), None]
  np.testing.assert_array_equal(steps[-1].action, REST)
  for _ in range(100):
    if 'no connection' in player.step(seen(9)).why:
      break
    time.sleep(0.02)
  assert 'no connection' in player.step(seen(9)).why
