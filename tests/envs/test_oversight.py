"""An expert that takes over where a policy comes no nearer to the goal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import envs
from rpt_jax.envs import behaviours, oversight, rollout

RULE = oversight.Rule(patience=2, progress=0.5, hold=3)
NAME = 'MountainCarContinuous-v0'


def played(ahead):
  """Whether the expert acts, of how far an episode is at every decision."""
  own, acts = oversight.start(RULE, (), 1), []
  for steps in ahead:
    seen, left, expert = oversight.watched(
      RULE, own, jnp.full(1, float(steps)), 20
    )
    own = oversight.Overseen((), seen, left, expert)
    acts.append(bool(expert[0]))
  return acts


def test_it_takes_over_where_progress_stalls_and_hands_back():
  # 9 is no more than 1 nearer than 9 two before; then patience begins anew.
  assert (
    played([9, 9, 9, 8, 7, 6, 5, 4]) == [False] * 2 + [True] * 3 + [False] * 3
  )
  assert played([9] * 10) == ([False] * 2 + [True] * 3) * 2
  assert not any(played([9, 9, 8, 8, 7, 7, 6, 6]))  # Half of its own way.
  assert played([9, 9, 10])[-1]
  assert played([9, 20, 20, 20, 8]) == [False] + [True] * 3 + [False]  # Lost.


def test_how_far_it_is_are_the_decisions_that_its_own_way_takes():
  env, key = envs.make(NAME), jax.random.key(3)
  steps = rollout.rollout(env, behaviours.expert(env), (), key, 4)
  start = jax.vmap(env.reset)(
    jax.vmap(lambda k: jax.random.split(k, 4)[0])(rollout.episode_keys(key, 4))
  )
  ahead = jax.vmap(functools.partial(oversight.ahead, env))
  count = ahead(start, jax.vmap(env.expert)(start))
  assert count.tolist() == steps['valid'].sum(1).tolist()
  assert (np.asarray(count) < env.horizon).all()
  assert (ahead(start, -jax.vmap(env.expert)(start)) > count).all()


def test_into_the_obstacle_is_no_way_to_the_goal():
  env = envs.make('OneWay-v0')
  state = env.reset(jax.random.key(3)).replace(x=jnp.float32(0.3))
  state = state.replace(y=jnp.float32(-0.3))
  # Its own way leads round on the other side; to the right there is one.
  for action, far in (((0.0, 1.0), True), ((1.0, 0.0), True)):
    count = oversight.ahead(env, state, jnp.asarray(action))
    assert (count == env.horizon) == far
  state = state.replace(x=jnp.float32(-0.6))
  assert oversight.ahead(env, state, jnp.asarray((0.0, 1.0))) < env.horizon


def test_what_is_done_is_the_experts_where_it_acts():
  env = envs.make('Gate-v0')

  def idle(params, observation, keys):
    return params, jnp.zeros((len(keys), 2))

  steps = rollout.rollout(
    env,
    oversight.overseen(env, RULE, idle),
    oversight.start(RULE, (), 4),
    jax.random.key(0),
    4,
    record=('action', 'expert', 'valid', 'reward'),
    carried=lambda own: own.took_N,
  )
  took = np.asarray(steps['carried'])
  done = np.where(took[..., None], steps['expert'], 0.0)
  np.testing.assert_array_equal(steps['action'], done)
  assert not took[:, :2].any() and took.any(1).all()
  assert (steps['reward'] > 0).any(1).all()  # So an idle policy gets there.
