"""Every environment: dynamics of gymnax, legible frames, honest states."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import envs
from rpt_jax.envs import behaviours, rollout

N = 8
each = pytest.mark.parametrize('name', envs.NAMES)


@functools.cache
def episodes(name):
  env, key = envs.make(name), jax.random.key(1)
  start = behaviours.mixture_start(env, key, N)
  fields = ('image', 'state', 'action', 'reward', 'valid', 'terminated')
  steps = rollout.rollout(
    env, behaviours.mixture(env), start, key, N, record=fields
  )
  return {k: np.asarray(v) for k, v in steps.items()}


# What a frame must show, and a change of it that must be seen.
VISIBLE = {
  'CartPole-v1': {'x': 0.1, 'theta': 0.05},
  'Acrobot-v1': {'joint_angle1': 0.1, 'joint_angle2': 0.1},
  'Pendulum-v1': {'theta': 0.1},
  'MountainCar-v0': {'position': 0.03},
  'MountainCarContinuous-v0': {'position': 0.03},
  'Breakout-MinAtar': {'ball_x': 1, 'ball_y': 1, 'pos': -1, 'brick_map': 1},
  'Freeway-MinAtar': {'pos': -1, 'cars': 1},
  'SpaceInvaders-MinAtar': {
    'pos': -1,
    'alien_map': -1,
    'f_bullet_map': 1,
    'e_bullet_map': 1,
  },
  'Detour-v0': {'x': 0.15, 'y': 0.15},
  'OneWay-v0': {'x': 0.15, 'y': 0.15},
  'Gate-v0': {'x': 0.15, 'y': 0.15},
}


@each
def test_frame_shows_every_part(name):
  env = envs.make(name)
  state = env.reset(jax.random.key(2))
  scene = env.scene(jax.random.key(3))
  render = jax.jit(env.render)
  frame = np.asarray(render(state, scene)).astype(int)
  for field, change in VISIBLE[name].items():
    old = getattr(state, field)
    if jnp.ndim(old):
      new = old.at[5, 0].add(change) if field != 'alien_map' else 0 * old
    else:
      new = old + change
    seen = np.asarray(render(state.replace(**{field: new}), scene))
    # At least a dozen pixels, and by more than noise.
    assert (np.abs(seen - frame).max(axis=2) > 20).sum() >= 12, field


def test_unknown_name():
  with pytest.raises(ValueError, match='expected one of CartPole-v1'):
    envs.make('CartPole-v9')


@each
def test_spec(name):
  env, steps = envs.make(name), episodes(name)
  assert env is envs.make(name) and env.horizon <= 125
  assert steps['image'].shape == (N, env.horizon, 64, 64, 3)
  assert steps['image'].dtype == np.uint8
  assert steps['state'].shape == (N, env.horizon, len(env.state_names))
  if env.num_actions:
    assert steps['action'].dtype == np.int32
    assert set(np.unique(steps['action'])) == set(range(env.num_actions))
  else:
    assert steps['action'].shape == (N, env.horizon, env.action_dim)
    assert np.abs(steps['action']).max() <= env.action_limit


@each
def test_no_physical_quantity_is_constant(name):
  steps = episodes(name)
  state_NP = steps['state'][steps['valid']]
  assert (state_NP.std(axis=0) > 0).all(), envs.make(name).state_names


# What of a simulator's state no frame shows; of the others a frame shows all.
UNSEEN = {
  'CartPole-v1': ('x_dot', 'theta_dot'),
  'Acrobot-v1': ('velocity_1', 'velocity_2'),
  'Pendulum-v1': ('theta_dot',),
  'MountainCar-v0': ('velocity',),
  'MountainCarContinuous-v0': ('velocity',),
  'Breakout-MinAtar': (),
  'Freeway-MinAtar': (),
  'SpaceInvaders-MinAtar': ('shot_timer',),
  'Detour-v0': ('side',),
  'OneWay-v0': ('side',),
  'Gate-v0': (),
}


@each
def test_what_is_not_visible_can_be_anything(name):
  env = envs.make(name)
  scene, state = env.scene(jax.random.key(1)), env.reset(jax.random.key(0))
  values = {field: getattr(state, field) + 1 for field in UNSEEN[name]}
  other = state.replace(**values)
  np.testing.assert_array_equal(
    env.render(state, scene), env.render(other, scene)
  )
  changed_P = np.asarray(env.physical(state) != env.physical(other))
  names = np.asarray(env.state_names)
  assert tuple(names[~changed_P]) == env.visible


@each
def test_frames_change_with_the_state_and_only_then(name):
  steps = episodes(name)
  going = steps['valid'][:, 1:]
  frame, state = steps['image'].astype(int), steps['state']
  moved = np.abs(np.diff(frame, axis=1)).max(axis=(2, 3, 4)) > 0
  changed = np.abs(np.diff(state, axis=1)).max(axis=2) > 0
  assert moved[going & changed].mean() > 0.9
  assert not moved[~going & ~changed].any()
  assert (~going).sum() == 0 or (~going & ~changed).any()


@each
def test_dynamics_are_those_of_gymnax(name):
  """Ten decisions against a Python loop over `step_env`."""
  env, key = envs.make(name), jax.random.key(3)
  state = ours = env.reset(key)
  step = jax.jit(env.step)
  theirs = jax.jit(
    lambda k, s, a: env.simulator.step_env(
      k, s, a, env.simulator.default_params
    )
  )
  over = False
  for t in range(10):
    key, act = jax.random.split(key)
    action = env.sample_action(act)
    ours, reward, terminated = step(act, ours, action)
    total = 0.0
    for k in jax.random.split(act, env.action_repeat):
      if not over:
        _, state, r, over, _ = theirs(k, state, action)
        total += float(r)
    np.testing.assert_allclose(reward, total, rtol=1e-5, atol=1e-5)
    assert bool(terminated) == bool(over), t
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
      ours,
      state,
    )
    if over:
      break


@each
def test_nuisance_is_constant_over_a_clip_and_gone_at_zero(name):
  env = envs.make(name)
  steps = episodes(name)
  still = np.median(steps['image'], axis=1)
  between = np.abs(still[:, None] - still[None]).mean(axis=(2, 3, 4))
  corner = steps['image'][:, :, :2, 0]
  assert (corner == corner[:, :1]).all()
  assert between[np.triu_indices(N, 1)].min() > 3.0
  keys = jax.random.split(jax.random.key(5), 2)
  plain = jax.vmap(env.scene, (0, None))(keys, 0.0)
  jax.tree.map(lambda x: np.testing.assert_array_equal(x[0], x[1]), plain)
  assert (np.asarray(plain.shift) == 0).all()


@each
def test_time_limit_is_no_termination(name):
  steps = episodes(name)
  ended = steps['terminated'].any(axis=1)
  assert (steps['terminated'].sum(axis=1) <= 1).all()
  assert steps['valid'][~ended].all()
  assert (steps['reward'][~steps['valid']] == 0).all()
  length = steps['valid'].sum(axis=1)
  for i in np.flatnonzero(ended):
    assert steps['terminated'][i, length[i] - 1]
    after = steps['state'][i, length[i] :]
    np.testing.assert_array_equal(
      after, np.broadcast_to(after[:1], after.shape)
    )


def test_continuous_actions_are_clipped():
  env, key = envs.make('Pendulum-v1'), jax.random.key(0)
  state = env.reset(key)
  wild = env.step(key, state, jnp.array([9.0]))
  limit = env.step(key, state, jnp.array([env.action_limit]))
  jax.tree.map(np.testing.assert_array_equal, wild, limit)
