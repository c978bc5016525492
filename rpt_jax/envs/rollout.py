"""Episodes: many environments, one jitted scan, the policy inside it.

Environment i of a rollout is a function of (key, first_index + i) alone: its
key is folded from its index, and the key of its step t is that one with t
added to the last word (threefry is a keyed hash: neighbouring keys give
independent streams, and deriving them costs nothing). So chunks of indices,
or a sharded call, give the episodes of one large call.

A policy acts on the whole batch,
`policy(policy_state, observation, keys) -> (policy_state, action [N, ...])`
with `observation` = {'image' u8 [N, 64, 64, 3], 'state' f32 [N, P],
'internal': simulator states}; `keys` are N typed keys, one an environment
(`jax.vmap(jax.random.categorical)(keys, logits)`). What a policy does not
read is not computed: images are drawn only where read or recorded.
"""

import functools

import jax
import jax.numpy as jnp

from rpt_jax.envs.environment import freeze

FIELDS = (
  'image',
  'state',
  'action',
  'expert',
  'reward',
  'valid',
  'terminated',
)


def episode_keys(key, num_envs, first_index=0):
  """The keys [N] of environments first_index ... first_index + N - 1."""
  index_N = jnp.uint32(first_index) + jnp.arange(num_envs, dtype=jnp.uint32)
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(index_N)


def step_keys(keys_N, t):
  """The keys [N] of step t."""
  words = jax.random.key_data(keys_N)
  words = words.at[:, -1].add(jnp.uint32(t))
  return jax.random.wrap_key_data(words, impl=jax.random.key_impl(keys_N))


def _start(env, key, num_envs, nuisance, first_index):
  """Keys of the steps, first states and scenes, all [N]."""
  keys = jax.vmap(lambda k: jax.random.split(k, 4))(
    episode_keys(key, num_envs, first_index)
  )
  scene = jax.vmap(env.scene, (0, None))(keys[:, 1], nuisance)
  return (keys[:, 2], keys[:, 3]), jax.vmap(env.reset)(keys[:, 0]), scene


def _advance(env, policy, scene, keys, t, carry):
  """One decision of all environments: (carry, record of the step)."""
  policy_state, state, alive_N = carry
  seen = {
    'image': jax.vmap(env.render)(state, scene),
    'state': jax.vmap(env.physical)(state),
    'internal': state,
  }
  policy_state, action = policy(policy_state, seen, step_keys(keys[0], t))
  new, reward_N, ended_N = jax.vmap(env.step)(
    step_keys(keys[1], t), state, action
  )
  record = {
    'image': seen['image'],
    'state': seen['state'],
    'action': action,
    'expert': jax.vmap(env.expert)(state),
    'reward': jnp.where(alive_N, reward_N, 0.0),
    'valid': alive_N,
    'terminated': alive_N & ended_N,
  }
  state = freeze(~alive_N, state, new)
  return (policy_state, state, alive_N & ~ended_N), record


@functools.partial(
  jax.jit, static_argnames=('env', 'policy', 'num_envs', 'record', 'carried')
)
def rollout(
  env,
  policy,
  policy_state,
  key,
  num_envs,
  *,
  record=('state', 'action', 'reward', 'valid', 'terminated'),
  nuisance=1.0,
  first_index=0,
  carried=None,
):
  """`num_envs` episodes of `env.horizon` decisions under a policy.

  Returns the fields in `record` (of `FIELDS`), each [N, T, ...], and with
  `carried`, a function of the policy's state, what that makes of it after
  every decision, a tree of [N, ...], under 'carried'. `valid` says
  that the episode was still running; afterwards its state stands still and
  its reward is zero. `terminated` is true at most once; an episode that meets
  the horizon has none. `action` is what was done, `expert` what the scripted
  expert would have done there. Raises ValueError for an unknown field.
  """
  unknown = sorted(set(record) - set(FIELDS))
  if unknown:
    raise ValueError(
      f'record: found {unknown}, expected fields of {FIELDS}; drop the others'
    )
  keys, state, scene = _start(env, key, num_envs, nuisance, first_index)

  def body(carry, t):
    carry, step = _advance(env, policy, scene, keys, t, carry)
    kept = {name: step[name] for name in record}
    return carry, kept | ({'carried': carried(carry[0])} if carried else {})

  carry = policy_state, state, jnp.ones(num_envs, jnp.bool_)
  _, steps = jax.lax.scan(body, carry, jnp.arange(env.horizon))
  return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), steps)


@functools.partial(jax.jit, static_argnames=('env', 'policy', 'num_envs'))
def returns(
  env, policy, policy_state, key, num_envs, *, nuisance=1.0, first_index=0
):
  """The returns f32 [N] of the same episodes; stops when all have ended."""
  keys, state, scene = _start(env, key, num_envs, nuisance, first_index)

  def running(loop):
    t, (*_, alive_N), _ = loop
    return (t < env.horizon) & jnp.any(alive_N)

  def body(loop):
    t, carry, total_N = loop
    carry, step = _advance(env, policy, scene, keys, t, carry)
    return t + 1, carry, total_N + step['reward']

  carry = policy_state, state, jnp.ones(num_envs, jnp.bool_)
  start = jnp.int32(0), carry, jnp.zeros(num_envs)
  return jax.lax.while_loop(running, body, start)[2]
