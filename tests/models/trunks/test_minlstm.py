"""minLSTM: its gates as the paper has them, and a token at a time."""

import jax
import numpy as np

from rpt_jax.models import visibility
from rpt_jax.models.trunks import mingru, minlstm

B, T, D = 2, 7, 8
SETTINGS = minlstm.Settings(2, 1.5, 2.0, 'float32')
X = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)
MODULE = minlstm.Trunk(SETTINGS, D, T)


def place(steps=T):
  return visibility.place('causal', np.ones((B, steps, 1), bool))


def params():
  tree = jax.jit(lambda key: MODULE.init(key, X, place()))(jax.random.key(0))
  rng = np.random.default_rng(1)
  return jax.tree.map(
    lambda x: x + rng.normal(size=x.shape, scale=0.3).astype(np.float32), tree
  )


def test_in_parallel_it_is_a_token_at_a_time():
  weights, state, given = params(), None, []
  whole, _, last = jax.jit(lambda x: MODULE.apply(weights, x, place()))(X)
  step = jax.jit(lambda x, state: MODULE.apply(weights, x, place(1), state))
  state = minlstm.start(SETTINGS, D, B)
  for t in range(T):
    y_B1D, _, state = step(X[:, t : t + 1], state)
    given.append(y_B1D)
  np.testing.assert_allclose(np.concatenate(given, 1), whole, atol=1e-5)
  np.testing.assert_allclose(np.exp(state), np.exp(last), atol=1e-5)


def test_the_state_is_that_of_its_gates():
  """Of the first block, as a loop over what its layers give."""
  weights = params()
  p = jax.tree.map(lambda x: np.float64(x[0]), weights['params']['blocks'])
  _, _, state = MODULE.apply(weights, X, place())
  y = X - X.mean(-1, keepdims=True)
  y = y / np.sqrt(X.var(-1, keepdims=True) + 1e-6)
  y = y * p['norm_state']['scale'] + p['norm_state']['bias']
  forget, take, new = (
    y @ p[n]['kernel'] + p[n]['bias'] for n in ('forget', 'input', 'candidate')
  )
  forget, take = 1 / (1 + np.exp(-forget)), 1 / (1 + np.exp(-take))
  new = np.where(new >= 0, new + 0.5, 1 / (1 + np.exp(-new)))
  h = np.zeros((B, 12))
  for t in range(T):
    share = forget[:, t] + take[:, t]
    h = forget[:, t] / share * h + take[:, t] / share * new[:, t]
  np.testing.assert_allclose(np.exp(state[:, 0]), h, rtol=1e-4)


def test_it_is_no_mingru():
  own = {k for k in params()['params']['blocks'] if 'norm' not in k}
  assert own == {'forget', 'input', 'candidate', 'out', 'up', 'down'}
  assert not isinstance(mingru.Settings(), minlstm.Settings)
