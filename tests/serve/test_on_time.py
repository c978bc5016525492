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

  seconds = 0.0

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


def settled(player, work=lambda: None):
  """Waits until all that was asked is answered."""
  until = time.monotonic() + 30
  while player._sent or not player._questions.empty():
    assert time.monotonic() < until
    time.sleep(0.002)


def test_what_is_due_is_played_with_its_age_and_delay(running):
  client = Client(running.address)
  player = Player(client, REST)
  first = player.step(seen(0))  # Nothing can have come.
  np.testing.assert_array_equal(first.action, REST)
  assert first.age is None and 'nothing has arrived' in first.why
  settled(player)
  chunk = player._chunk.actions
  player._free = type(player._free)(0)  # No more is sent.
  for age in range(1, CHUNK):
    step = player.step(seen(age))
    np.testing.assert_array_equal(step.action, chunk[age])
    assert step.age == age and 0 < step.delay < 30 and not step.why
  step = player.step(seen(CHUNK))
  np.testing.assert_array_equal(step.action, REST)
  assert step.age is None and 'ended 1 steps ago' in step.why
  player.close()


def test_what_is_too_old_is_not_played(running):
  player = Player(Client(running.address), REST, oldest=2)
  player.step(seen(0))
  settled(player)
  player._free = type(player._free)(0)
  ages = [player.step(seen(t)).age for t in range(1, 5)]
  assert ages == [1, 2, None, None]
  assert '2 are allowed' in player.step(seen(5)).why
  player.close()


def test_no_step_waits_and_history_is_what_was_done(running):
  """The last chunk is that of a policy told of the same steps in turn."""
  client = Far(running.address)
  client.seconds = 0.05
  player = Player(client, REST, ahead=2)
  shown, done, longest = [], [], 0.0
  for t in range(12):
    before = len(player._sent) + player._questions.qsize()
    began = time.monotonic()
    step = player.step(seen(t))
    longest = max(longest, time.monotonic() - began)
    after = len(player._sent) + player._questions.qsize()
    shown += [t] if after > before or t == 0 else []
    done.append(step.action)
    time.sleep(0.02)
  settled(player)
  assert longest < 0.05  # No step waits for an answer.
  last = player._chunk
  player.close()
  assert any(np.any(action != REST) for action in done)
  with running.client() as again:
    for t in range(last.step + 1):
      if t == last.step or t in shown:
        stamp = {'step': t}
        if t:
          stamp['executed'] = np.stack(done[:t])
        answer = again.act(seen(t), **stamp)
  np.testing.assert_allclose(answer['actions'], last.actions, atol=5e-2)


def test_an_episode_begins_with_nothing_of_the_last(running):
  client = Far(running.address)
  player = Player(client, REST)
  player.step(seen(3))
  settled(player)
  client.seconds = 0.05
  player.step(seen(5))
  player.reset()
  assert player.step(seen(0)).age is None
  settled(player)
  step = player.step(seen(0))
  assert step.age == 1
  with running.client() as fresh:
    expected = fresh.act(seen(0))['actions']
  np.testing.assert_allclose(step.action, expected[1], atol=2e-2)
  player.close()


def test_without_a_connection_the_robot_rests_when_the_chunk_ends():
  with serving.serve() as running:
    player = Player(running.client(), REST)
    player.step(seen(0))
    settled(player)
  steps = [player.step(seen(t)) for t in range(1, CHUNK + 1)]
  assert [step.age for step in steps] == [*range(1, CHUNK), None]
  np.testing.assert_array_equal(steps[-1].action, REST)
  for _ in range(100):
    if 'no connection' in player.step(seen(9)).why:
      break
    time.sleep(0.02)
  assert 'no connection' in player.step(seen(9)).why
