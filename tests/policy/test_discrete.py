"""Discrete actions: the likeliest of the robot's own, or drawn lane by lane."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robots

from rpt_jax import envs
from rpt_jax.envs import rollout
from rpt_jax.models import sequence
from rpt_jax.models.heads import linear
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.policy import Execution, Policy, checks, program
from rpt_jax.types import StreamSpec

STEPS, STREAMS = 12, ('proprio', 'action')
N = robots.NUM_ACTIONS
MARGIN = 0.02  # bf16 operands that are rounded otherwise move logits by less.


@functools.cache
def clip(streams=STREAMS):
  """(parts, what is seen, actions [T, 1], all logits [T, C, V])."""
  parts = robots.parts(streams, seed=5, num_actions=N)
  seen, _ = robots.episode(STEPS, streams=('proprio',))
  actions = np.random.default_rng(5).integers(N, size=(STEPS, 1))
  return parts, seen, actions, by_hand(parts, seen, actions)


def by_hand(parts, seen, actions):
  """[T, C, V]: what the model says of windows cut out of the clip."""
  model, rows = parts['model'], []
  mean_D, std_D = (np.float32(x) for x in parts['scales']['proprio'])

  @jax.jit
  def apply(*window):
    apply = sequence.bind(model, parts['params'])
    read_BTD = apply(*window)['reads']['action']
    return apply.head('action').logits(read_BTD)[..., 0, :]

  for t in range(STEPS):
    steps = range(max(0, t + 1 - model.context), t + 1)
    lead = model.context - len(steps)
    inputs = {
      'proprio': np.full((1, model.context, robots.P), np.nan, np.float32),
      'action': np.full((1, model.context, 1), 10**6),
    }
    inputs['proprio'][0, lead:] = [
      (seen[s]['proprio'][0] - mean_D) / std_D for s in steps
    ]
    inputs['action'][0, lead:-1, 0] = [actions[s, 0] for s in steps[:-1]]
    inputs = {s.name: inputs[s.name] for s in model.streams}
    valid_BT = np.arange(model.context)[None] >= lead
    hide_BTM = np.zeros((1, model.context, len(model.streams)), bool)
    hide_BTM[:, -1, 1:] = True  # The action, where it is a stream.
    rows.append(apply(inputs, valid_BT, hide_BTM)[0, -1])
  return np.stack(rows)


def played(policy, seen, actions):
  """int [T]: what a policy does where the recorded action is done instead."""
  policy.reset()
  done = []
  for now, action_B in zip(seen, actions, strict=True):
    action = policy.act(now)
    assert action.dtype == np.int32 and action.shape == (1,)
    done.append(action[0])
    policy.executed(action_B)
  return np.stack(done)


def assert_likeliest(action_T, logits_TA):
  """The largest logit, wherever another is not next to it."""
  ordered = np.sort(logits_TA, axis=-1)
  clear = ordered[:, -1] - ordered[:, -2] > MARGIN
  assert clear.mean() > 0.7
  np.testing.assert_array_equal(action_T[clear], logits_TA.argmax(-1)[clear])


@pytest.mark.parametrize('streams', [STREAMS, ('proprio',)])
def test_the_likeliest_action_of_the_robots_own_is_taken(streams):
  parts, seen, actions, logits_TCV = clip(streams)
  assert_likeliest(played(Policy(**parts), seen, actions), logits_TCV[:, 0, :N])
  # Others would have been taken, and which one depends on what is seen.
  assert (logits_TCV[:, 0].argmax(-1) >= N).any()
  assert len(set(logits_TCV[:, 0, :N].argmax(-1))) > 1
  whole = Policy(**parts | {'num_actions': robots.VOCAB})
  assert_likeliest(played(whole, seen, actions), logits_TCV[:, 0])


def test_history_holds_what_was_done():
  parts, seen, actions, logits_TCV = clip()
  other_TCV = by_hand(parts, seen, (actions + 1) % N)
  assert np.abs(other_TCV[0] - logits_TCV[0]).max() < 1e-5  # None before it.
  assert np.abs(other_TCV[1:] - logits_TCV[1:]).max(-1).min() > 1e-3
  policy = Policy(**parts)
  policy.reset()
  first = policy.act(seen[0])
  window = policy._memory.windows['action']
  assert window.dtype == jnp.int32
  np.testing.assert_array_equal(window[0, :, 0], [0, 0, 0, first[0]])
  policy.executed((first + 1) % N)
  policy.act(seen[1])
  window = np.asarray(policy._memory.windows['action'])
  assert window[0, -2, 0] == (first[0] + 1) % N
  np.testing.assert_array_equal(policy._memory.valid_BT[0], [0, 0, 1, 1])


@pytest.mark.parametrize(
  'execution', [Execution(2), Execution(3), Execution(1, 0.5)]
)
def test_logits_are_played_and_averaged_as_chunks(execution):
  parts, seen, actions, logits_TCV = clip()
  planned = []
  for t in range(STEPS):
    if execution.ensemble is None:
      age = t % execution.execute
      planned.append(logits_TCV[t - age, age, :N])
      continue
    ages = np.arange(min(robots.CHUNK, t + 1))
    weight = np.exp(-execution.ensemble * ages)
    votes = np.stack([logits_TCV[t - age, age, :N] for age in ages])
    planned.append((weight[:, None] * votes).sum(0) / weight.sum())
  planned = np.stack(planned)
  policy = Policy(**parts, execution=execution)
  assert_likeliest(played(policy, seen, actions), planned)
  newest = logits_TCV[:, 0, :N].argmax(-1)
  assert (planned.argmax(-1) != newest).any()  # It makes a difference.


def drawing(temperature, **changes):
  """(program, weights) of a policy that draws its actions."""
  policy = Policy(
    **robots.parts(STREAMS, num_actions=N),
    execution=Execution(temperature=temperature, **changes),
  )
  return policy.program, policy.weights


@pytest.mark.parametrize('temperature', [0.7, 2.0])
def test_actions_are_drawn_by_their_softmax(temperature):
  lanes = 8000
  acting, weights = drawing(temperature)
  seen = {'proprio': jnp.zeros((lanes, robots.P))}

  @jax.jit
  def step(keys):
    memory = program.start(acting, lanes)
    memory = program.remember(acting, weights, memory, seen)
    _, action_B = program.play(acting, weights, memory, keys)
    return program.predict(acting, weights, memory, keys)[0, 0], action_B

  logits_A, action_B = step(jax.random.split(jax.random.key(0), lanes))
  share_A = np.bincount(action_B, minlength=N) / lanes
  expected_A = np.exp(np.asarray(logits_A, float) / temperature)
  expected_A /= expected_A.sum()
  assert 0.02 < expected_A.min() and np.ptp(expected_A) > 0.05
  spread_A = np.sqrt(expected_A * (1 - expected_A) / lanes)
  assert (np.abs(share_A - expected_A) < 4 * spread_A).all()


def test_lanes_draw_apart():
  acting, weights = drawing(1.0)
  rng = np.random.default_rng(0)
  seen = {'proprio': rng.normal(size=(64, robots.P)).astype(np.float32)}
  keys = jax.random.split(jax.random.key(1), 64)
  step = jax.jit(program.advance, static_argnums=0)

  def drawn(rows, keys):
    memory = program.start(acting, len(keys))
    part = {name: x[rows] for name, x in seen.items()}
    return np.asarray(step(acting, weights, memory, part, keys)[1])

  whole = drawn(slice(None), keys)
  parts = [drawn(slice(i, i + 16), keys[i : i + 16]) for i in range(0, 64, 16)]
  np.testing.assert_array_equal(np.concatenate(parts), whole)
  other = drawn(slice(None), keys.at[32:].set(keys[:32]))
  np.testing.assert_array_equal(other[:32], whole[:32])
  assert (other[32:] != whole[32:]).any()


def test_a_seed_decides_what_is_drawn_and_nothing_else():
  parts = robots.parts(('proprio',), num_actions=N)
  now = {'proprio': np.ones((32, robots.P), np.float32)}

  def acted(seed, batch=32, **execution):
    policy = Policy(**parts, execution=Execution(**execution))
    policy.reset(batch, seed)
    seen = {name: x[:batch] for name, x in now.items()}
    return np.stack([policy.act(seen) for _ in range(6)])

  drawn = acted(0, temperature=1.0)
  np.testing.assert_array_equal(acted(0, temperature=1.0), drawn)
  np.testing.assert_array_equal(acted(0, 16, temperature=1.0), drawn[:, :16])
  assert (acted(1, temperature=1.0) != drawn).mean() > 0.2
  assert (drawn[-1] != drawn[-2]).any()  # A window is full by then.
  assert (drawn[:, 0] != drawn[:, 1]).any()
  likeliest = acted(0)
  np.testing.assert_array_equal(acted(1), likeliest)
  assert (likeliest == likeliest[:, :1]).all()


def test_rollouts_in_parts_are_those_of_one_call():
  env = envs.make('CartPole-v1')
  state = StreamSpec('proprio', 'continuous', dim=len(env.state_names))
  choice = StreamSpec('action', 'discrete', vocab=5)
  heads = behaviour_cloning.heads(linear.Settings(), 1, (state, choice), choice)
  model = sequence.SequenceModel(
    (state, choice), heads, transformer.Settings(1, 2), 16, 4
  )
  acting = program.Program(
    model, None, None, Execution(temperature=1.0), env.num_actions
  )
  params = sequence.init(model, jax.random.key(0))
  scale = np.zeros(state.dim), np.ones(state.dim)
  weights = checks.weights(acting, params, {}, {'proprio': scale})
  inner = program.in_rollouts(acting)
  assert program.in_rollouts(acting) is inner  # Or it is compiled again.
  rollouts = functools.partial(rollout.rollout, env, _seeing_state(inner))

  def played(episodes, first):
    carry = weights, program.start(acting, episodes)
    steps = rollouts(
      carry,
      jax.random.key(3),
      episodes,
      record=('action', 'valid'),
      first_index=first,
    )
    return jax.tree.map(np.asarray, steps)

  whole, halves = played(8, 0), [played(4, 0), played(4, 4)]
  for name in ('action', 'valid'):
    there = whole['valid']
    joined = np.concatenate([half[name] for half in halves])
    np.testing.assert_array_equal(joined[there], whole[name][there])
  assert set(whole['action'][whole['valid']]) == {0, 1}


@functools.cache
def _seeing_state(inner):
  """The policy where the environment's state is proprioception."""

  def policy(carry, observation, keys):
    return inner(carry, {'proprio': observation['state']}, keys)

  return policy
