"""Episodes are functions of (key, index): chunks, devices, calls."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rpt_jax import envs
from rpt_jax.envs import behaviours, rollout

# The one whose every part is random: resets, steps, scenes, behaviour.
NAME = 'Pendulum-v1'
FIELDS = ('image', 'action', 'reward', 'valid')
N = 16


def mixed(num_envs, first_index=0, **options):
  env, key = envs.make(NAME), jax.random.key(7)
  start = behaviours.mixture_start(env, key, num_envs, first_index)
  return rollout.rollout(
    env,
    behaviours.mixture(env),
    start,
    key,
    num_envs,
    record=FIELDS,
    first_index=first_index,
    **options,
  )


def as_users(make, **how):
  """Compiled as users do: the emitter that tests are compiled by rounds
  differently where more or fewer lanes are next to each other."""
  options = {'xla_cpu_use_fusion_emitters': True}
  return jax.jit(make, compiler_options=options, **how)()


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


def test_chunks_give_the_same_episodes():
  whole = jax.device_get(as_users(lambda: mixed(N)))
  for first in (0, 8):
    part = jax.tree.map(lambda x: x[first : first + 8], whole)  # noqa: B023
    again = as_users(lambda: mixed(8, first))  # noqa: B023
    assert_same(part, jax.device_get(again))
  assert (whole['image'][0] != whole['image'][8]).any()


def test_eight_devices_give_the_same_episodes():
  mesh = jax.make_mesh((8,), ('data',), axis_types=(AxisType.Auto,))
  split = NamedSharding(mesh, PartitionSpec('data'))
  sharded = as_users(lambda: mixed(N), out_shardings=split)
  assert sharded['image'].sharding.is_equivalent_to(split, 5)
  whole = as_users(lambda: mixed(N))
  assert_same(jax.device_get(whole), jax.device_get(sharded))


def test_steps_of_a_noisy_game_do_not_depend_on_the_chunk():
  env, key = envs.make('Freeway-MinAtar'), jax.random.key(2)
  assert env.noisy
  act = behaviours.expert(env)
  whole = rollout.rollout(env, act, (), key, 8, record=('state',))['state']
  part = rollout.rollout(
    env, act, (), key, 4, record=('state',), first_index=4
  )['state']
  np.testing.assert_array_equal(whole[4:], part)


def test_returns_are_the_sums_of_the_same_rewards():
  env, key = envs.make('CartPole-v1'), jax.random.key(4)
  act = behaviours.random(env)
  steps = rollout.rollout(env, act, (), key, N, record=('reward', 'valid'))
  total = (steps['reward'] * steps['valid']).sum(axis=1)
  np.testing.assert_allclose(
    rollout.returns(env, act, (), key, N), total, rtol=1e-6
  )


def test_nothing_compiles_twice():
  mixed(N)
  before = rollout.rollout._cache_size()
  mixed(N, 32)
  mixed(N, nuisance=0.0)
  assert rollout.rollout._cache_size() == before + 1  # Python float, once.


def test_images_that_nobody_reads_are_not_drawn():
  env = envs.make('CartPole-v1')
  text = {
    field: rollout.rollout.lower(
      env, behaviours.random(env), (), jax.random.key(0), N, record=(field,)
    )
    .compile()
    .as_text()
    for field in ('reward', 'image')
  }
  assert '64,64' in text['image'] and '64,64' not in text['reward']


def test_unknown_field():
  env = envs.make(NAME)
  with pytest.raises(ValueError, match="found \\['pixels'\\]"):
    rollout.rollout(
      env, behaviours.random(env), (), jax.random.key(0), 1, record=('pixels',)
    )


def test_random_episodes_are_as_short_as_they_should_be():
  """Random CartPole episodes last 22 steps on average (gymnasium: 22.2)."""
  env = envs.make('CartPole-v1')
  steps_N = rollout.returns(
    env, behaviours.random(env), (), jax.random.key(0), 512
  )
  assert 14.0 < steps_N.mean() < 17.5  # At action repeat 4.


def test_mixture_covers_more_than_the_expert():
  env, key = envs.make(NAME), jax.random.key(7)
  expert = rollout.rollout(
    env, behaviours.expert(env), (), key, 64, record=('state',)
  )['state']
  start = behaviours.mixture_start(env, key, 64)
  mix = rollout.rollout(
    env, behaviours.mixture(env), start, key, 64, record=('state',)
  )['state']
  upright = [np.mean(np.asarray(s[:, 25:, 1]) > 0.9) for s in (expert, mix)]
  assert upright[0] > 0.9 > 0.7 > upright[1] > 0.1
