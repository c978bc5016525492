"""The policy of R3M's evaluation: PyTorch's, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rpt_jax.evals import frozen_policy

DIM, ACTIONS = 6, 3


def data(count):
  rng = np.random.default_rng(0)
  scale_D = np.array([1e3, 1e-3, 1, 1, 1, 1])
  x_ND = (rng.normal(size=(count, DIM)) * scale_D + 2).astype('f4')
  z_N2 = (x_ND[:, :2] - 2) / scale_D[:2]
  y_NA = np.tanh(np.c_[z_N2, z_N2.sum(1)]).astype('f4')
  return x_ND, y_NA


def test_it_learns_as_in_pytorch():
  torch = pytest.importorskip('torch')
  nn = torch.nn
  norm = nn.BatchNorm1d(DIM)
  linear = [nn.Linear(a, b) for a, b in ((DIM, 8), (8, 7), (7, ACTIONS))]
  theirs = nn.Sequential(
    norm, linear[0], nn.Tanh(), linear[1], nn.Tanh(), linear[2]
  )
  layers = [
    tuple(jnp.asarray(x.detach().numpy().copy()) for x in (m.weight.T, m.bias))
    for m in linear
  ]
  params = {'scale': jnp.ones(DIM), 'bias': jnp.zeros(DIM), 'layers': layers}
  ours = frozen_policy.State(params, jnp.zeros(DIM), jnp.ones(DIM))
  adam = torch.optim.Adam(theirs.parameters(), 1e-3)
  tx = optax.adam(1e-3)
  moments, step = tx.init(params), jax.jit(frozen_policy.update)
  x_ND, y_NA = data(32)
  for rows in np.split(np.arange(32), 4):
    adam.zero_grad()
    guess = theirs(torch.from_numpy(x_ND[rows]))
    error = ((guess - torch.from_numpy(y_NA[rows])) ** 2).mean()
    error.backward()
    adam.step()
    loss, grads, running = step(ours, x_ND[rows], y_NA[rows])
    updates, moments = tx.update(grads, moments)
    params = optax.apply_updates(ours.params, updates)
    ours = frozen_policy.State(params, *running)
    np.testing.assert_allclose(loss, error.item(), rtol=1e-4)
  np.testing.assert_allclose(ours.mean_D, norm.running_mean, rtol=1e-4)
  np.testing.assert_allclose(ours.var_D, norm.running_var, rtol=1e-4)
  theirs.eval()
  expected = theirs(torch.from_numpy(x_ND)).detach()
  actual = frozen_policy.act(ours, x_ND)
  np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_seeds_learn_from_their_own_rows_and_norms_help_uneven_scales():
  x_ND, y_NA = data(64)
  y_NA[32:] = 5.0  # Of nobody.
  rows_SN = np.stack([np.arange(64)] * 2)
  keys = jax.random.split(jax.random.key(0), 2)
  errors = {}
  for normalised in (True, False):
    states = frozen_policy.fit(
      keys,
      x_ND,
      y_NA,
      rows_SN,
      np.array([32, 16]),
      every=100,
      looks=2,
      normalised=normalised,
    )
    assert states.mean_D.shape == (2, 2, DIM)
    last = jax.tree.map(lambda x: x[0, -1], states)
    guess_NA = frozen_policy.act(last, x_ND[:32], normalised)
    errors[normalised] = float(((guess_NA - y_NA[:32]) ** 2).mean())
  assert errors[True] < 0.5 * errors[False] and errors[True] < 0.1
