"""A policy acts as it was trained: the same windows, scales, masks, chunks."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import robots

from rpt_jax import target
from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Execution, Policy, program

STEPS = 10  # Of an episode, more than the context.


def assert_close(given, want):
  """Equal but for a bf16 operand here and there that is rounded otherwise."""
  error = np.abs(given - want)
  assert np.quantile(error, 0.8) < 1e-5
  assert error.max() < 2e-2


@functools.cache
def clip(streams, motion=False):
  """(parts, what is seen, actions, chunks predicted in training [T, C, A])."""
  visibility = 'causal' if streams == ('proprio',) else 'bidirectional'
  parts = robots.parts(streams, visibility, motion=motion)
  seen, actions = robots.episode(STEPS, streams=streams)
  return parts, seen, actions, trained(parts, seen, actions)


def trained(parts, seen, actions):
  """[T, C, A]: what the objective sees predicted at every step of a clip.

  Its windows, inputs and mask are those of training, all steps in a batch.
  """
  model, scales = parts['model'], parts['scales']
  recorded = {'action': actions[:, 0]}
  for name in (s.name for s in model.streams):
    if name.startswith('latent/'):
      frames = [now[name.removeprefix('latent/')] for now in seen]
      image = parts['image']
      frames = image.preprocess(np.concatenate(frames))
      recorded[name] = image.apply(image.params, frames)
    elif name != 'action':
      recorded[name] = np.concatenate([now[name] for now in seen])
  context = model.context
  table = windows.windows(np.array([STEPS]), context, lead=context - 1)
  rows_NT, valid_NT = windows.rows(table, context)
  inputs = {}
  for name, x_ND in recorded.items():
    mean_D, std_D = (np.float32(x) for x in scales[name])
    x_ND = (np.asarray(x_ND) - mean_D[None]) / std_D[None]
    inputs[name] = x_ND[rows_NT]

  @jax.jit
  def objective(params, batch):
    outputs = []

    class Apply(sequence.Bound):
      def __call__(self, *args):
        outputs.append(super().__call__(*args))
        return outputs[-1]

    apply = Apply(model, params, {})
    behaviour_cloning.loss(apply, batch, jax.random.key(0))
    return apply.head('action')(outputs[0]['reads']['action'])

  targets = {'action': inputs.pop('action')}
  if any(s.name == 'action' for s in model.streams):
    inputs |= targets
  batch = {'inputs': inputs, 'targets': targets, 'valid': valid_NT}
  output = objective(parts['params'], batch)
  mean_A, std_A = scales['action']
  chunk_TCA = np.asarray(output[:, -1])
  return chunk_TCA * std_A[None, None] + mean_A[None, None]


def played(policy, seen, actions):
  """[T, A]: what a policy does where the recorded action is done instead."""
  policy.reset()
  given = []
  for now, action_BA in zip(seen, actions, strict=True):
    given.append(policy.act(now)[0])
    policy.executed(action_BA)
  return np.stack(given)


def expected(chunk_TCA, execution):
  """[T, A]: chunks played as an execution says, one step at a time."""
  steps, chunk, _ = chunk_TCA.shape
  rows = []
  for t in range(steps):
    if execution.ensemble is None:
      age = t % execution.execute
      rows.append(chunk_TCA[t - age, age])
      continue
    ages = np.arange(min(chunk, t + 1))
    weight = np.exp(-execution.ensemble * ages)
    votes = np.stack([chunk_TCA[t - age, age] for age in ages])
    rows.append((weight[:, None] * votes).sum(0) / weight.sum())
  return np.stack(rows)


@pytest.mark.parametrize('motion', [False, True])
@pytest.mark.parametrize(
  'streams',
  [robots.ALL, ('latent/front',), ('proprio', 'action'), ('proprio',)],
)
def test_a_policy_gives_the_actions_of_training(streams, motion):
  parts, seen, actions, chunk_TCA = clip(streams, motion)
  given = played(Policy(**parts), seen, actions)
  assert_close(given, chunk_TCA[:, 0])
  assert chunk_TCA[:, 0].std(0).min() > 0.05  # They depend on what is seen.


@pytest.mark.parametrize(
  'execution',
  [Execution(2), Execution(3), Execution(1, 0.5), Execution(1, -0.4)],
)
def test_chunks_are_played_as_the_execution_says(execution):
  parts, seen, actions, chunk_TCA = clip(('proprio', 'action'))
  given = played(Policy(**parts, execution=execution), seen, actions)
  assert_close(given, expected(chunk_TCA, execution))


def test_what_it_gave_is_what_it_remembers():
  parts = robots.parts(('proprio', 'action'))
  seen, _ = robots.episode(STEPS, batch=2, streams=('proprio',))
  corrected, plain = Policy(**parts), Policy(**parts)
  for policy in (corrected, plain):
    policy.reset(2)
  for now in seen:
    action_BA = corrected.act(now)
    corrected.executed(action_BA)
    np.testing.assert_array_equal(action_BA, plain.act(now))
  before = corrected._memory.windows['action']
  corrected.executed(action_BA + 1)
  assert before.is_deleted()  # Given away: history takes its memory once.
  assert (corrected.act(seen[0]) != plain.act(seen[0])).any()


def test_lanes_are_apart_and_reset_forgets():
  parts = robots.parts(('proprio', 'action'))
  seen, _ = robots.episode(5, batch=3, streams=('proprio',))
  policy = Policy(**parts)
  policy.reset(3)
  first = [policy.act(now) for now in seen]
  policy.reset(3)
  for now, action_BA in zip(seen, first, strict=True):
    np.testing.assert_array_equal(policy.act(now), action_BA)
  policy.reset(1)
  for now, action_BA in zip(seen, first, strict=True):
    one = policy.act({name: x[1:2] for name, x in now.items()})
    assert_close(one, action_BA[1:2])


def test_actions_are_cut_to_their_limits_and_so_remembered():
  parts = robots.parts(('proprio', 'action'))
  seen, actions = robots.episode(STEPS, streams=('proprio',))
  free = played(Policy(**parts), seen, actions)
  low, high = -0.1, np.array([0.2, 0.1])
  policy = Policy(**parts, action_limit=(low, high))
  cut = played(policy, seen, actions)
  np.testing.assert_array_equal(cut, free.clip(low, np.float32(high)))
  policy.reset()
  action_BA = policy.act(seen[0])
  mean_A, std_A = parts['scales']['action']
  (remembered_A,) = policy._memory.windows['action'][:, -1]
  np.testing.assert_allclose(
    remembered_A * std_A + mean_A, action_BA[0], rtol=1e-5, atol=1e-6
  )


def test_what_never_varied_is_not_blown_up():
  parts = robots.parts(('proprio', 'action'))
  flat = {
    'proprio': (np.array([0.1, 0.2, 5.0]), np.array([1.0, 1.0, 0.0])),
    'action': (np.array([0.3, -0.7]), np.array([1.0, 1e-9])),
  }
  policy = Policy(**parts | {'scales': flat})
  policy.reset()
  for third in (5.0, 5.1, 4.0):
    seen = np.array([[0.1, 0.2, third]], np.float32)
    action_BA = policy.act({'proprio': seen})
    assert np.abs(action_BA).max() < 10
    assert action_BA[0, 1] == np.float32(-0.7)
  for stream in ('proprio', 'action'):
    assert np.abs(policy._memory.windows[stream]).max() < 10


def test_policies_that_differ_in_arrays_are_compiled_once():
  seen, _ = robots.episode(3, batch=2)
  program.step.clear_cache()
  for seed in range(3):
    parts = robots.parts(seed=seed)
    tuned = jax.tree.map(lambda x: x * 0.9, parts['image'].params)
    image = dataclasses.replace(parts['image'], params=tuned)
    policy = Policy(**parts | {'image': image}, action_limit=(-1, seed + 1))
    policy.reset(2)
    assert program.step._cache_size() == 1  # Before anything is seen.
    for now in seen:
      policy.executed(policy.act(now))
  assert program.step._cache_size() == 1


def test_the_model_rests_while_a_chunk_is_played():
  parts = robots.parts(('proprio', 'action'))
  for execute in (1, 2):
    policy = Policy(**parts, execution=Execution(execute))
    with target.rounding_to('bfloat16'):  # By which products are known.
      traced = jax.make_jaxpr(program.advance, static_argnums=0)(
        policy.program,
        policy.weights,
        program.start(policy.program, 1),
        {'proprio': np.zeros((1, robots.P), np.float32)},
        jax.random.split(jax.random.key(0), 1),
      )
    names = [e.primitive.name for e in traced.eqns]
    assert ('cond' in names) == (execute == 2)
    # Products that are made whether or not a chunk is due: none.
    always = any(
      'bf16' in str(e) for e in traced.eqns if e.primitive.name != 'cond'
    )
    assert always == (execute == 1)


@pytest.mark.parametrize(
  'execution, chunk, message',
  [
    (Execution(0), 3, 'execute=0'),
    (Execution(4), 3, 'from 1 to 3'),
    (Execution(1.0), 3, 'whole number'),
    (Execution(True), 3, 'whole number'),
    (Execution(2, ensemble=0.1), 3, 'more than one prediction'),
    (Execution(1, ensemble=0.1), 1, 'more than one prediction'),
    (Execution(1, ensemble=float('nan')), 3, 'within'),
    (Execution(1, ensemble=-50.0), 3, 'within'),
  ],
)
def test_executions_that_mean_nothing_are_refused(execution, chunk, message):
  with pytest.raises(ValueError, match=message):
    Policy(**robots.parts(('proprio',), chunk=chunk), execution=execution)
