"""A policy of the true state: one token, the action of one step.

Small enough that many train and play side by side as lanes of one call.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings
from rpt_jax.episodes import scales
from rpt_jax.episodes.scales import Scale
from rpt_jax.models import sequence
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.training import optimizer, step
from rpt_jax.types import ACTION, LATENT, Array, PyTree, StreamSpec


def model(c: settings.Deploy, env) -> SequenceModel:
  """The policy of an environment with continuous actions."""
  stream = StreamSpec(LATENT, 'continuous', dim=len(env.state_names))
  action = StreamSpec(ACTION, 'continuous', dim=env.action_dim)
  own = behaviour_cloning.heads(c.head, 1, (stream,), action)
  return SequenceModel((stream,), own, c.trunk, c.width, 1)


def scale(state_NTP: np.ndarray, valid_NT: np.ndarray) -> Scale:
  """(mean, divisor) [P] of the states of episodes."""
  measured = scales.measure(LATENT, [np.asarray(state_NTP)[valid_NT]])
  return measured[0], scales.divisor(measured)


def acting(own: SequenceModel, env, measured: Scale) -> Callable:
  """A policy for `envs.rollout`, whose state are its parameters."""

  def act(params, observation, keys):
    inputs = _inputs(measured, observation['state'])
    apply = sequence.bind(own, params)
    valid_N1 = jnp.ones((len(keys), 1), bool)
    read_N1D = apply(inputs, valid_N1)['reads'][ACTION]
    # One key for all: lanes are drawn side by side.
    action = apply.head(ACTION).sample(read_N1D, keys[0], 1)[0, :, 0, 0]
    return params, action * env.action_limit

  return act


def learned(
  c: settings.Deploy,
  own: SequenceModel,
  measured: Scale,
  steps: dict[str, Array],
  rate: Array,
  key: Array,
) -> PyTree:
  """Parameters of a policy that was trained from scratch.

  Steps are drawn as likely as they count, which in the mean is the weighed
  loss, and varies less where few of them count much.

  Args:
    steps: 'state' [E, T, P], 'action' [E, T, A] within -1 and 1, and 'chance'
      [E, T], how likely each is drawn; they need not sum to 1.
    rate: the peak of the learning rate.
  """
  init_key, own_key, draw_key = jax.random.split(key, 3)
  until_N = jnp.cumsum(steps['chance'].reshape(-1))
  data = {
    name: steps[name].reshape(len(until_N), -1) for name in ('state', 'action')
  }
  tx = optimizer.adamw(rate, c.updates, weight_decay=c.weight_decay)

  def loss(params, batch, key):
    taught = {
      'inputs': _inputs(measured, batch['state']),
      'targets': {ACTION: batch['action'][:, None]},
      'valid': jnp.ones((c.batch_size, 1), bool),
    }
    return behaviour_cloning.loss(sequence.bind(own, params), taught, key)

  update = step.step_fn(loss, tx)

  def once(state, key):
    place_B = jax.random.uniform(key, (c.batch_size,)) * until_N[-1]
    row_B = jnp.searchsorted(until_N, place_B, side='right')
    state, _ = update(state, jax.tree.map(lambda x: x[row_B], data))
    return state, None

  state = step.init_state(sequence.init(own, init_key), tx, own_key)
  keys = jax.random.split(draw_key, c.updates)
  return jax.lax.scan(once, state, keys)[0].params


def _inputs(measured, state_NP):
  mean_P, divisor_P = measured
  return {LATENT: ((state_NP - mean_P[None]) / divisor_P[None])[:, None]}
