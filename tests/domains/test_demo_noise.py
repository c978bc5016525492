"""Demonstrations that wander: the noise is done, the expert is recorded."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.domains import gymnax
from rpt_jax.envs import behaviours, rollout

STEPS = tuple(field for field in rollout.FIELDS if field != 'image')
NUM = 64
# Name: the simulator's state of what is recorded, how nearly it is the same.
STATES = {
  'MountainCar-v0': (lambda x: {'position': x[0], 'velocity': x[1]}, 0),
  'Pendulum-v1': (
    lambda x: {'theta': jnp.arctan2(x[0], x[1]), 'theta_dot': x[2]},
    1e-3,
  ),
}
each = pytest.mark.parametrize('name', STATES)


@pytest.fixture(autouse=True)
def _without_frames(monkeypatch):
  """What nobody looks at here is not drawn."""
  monkeypatch.setattr(rollout, 'FIELDS', STEPS)


def domain(name, **values):
  chosen = gymnax.Settings(envs=(name,), demos=NUM, clip_length=20, **values)
  return gymnax.Gymnax(name, 'gymnax', 0, chosen)


@functools.cache
def episodes(name, split='demos', **values):
  return domain(name, **values)._episodes(split)


def done(name, wander, split='demos'):
  """What is recorded of the same episodes while they are played: [N, T, ...].

  All episodes wander for that share of the time; None: as clips do.
  """
  chosen, first = domain(name), gymnax.FIRST_INDEX[split]
  start = behaviours.mixture_start(chosen.env, chosen.key, NUM, first, wander)
  if wander == 0:  # By hand, as the expert alone never wanders.
    never = np.zeros(NUM, np.float32)
    start = behaviours.mixture_start(chosen.env, chosen.key, NUM, first)
    start = start._replace(wander=never, lost=never > 0)
  steps = rollout.rollout(
    chosen.env,
    behaviours.mixture(chosen.env),
    start,
    chosen.key,
    NUM,
    record=STEPS,
    first_index=first,
  )
  return jax.device_get(steps)


def rows(steps_NT, of):
  """The steps that episodes have, end to end."""
  pairs = zip(steps_NT, of, strict=True)
  return np.concatenate([x[: episode.length] for x, episode in pairs])


@each
def test_every_label_is_the_experts_in_that_state(name):
  """Made anew of the state that is recorded beside it."""
  state_of, tolerance = STATES[name]
  expert = jax.jit(
    jax.vmap(
      lambda x: domain(name).env.expert(types.SimpleNamespace(**state_of(x)))
    )
  )
  recorded = episodes(name, demo_noise=0.5)
  x_NP = np.concatenate([e.observation['state'] for e in recorded])
  label_N = np.concatenate([e.action for e in recorded])
  right = np.abs(np.asarray(expert(x_NP)) - label_N) <= tolerance
  assert right.mean() > 0.995  # At an edge a rounded state may decide.


@each
@pytest.mark.parametrize('noise', [0.25, 0.5])
def test_what_is_done_is_random_for_that_share_of_the_time(name, noise):
  steps, demos = done(name, noise), episodes(name, demo_noise=noise)
  np.testing.assert_array_equal(
    rows(steps['state'], demos),
    np.concatenate([e.observation['state'] for e in demos]),
  )
  np.testing.assert_array_equal(
    rows(steps['reward'], demos), np.concatenate([e.reward for e in demos])
  )
  action_N = rows(steps['action'], demos)
  label_N = np.concatenate([e.action for e in demos])
  np.testing.assert_array_equal(label_N, rows(steps['expert'], demos))
  other = (action_N != label_N).reshape(len(label_N), -1).any(1).mean()
  num_actions = domain(name).env.num_actions
  by_chance = 1 / num_actions if num_actions else 0.0
  assert other == pytest.approx(noise * (1 - by_chance), abs=0.06)


@each
def test_without_noise_they_are_the_experts_episodes(name):
  """Bit for bit, whether the expert acts alone or as a mixture of nothing."""
  chosen, first = domain(name), gymnax.FIRST_INDEX['demos']
  env = chosen.env
  alone = rollout.rollout(
    env,
    behaviours.expert(env),
    (),
    chosen.key,
    NUM,
    record=STEPS,
    first_index=first,
  )
  demos = episodes(name, demo_noise=0.0)
  for steps in (jax.device_get(alone), done(name, 0.0)):
    np.testing.assert_array_equal(steps['valid'].sum(1), [
      e.length for e in demos])  # fmt: skip
    for field in ('action', 'reward'):
      expected = np.concatenate([getattr(e, field) for e in demos])
      np.testing.assert_array_equal(rows(steps[field], demos), expected)
    states = [e.observation['state'] for e in demos]
    np.testing.assert_array_equal(
      rows(steps['state'], demos), np.concatenate(states)
    )


def test_clips_that_are_no_demonstrations_record_what_was_done():
  name = 'MountainCar-v0'
  steps, clips = done(name, None, 'heldout'), episodes(name, 'heldout')
  steps = {k: x[:32] for k, x in steps.items()}
  action_N = np.concatenate([e.action for e in clips])
  np.testing.assert_array_equal(rows(steps['action'], clips), action_N)
  assert (rows(steps['expert'], clips) != action_N).mean() > 0.2
  assert {*clips[0].observation} == {'state'}  # And no label beside it.
