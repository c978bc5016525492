"""Robots that ask a server say what they are told, each its own."""

import numpy as np
import pytest
import serving

from tests.policy import test_instruction as told
from tests.policy import test_prefix_acting as prefix


@pytest.fixture(scope='module')
def running():
  with serving.serve(told.policy()) as running:
    yield running


def states():
  return [prefix.seen(t, 0)['proprio'][:1] for t in range(2)]


def test_every_robot_acts_by_its_own_prompt(running):
  acting = told.policy()
  with running.client() as one, running.client() as other:
    assert list(one.about['observed']) == ['proprio']
    for robot, prompt in ((one, told.SAID[0]), (other, told.SAID[1])):
      acting.reset(1, instruction=prompt)
      for state_1P in states():
        expected = acting.act({'proprio': state_1P})[0]
        answer = robot.act({'proprio': state_1P[0], 'prompt': prompt})
        np.testing.assert_allclose(answer['actions'][0], expected, atol=1e-5)


def test_no_prompt_is_nothing_said(running):
  acting = told.policy()
  acting.reset(1)
  with running.client() as robot:
    for state_1P in states():
      expected = acting.act({'proprio': state_1P})[0]
      answer = robot.act({'proprio': state_1P[0]})
      np.testing.assert_allclose(answer['actions'][0], expected, atol=1e-5)


@pytest.mark.parametrize(
  'prompt, words',
  [
    ('open the drawer ' * 9, 'as in training; say it shorter'),
    (3, 'prompt: found 3, expected a text'),
    ('x' * 5000, 'a text of at most 4096 letters'),
  ],
)
def test_a_prompt_that_cannot_be_is_refused(running, prompt, words):
  with running.client() as robot:
    with pytest.raises(RuntimeError, match=words):
      robot.act({'proprio': states()[0][0], 'prompt': prompt})
