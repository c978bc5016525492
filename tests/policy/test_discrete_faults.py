"""What cannot be meant of discrete actions is refused, and moves nothing."""

import numpy as np
import pytest
import robots

from rpt_jax.policy import Execution, Policy
from rpt_jax.types import StreamSpec

STREAMS, N = ('proprio', 'action'), robots.NUM_ACTIONS


def test_what_is_no_action_is_refused():
  policy = Policy(**robots.parts(STREAMS, num_actions=N))
  policy.reset(2)
  policy.act({'proprio': np.zeros((2, robots.P), np.float32)})
  for action, message in (
    ([0, N], f"'action': {N} in lane 1, expected 0 to {N - 1}"),
    ([-1, 0], "'action': -1 in lane 0"),
    ([0.0, 1.0], 'found dtype float64, expected integers'),
    ([[0], [1]], r'shape \(2, 1\), expected \(2,\)'),
  ):
    memory = policy._memory
    with pytest.raises(ValueError, match=message):
      policy.executed(np.array(action))
    assert policy._memory is memory


@pytest.mark.parametrize('temperature', [0.0, 1.0])
def test_logits_that_are_no_numbers_move_nothing(temperature):
  parts = robots.parts(STREAMS, num_actions=N)
  params = parts['params'] | {'norm': {'scale': np.full(16, np.nan)}}
  params['norm']['bias'] = np.zeros(16)
  execution = Execution(temperature=temperature)
  policy = Policy(**parts | {'params': params}, execution=execution)
  policy.reset(2)
  with pytest.raises(ValueError, match='do not move the robot'):
    policy.act({'proprio': np.zeros((2, robots.P), np.float32)})


def parts_of(streams=STREAMS, num_actions=N, history=None, **changes):
  """Parts with `changes`, and actions of the past as another stream."""
  parts = robots.parts(streams, num_actions=num_actions) | changes
  if history:
    seen = robots.SPECS['proprio'], history
    parts['model'] = parts['model'].clone(streams=seen)
  return parts


FEW = StreamSpec('action', 'discrete', vocab=N)
FAULTS = {
  'more than the head has': (
    lambda: parts_of(num_actions=robots.VOCAB + 1),
    f'num_actions: found 8, expected a whole number up to {robots.VOCAB}',
  ),
  'less than none': (
    lambda: parts_of(('proprio',), num_actions=-1),
    'num_actions: found -1',
  ),
  'no whole number': (
    lambda: parts_of(('proprio',), num_actions=2.0),
    'num_actions: found 2.0',
  ),
  'history of numbers': (
    lambda: parts_of(history=robots.SPECS['action']),
    r"\('action', 'continuous'\).*where actions are; here num_actions=3",
  ),
  'history of choices': (
    lambda: parts_of() | {'num_actions': 0},
    r"\('action', 'discrete'\).*here num_actions=0",
  ),
  'history of another vocabulary': (
    lambda: parts_of(history=FEW),
    r'\(levels, vocab\) \(1, 3\), expected \(1, 7\)',
  ),
  'limits': (
    lambda: parts_of(action_limit=(0, 1)),
    r'action_limit: \(0, 1\), but the actions are discrete',
  ),
  'labels': (
    lambda: parts_of(labels={'action': ('left', 'right')}),
    "labels: 2 of 'action'",
  ),
  'a temperature of numbers': (
    lambda: robots.parts(STREAMS) | {'execution': Execution(temperature=1.0)},
    'temperature=1.0, but the actions are continuous',
  ),
  'a temperature below 0': (
    lambda: parts_of(execution=Execution(temperature=-1.0)),
    'temperature=-1.0, expected 0',
  ),
  'no temperature': (
    lambda: parts_of(execution=Execution(temperature=float('nan'))),
    'temperature=nan, expected 0',
  ),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_parts_that_do_not_fit_are_refused(fault):
  parts, message = FAULTS[fault]
  with pytest.raises(ValueError, match=message):
    Policy(**parts())
