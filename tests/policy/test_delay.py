"""Chunks that come late: when they are played, and that nobody waits."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import robots

from rpt_jax.models.heads import flow
from rpt_jax.policy import Execution, Policy, program
from rpt_jax.policy.ahead import Ahead

STEPS, CHUNK = 11, 6


def parts(head=None):
  made = robots.parts(('proprio',), 'causal', chunk=CHUNK)
  if head is None:
    return made
  model = made['model']
  (spec,) = model.heads
  model = model.clone(heads=(dataclasses.replace(spec, settings=head),))
  return made | {'model': model, 'params': robots.initial(model)}


@functools.cache
def episode():
  return robots.episode(STEPS, batch=2, streams=('proprio',))[0]


def acted(policy):
  policy.reset(2)
  return np.stack([policy.act(now) for now in episode()])


@functools.cache
def chunks():
  """[T, B, C, A]: what is predicted at every step, in the robot's units."""
  policy = Policy(**parts())
  policy.reset(2)
  memory, predicted = program.start(policy.program, 2), []
  keys = program.episode_keys(0, 2)

  @jax.jit
  def one(memory, now):
    seen = program.see(policy.program, policy.weights, now)
    memory = program.remember(policy.program, policy.weights, memory, seen)
    chunk = program.predict(policy.program, policy.weights, memory, keys)
    return memory, chunk

  for now in episode():
    memory, chunk = one(memory, now)
    predicted.append(np.asarray(chunk))
  mean_A, std_A = policy.scales['action']
  return np.stack(predicted) * np.asarray(std_A) + np.asarray(mean_A)


def expected(execution):
  """[T, B, A]: as chunks are to be played, one step at a time."""
  rows, delay = [], execution.delay
  for t in range(STEPS):
    if execution.ensemble is None:
      begun = [
        b for b in range(0, t + 1, execution.execute) if not b or b + delay <= t
      ]
      rows.append(chunks()[begun[-1]][:, t - begun[-1]])
      continue
    ages = [a for a in range(CHUNK) if a == t or delay <= a < t]
    ages = ages or [t]
    weight = np.exp(-execution.ensemble * np.array(ages))
    votes = np.stack([chunks()[t - a][:, a] for a in ages])
    rows.append(np.einsum('n,nba->ba', weight / weight.sum(), votes))
  return np.stack(rows)


@pytest.mark.parametrize(
  'execution',
  [
    Execution(execute=3, delay=2),
    pytest.param(Execution(execute=3, delay=3), marks=pytest.mark.slow),
    pytest.param(Execution(execute=1, delay=1), marks=pytest.mark.slow),
    Execution(ensemble=0.3, delay=2),
  ],
)
def test_a_chunk_is_played_from_the_step_at_which_it_comes(execution):
  policy = Policy(**parts(), execution=execution)
  given = acted(policy)
  np.testing.assert_allclose(given, expected(execution), atol=2e-3)
  prompt = Policy(**parts())
  assert np.abs(given - acted(prompt)).max() > 0.05
  assert (prompt.late, prompt.slowest) == (0, 0)  # Nothing is ahead there.
  # What is handed on ahead is what the program says at every step.
  memory, keys = program.start(policy.program, 2), program.episode_keys(0, 2)
  for t, now in enumerate(episode()):
    memory, action = program.step(
      policy.program, policy.weights, memory, now, keys
    )
    np.testing.assert_allclose(given[t], action, atol=1e-5)


@dataclasses.dataclass
class Slow:
  """In place of an array that is being computed."""

  value: np.ndarray
  ready: bool = False

  def is_ready(self):
    return self.ready

  def __array__(self, dtype=None, copy=None):
    return self.value


def test_what_is_late_is_counted():
  ahead = Ahead(execute=2, delay=2)
  first, second = Slow(np.arange(6.0)), Slow(10 + np.arange(6.0))
  given = []
  for t in range(5):
    if ahead.due:
      ahead.predicted([first, second, Slow(np.arange(6.0))][t // 2])
    if t == 3:
      assert not ahead.late
    given.append(float(ahead.next()))
  # The first is waited for, and not late: there was nothing to do before.
  assert given == [0, 1, 2, 3, 12] and (ahead.late, ahead.slowest) == (1, 3)
  ahead = Ahead(execute=2, delay=2)
  second.ready = first.ready = True
  for t in range(5):
    if ahead.due:
      ahead.predicted([first, second, Slow(np.arange(6.0))][t // 2])
    ahead.next()
  assert ahead.late == 0


def test_it_follows_as_the_paper_says():
  """Equation 5 of real-time chunking, written out."""
  execution = Execution(execute=4, delay=2, realtime=True)
  expected_C = [1.0, 1.0]
  for i in range(2, 6):
    c = (10 - 4 - i) / (10 - 4 - 2 + 1)
    expected_C.append(c * (np.exp(c) - 1) / (np.e - 1))
  expected_C += [0.0] * 4
  np.testing.assert_allclose(execution.follows(10), expected_C, rtol=1e-6)


def test_a_chunk_goes_on_from_the_one_before():
  """Where it takes over, the action jumps less than without."""
  chosen = flow.Settings(width=16, euler=5)
  jumps = {}
  for realtime in (False, True):
    execution = Execution(execute=3, delay=2, realtime=realtime)
    policy = Policy(**parts(chosen), execution=execution)
    actions = acted(policy)
    jump = np.abs(np.diff(actions, axis=0))[4::3].mean()
    jumps[realtime] = jump
    again = acted(policy)
    np.testing.assert_array_equal(again, actions)
  assert jumps[True] < 0.8 * jumps[False], jumps


@pytest.mark.parametrize(
  'execution, words',
  [
    (Execution(execute=2, delay=3), 'from 0 to 2'),
    (Execution(execute=5, delay=2), 'from 0 to 1'),
    (Execution(ensemble=0.0, delay=6), 'from 0 to 5'),
    (Execution(delay=-1), 'delay=-1'),
    (Execution(delay=1.0), 'delay=1.0'),
    (Execution(execute=6, realtime=True), 'execute below 6'),
    (Execution(ensemble=0.0, realtime=True), 'no ensemble'),
    (Execution(execute=2, realtime=True), 'the head cannot go on'),
  ],
)
def test_what_cannot_be_is_refused(execution, words):
  with pytest.raises(ValueError, match=words):
    Policy(**parts(), execution=execution)


def test_an_ensemble_may_be_as_steep_as_float32_is_wide():
  Execution(ensemble=10.0).check(8)
  with pytest.raises(ValueError, match='within 10 of 0'):
    Execution(ensemble=10.01).check(8)
