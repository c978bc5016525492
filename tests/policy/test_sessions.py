"""Sessions side by side: each acts as a policy that is alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import robots

from rpt_jax.policy import Execution, Policy, program, sessions
from rpt_jax.policy.sessions import Asked

ROBOTS, PLACES, STEPS = 3, 4, 5
STREAMS = ('latent/front', 'proprio', 'action')
AVERAGED = Execution(ensemble=0.1)


def assert_close(given, want):
  """Equal but for a bf16 operand here and there that is rounded otherwise."""
  error = np.abs(np.asarray(given) - np.asarray(want))
  assert np.quantile(error, 0.8) < 1e-5
  assert error.max() < 2e-2


def ask(policy, table, shown, done=()):
  """(table, {place: chunk}) of {place: observation}, padded to `PLACES` lanes.

  `done` {place: what the robot did last}.
  """
  lanes = [*shown] + [PLACES] * (PLACES - len(shown))  # The last is nobody's.
  nothing = np.int32(0)
  if not policy.num_actions:
    nothing = np.zeros(policy.action_dim, np.float32)
  asked = Asked(
    np.asarray(lanes, np.int32),
    np.zeros(PLACES, np.int32),
    np.stack([done[i] if i in done else nothing for i in lanes]),
    np.asarray([i in done for i in lanes]),
  )
  one = next(iter(shown.values()))
  seen = {
    name: np.concatenate([shown[i][name] if i in shown else x for i in lanes])
    for name, x in one.items()
  }
  table, chunk = sessions.step(
    policy.program, policy.weights, table, asked, seen
  )
  return table, dict(zip(shown, np.asarray(chunk), strict=False))


@pytest.mark.parametrize('num_actions', [0, robots.NUM_ACTIONS])
def test_sessions_act_as_policies_that_are_alone(num_actions):
  """Whoever asks beside them, and whatever the robots did in between."""
  execution = Execution(temperature=1.0) if num_actions else AVERAGED
  parts = robots.parts(STREAMS, num_actions=num_actions)
  policies = [Policy(**parts, execution=execution) for _ in range(ROBOTS)]
  episodes = [robots.episode(STEPS, streams=STREAMS, seed=i) for i in range(3)]
  table = sessions.empty(policies[0].program, PLACES + 1)
  for i, policy in enumerate(policies):
    policy.reset(seed=i)
    table = sessions.begin(policy.program, table, np.int32(i), np.int32(i))
  steps, rng = [0] * ROBOTS, np.random.default_rng(0)
  while min(steps) < STEPS:
    some = [i for i in rng.permutation(ROBOTS) if steps[i] < STEPS]
    some = some[: rng.integers(1, ROBOTS + 1)]
    done = {}
    for i in some:
      if steps[i] and rng.random() < 0.7:
        done[i] = episodes[i][1][steps[i], 0]
        if num_actions:
          done[i] = np.int32(rng.integers(num_actions))
        policies[i].executed(done[i][None])
    shown = {i: episodes[i][0][steps[i]] for i in some}
    table, chunks = ask(policies[0], table, shown, done)
    for i in some:
      assert_close(chunks[i][0], policies[i].act(shown[i])[0])
      steps[i] += 1


def test_what_is_planned_is_the_chunk_in_the_robots_units():
  parts = robots.parts(STREAMS) | {'action_limit': (-2.0, 2.0)}
  policy = Policy(**parts, execution=AVERAGED)
  seen, _ = robots.episode(1, streams=STREAMS)
  table = sessions.empty(policy.program, PLACES + 1)
  _, chunks = ask(policy, table, {0: seen[0]})
  resting = Policy(**parts, execution=Execution(robots.CHUNK))
  resting.reset()
  played = [resting.act(seen[0])[0] for _ in range(robots.CHUNK)]
  assert_close(chunks[0], played)
  differ = np.diff(chunks[0], axis=0, append=chunks[0][:1])
  assert np.abs(differ).max(axis=1).min() > 0.5  # Any two of its steps.


def test_steps_that_were_not_shown_are_absent():
  """As if nonsense had been shown, and then hidden."""
  policy = Policy(**robots.parts(STREAMS), execution=AVERAGED)
  run, weights = policy.program, policy.weights
  shown, _ = robots.episode(4, streams=STREAMS)
  keys = program.episode_keys(0, 1)
  memory, plain = program.start(run, 1), program.start(run, 1)
  for seen in shown[:2]:  # Memories are given away.
    memory, _ = program.step(run, weights, memory, seen, keys)
    plain, _ = program.step(run, weights, plain, seen, keys)
  skipped = sessions.skip(run, memory, jnp.int32(2))
  assert skipped.valid_BT.tolist() == [[True, True, False, False]]
  assert int(skipped.count) == 4
  remember = jax.jit(program.remember, static_argnums=0)
  for seen in shown[2:]:
    nonsense = {name: x * 0 + 9 for name, x in seen.items()}
    memory = remember(run, weights, memory, program.see(run, weights, nonsense))
    valid_BT = memory.valid_BT.at[:, -1].set(False)
    memory = memory._replace(valid_BT=valid_BT)
  predict = jax.jit(program.predict, static_argnums=0)
  hidden = predict(run, weights, memory, keys)
  assert_close(predict(run, weights, skipped, keys), hidden)
  np.testing.assert_array_equal(skipped.plan_BCA[:, 0], plain.plan_BCA[:, 2])
  np.testing.assert_array_equal(skipped.weight_C[1:], [0, 0])


def test_a_session_that_begins_again_remembers_nothing():
  policy = Policy(**robots.parts(STREAMS), execution=AVERAGED)
  seen, _ = robots.episode(3, streams=STREAMS)
  table = sessions.empty(policy.program, PLACES + 1)
  table, first = ask(policy, table, {1: seen[0], 2: seen[1]})
  table, _ = ask(policy, table, {1: seen[1], 2: seen[2]})
  table = sessions.begin(policy.program, table, np.int32(1), np.int32(0))
  table, again = ask(policy, table, {1: seen[0], 2: seen[0]})
  assert_close(again[1], first[1])
  assert np.abs(again[2] - again[1]).max() > 1e-2  # The other goes on.
