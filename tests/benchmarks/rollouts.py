"""CartPole in 1024 environments: steps a second against gymnasium.

Peers: gymnasium's SyncVectorEnv (one Python object an environment) and its
CartPoleVectorEnv (NumPy over the batch). Random actions, and a small MLP in
the loop (4-64-64-2, tanh, greedy; NumPy for the peers, for whom it is the
fastest choice at this size). All step one simulator step at a time, with
auto-reset. Each round runs every contender once (interleaved); medians.
"""

import dataclasses
import functools
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import envs
from rpt_jax.envs import environment, rollout

N, STEPS, SYNC_STEPS, ROUNDS = 1024, 1000, 40, 7


def _weights():
  rng = np.random.default_rng(0)
  sizes = (4, 64, 64, 2)
  return [
    rng.standard_normal(pair, np.float32) / np.float32(np.sqrt(pair[0]))
    for pair in zip(sizes[:-1], sizes[1:], strict=True)
  ]


def _mlp(lib, weights, x):
  for w in weights[:-1]:
    x = lib.tanh(x @ w)
  return lib.argmax(x @ weights[-1], axis=-1)


def _random(policy_state, observation, keys):
  """One draw for the whole batch, keyed by the first environment's key."""
  del observation
  bits = jax.random.bits(keys[0], (N // 32,))
  bits = bits[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None, :]
  return policy_state, jnp.int32(bits & 1).reshape(N)


def _greedy(weights, observation, keys):
  del keys
  state = observation['internal']
  x = jnp.stack([state.x, state.x_dot, state.theta, state.theta_dot], axis=1)
  return weights, _mlp(jnp, weights, x)


@functools.partial(
  jax.jit, static_argnames=('env', 'policy', 'num_envs', 'num_steps')
)
def _stream(env, policy, policy_state, key, num_envs, num_steps):
  """`num_steps` decisions with auto-reset: (mean reward f32 [], episodes)."""
  run_keys, state, scene = rollout._start(env, key, num_envs, 0.0, 0)
  fresh_keys = jax.vmap(lambda k: jax.random.fold_in(k, 0))(run_keys[1])

  def body(carry, t):
    policy_state, state, age_N, total, episodes = carry
    alive_N = jnp.ones(num_envs, jnp.bool_)
    (policy_state, state, going_N), step = rollout._advance(
      env, policy, scene, run_keys, t, (policy_state, state, alive_N)
    )
    age_N = age_N + 1
    over_N = ~going_N | (age_N >= env.horizon)
    fresh = jax.vmap(env.reset)(rollout.step_keys(fresh_keys, t))
    state = environment.freeze(~over_N, state, fresh)
    total += jnp.sum(step['reward'])
    episodes += jnp.sum(over_N)
    return (
      policy_state,
      state,
      jnp.where(over_N, 0, age_N),
      total,
      episodes,
    ), None

  zeros = jnp.zeros(num_envs, jnp.int32)
  start = policy_state, state, zeros, jnp.float32(0), jnp.int32(0)
  (*_, total, episodes), _ = jax.lax.scan(body, start, jnp.arange(num_steps))
  return total / (num_envs * num_steps), episodes


def _ours(policy, policy_state):
  env = envs.make('CartPole-v1')
  env = dataclasses.replace(env, action_repeat=1, horizon=500)
  key = jax.random.key(0)

  def call():
    out = _stream(env, policy, policy_state, key, N, STEPS)
    return jax.block_until_ready(out)

  return call, N * STEPS


def _peer(vector, act, steps):
  observation, _ = vector.reset(seed=0)
  kept = [observation]

  def call():
    for _ in range(steps):
      kept[0] = vector.step(act(kept[0]))[0]

  return call, N * steps


def _contenders():
  import gymnasium
  from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv

  rng, weights = np.random.default_rng(0), _weights()

  def sync():
    make = lambda: gymnasium.make('CartPole-v1')  # noqa: E731
    return gymnasium.vector.SyncVectorEnv([make] * N)

  def guess(_):
    return rng.integers(0, 2, N)

  def greedy(x):
    return _mlp(np, weights, x)

  return {
    'random/ours': _ours(_random, ()),
    'random/sync': _peer(sync(), guess, SYNC_STEPS),
    'random/numpy': _peer(CartPoleVectorEnv(N), guess, STEPS),
    'mlp/ours': _ours(_greedy, [jnp.asarray(w) for w in weights]),
    'mlp/sync': _peer(sync(), greedy, SYNC_STEPS),
    'mlp/numpy': _peer(CartPoleVectorEnv(N), greedy, STEPS),
  }


def _rates(contenders):
  """Median steps a second of each contender, interleaved."""
  seconds = {name: [] for name in contenders}
  for call, _ in contenders.values():
    call()
  for _ in range(ROUNDS):
    for name, (call, _) in contenders.items():
      begin = time.perf_counter()
      call()
      seconds[name].append(time.perf_counter() - begin)
  return {
    name: contenders[name][1] / statistics.median(row)
    for name, row in seconds.items()
  }


def run() -> list[dict]:
  """Rows of steps a second, ours and the peer's, ratio = ours / peer."""
  import threadpoolctl

  # A second BLAS thread gains NumPy nothing at this size, and loses it a
  # scheduler slice a step wherever the cores are shared.
  with threadpoolctl.threadpool_limits(1, 'blas'):
    rates = _rates(_contenders())
  targets = {
    ('random', 'sync'): 40.0,
    ('random', 'numpy'): 1.0,
    ('mlp', 'sync'): 25.0,
    ('mlp', 'numpy'): 1.0,
  }
  return [
    {
      'name': f'cartpole {N} envs, {policy}, against {peer}',
      'ours': rates[f'{policy}/ours'],
      'peer': rates[f'{policy}/{peer}'],
      'ratio': rates[f'{policy}/ours'] / rates[f'{policy}/{peer}'],
      'target': target,
    }
    for (policy, peer), target in targets.items()
  ]
