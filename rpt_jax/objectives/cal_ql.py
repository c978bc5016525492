"""Calibrated Q-learning: values that offline data hold down, but not too far.

Conservative Q-learning (CQL, Kumar et al. 2020, arXiv 2006.04779, equation 4)
pushes down what it values actions of its policy at, and up what was done; then
all values are far too low, and what a policy first does online looks better
than what it knows. Cal-QL (Nakamoto et al. 2023, arXiv 2303.05479, equation
5.1) pushes down no value below what the data's own behaviour got, V(s):

  R = E[ logsumexp_a max(Q(s, a), V(s)) - Q(s, a_data) ]

CQL is the same with V = -infinity. Random actions are bounded by nothing, and
each is weighed by how likely it was drawn (published code, nakamotoo/Cal-QL).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.models import critic as networks


@dataclasses.dataclass(frozen=True)
class Learner:
  """The networks and numbers of a training; all but modules may be traced."""

  critic: networks.Critic
  actor: networks.Actor
  discount: float
  weight: float  # Of R.
  actions: int  # Drawn of each kind for R.


def init(learner: Learner, key, state_dim: int):
  """Parameters {'critic', 'actor', 'temperature'}."""
  critic_key, actor_key = jax.random.split(key)
  state, action = jnp.zeros((1, state_dim)), jnp.zeros((1, 1, _dim(learner)))
  return {
    'critic': learner.critic.init(critic_key, state, action)['params'],
    'actor': learner.actor.init(actor_key, state)['params'],
    'temperature': jnp.zeros(()),  # Its logarithm.
  }


def loss(learner: Learner, params, batch, key, target):
  """The sum of what critic, actor and temperature learn by, and metrics.

  Each has its gradient from its own part alone.

  Args:
    params, target: as of `init`; the target is their running mean, the
      training step's teacher.
    batch: 'state', 'next' [B, S], 'action' [B, A] within -1 and 1, 'reward',
      'ended' (0 or 1), 'bound' [B]: V(s), the return-to-go; -inf for CQL.

  Returns:
    (loss, metrics): 'bellman', 'conservative', 'bounded' (the share of values
    of policy actions that the bound holds up), 'value' of what was done.
  """
  backup_key, push_key, act_key = jax.random.split(key, 3)
  fixed = jax.lax.stop_gradient(params)
  done_B1A = batch['action'][:, None]
  q_EB = _q(learner, params, batch['state'], done_B1A)[..., 0]
  backup_B = backup(learner, fixed, batch, backup_key, target)
  bellman = jnp.square(q_EB - backup_B[None]).mean()
  pushed_EB, bounded = conservative(learner, params, fixed, batch, push_key)
  push = (pushed_EB - q_EB).mean()
  action_B1A, nats_B1 = networks.draw(
    _policy(learner, params, batch['state']), act_key, 1
  )
  value_B1 = _q(learner, fixed, batch['state'], action_B1A).min(0)
  log_temperature = params['temperature']
  cost = jnp.exp(jax.lax.stop_gradient(log_temperature)) * nats_B1
  acting = (cost - value_B1).mean()
  # Entropy is kept at -A nats.
  lack = jax.lax.stop_gradient(nats_B1.mean()) - _dim(learner)
  total = bellman + learner.weight * push + acting - log_temperature * lack
  return total, {
    'bellman': bellman,
    'conservative': push,
    'bounded': bounded,
    'value': q_EB.mean(),
  }


def backup(learner: Learner, fixed, batch, key, target):
  """r + discount * the lesser of the target's values of the next action [B]."""
  action_B1A, _ = networks.draw(_policy(learner, fixed, batch['next']), key, 1)
  next_B = _q(learner, target, batch['next'], action_B1A).min(0)[:, 0]
  going_B = 1.0 - batch['ended']
  return batch['reward'] + learner.discount * going_B * next_B


def conservative(learner: Learner, params, fixed, batch, key):
  """(logsumexp over actions [E, B], share of values that the bound holds up).

  Actions are drawn evenly, by the policy here, and by it in the next state.
  """
  even_key, here_key, next_key = jax.random.split(key, 3)
  state, num, dim = batch['state'], learner.actions, _dim(learner)
  shape = (len(state), num, dim)
  even = jax.random.uniform(even_key, shape, minval=-1.0, maxval=1.0)
  here, here_nats = networks.draw(_policy(learner, fixed, state), here_key, num)
  after, after_nats = networks.draw(
    _policy(learner, fixed, batch['next']), next_key, num
  )
  actions = jnp.concatenate([even, here, after], axis=1)
  q_EBN = _q(learner, params, state, actions)
  even_nats = jnp.full(shape[:2], dim * np.log(0.5))
  nats_BN = jnp.concatenate([even_nats, here_nats, after_nats], axis=1)
  return pushed(q_EBN, nats_BN, batch['bound'], num)


def pushed(q_EBN, nats_BN, bound_B, even: int):
  """What is pushed down, of values and how likely their actions were drawn.

  The first `even` of N actions were drawn evenly: no bound holds them up.
  Returns (logsumexp [E, B], the share of the others that are below the bound).
  """
  bound_1B1 = bound_B[None, :, None]
  policy_EBN = jnp.maximum(q_EBN[..., even:], bound_1B1)
  held = (q_EBN[..., even:] < bound_1B1).mean()
  q_EBN = jnp.concatenate([q_EBN[..., :even], policy_EBN], axis=-1)
  return jax.nn.logsumexp(q_EBN - nats_BN[None], axis=-1), held


def act(learner: Learner, params, state_BS, key):
  """Actions [B, A] that the policy draws."""
  said = _policy(learner, params, state_BS)
  return networks.draw(said, key, 1)[0][:, 0]


def _dim(learner):
  return learner.actor.dim


def _q(learner, params, state_BS, action_BNA):
  return learner.critic.apply(
    {'params': params['critic']}, state_BS, action_BNA
  )


def _policy(learner, params, state_BS):
  return learner.actor.apply({'params': params['actor']}, state_BS)
