"""Values by CQL and Cal-QL, against the papers' formulas in NumPy and torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from rpt_jax.episodes import returns
from rpt_jax.models import critic
from rpt_jax.objectives import cal_ql

B, S, A, N = 5, 3, 2, 4


def learner(weight=1.0):
  return cal_ql.Learner(
    critic.Critic(8, 1), critic.Actor(8, 1, A), 0.9, weight, N
  )


def batch(bound=-np.inf):
  rng = np.random.default_rng(0)
  return {
    'state': rng.normal(size=(B, S)).astype(np.float32),
    'next': rng.normal(size=(B, S)).astype(np.float32),
    'action': rng.uniform(-1, 1, (B, A)).astype(np.float32),
    'reward': rng.normal(size=B).astype(np.float32),
    'ended': np.array([0, 0, 1, 0, 1], np.float32),
    'bound': np.full(B, bound, np.float32),
  }


def test_what_is_pushed_down_is_that_of_the_papers():
  """Published code, in torch: bounds on policy actions, weights on all."""
  rng = np.random.default_rng(1)
  q = rng.normal(size=(2, B, 3 * N)).astype(np.float32)
  nats = rng.normal(size=(B, 3 * N)).astype(np.float32)
  bound = rng.normal(size=B).astype(np.float32)
  for each in (bound, np.full(B, -np.inf, np.float32)):
    ours, held = cal_ql.pushed(q, nats, each, N)
    even, policy = map(torch.tensor, (q[..., :N], q[..., N:]))
    policy = torch.maximum(policy, torch.tensor(each)[None, :, None])
    theirs = torch.cat([even, policy], -1) - torch.tensor(nats)[None]
    np.testing.assert_allclose(ours, torch.logsumexp(theirs, -1), rtol=1e-5)
    share = (q[..., N:] < each[None, :, None]).mean()
    np.testing.assert_allclose(held, share, atol=1e-6)


def test_likelihoods_of_draws_are_those_of_torch():
  mean, log = np.random.default_rng(2).normal(size=(2, B, A)).astype('f')
  action, nats = critic.draw((mean, log), jax.random.key(0), 7)
  normal = torch.distributions.Normal(
    torch.tensor(mean), torch.tensor(log).exp()
  )
  tanh = torch.distributions.TransformedDistribution(
    normal, torch.distributions.TanhTransform()
  )
  drawn = torch.tensor(np.asarray(action)).movedim(1, 0)
  inside = drawn.clamp(-1 + 1e-6, 1 - 1e-6)
  theirs = tanh.log_prob(inside).sum(-1).movedim(0, 1)
  certain = np.abs(np.asarray(action)).max(-1) < 0.99
  np.testing.assert_allclose(
    np.asarray(nats)[certain], theirs[certain], rtol=1e-2
  )


@pytest.mark.slow
def test_a_bound_holds_values_up_and_none_makes_it_cql():
  own, key = learner(), jax.random.key(3)
  params = cal_ql.init(own, key, S)

  def push(bound):
    def of(params):
      return cal_ql.loss(own, params, batch(bound), key, params)

    grads, metrics = jax.grad(of, has_aux=True)(params)
    return grads, jax.device_get(metrics)

  grads, free = push(-np.inf)
  assert free['bounded'] == 0 and np.isfinite(free['conservative'])
  _, held = push(1e6)
  assert held['bounded'] == 1 and held['bellman'] == free['bellman']
  norms = jax.tree.map(lambda x: float(jnp.abs(x).sum()), grads)
  assert all(x > 0 for x in jax.tree.leaves(norms['actor']))
  assert np.isfinite(jax.tree.leaves(norms)).all()


def test_what_ended_has_no_value_after_it():
  own, key = learner(), jax.random.key(4)
  params = cal_ql.init(own, key, S)
  backup = cal_ql.backup(own, params, batch(), key, params)
  ended = batch()['ended'] > 0
  reward = batch()['reward']
  np.testing.assert_allclose(backup[ended], reward[ended], rtol=1e-6)
  assert (np.abs(backup[~ended] - reward[~ended]) > 1e-4).all()


def test_returns_go_on_for_ever_where_an_episode_is_cut_off():
  reward = np.array([[1, 2, 3, 9], [1, 1, 1, 1], [0, 5, 9, 9]], np.float32)
  valid = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]], bool)
  ended = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
  to_go = returns.to_go(reward, valid, ended, 0.5)
  expected = [[1 + 0.5 * 3.5, 2 + 0.5 * 3, 3, 0], [2] * 4, [2.5, 5, 0, 0]]
  np.testing.assert_allclose(to_go, expected)
