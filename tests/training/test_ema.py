"""The running mean of the parameters, against a loop."""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.training import optimizer, step

DECAY, STEPS = 0.9, 6


def loss_fn(params, batch, key):
  """Least squares; its gradient is not finite at the third step."""
  error = jnp.square(params['kernel'] - batch).sum()
  return jnp.where(batch == 3, jnp.nan, error), {}


def run(decay):
  """(state after all steps, parameters before and after each)."""
  tx = optimizer.adamw(0.1, STEPS)
  params = {'kernel': jnp.arange(5, dtype=jnp.float32)}
  state = step.init_state(params, tx, jax.random.key(0), ema=bool(decay))
  update = jax.jit(step.step_fn(loss_fn, tx, ema=decay))
  seen = [np.asarray(state.params['kernel'])]
  for i in range(STEPS):
    state, _ = update(state, jnp.float32(i + 1))
    seen.append(np.asarray(state.params['kernel']))
  return state, seen


def test_the_mean_is_that_of_a_loop():
  state, seen = run(DECAY)
  mean = seen[0].astype(np.float64)
  for i, x in enumerate(seen[1:]):
    mean = mean if i == 2 else DECAY * mean + (1 - DECAY) * x
  np.testing.assert_allclose(state.ema['kernel'], mean, rtol=1e-6)
  assert np.abs(mean - seen[-1]).max() > 0.01
  np.testing.assert_array_equal(seen[2], seen[3])  # The step that was skipped.


def test_it_changes_nothing_of_the_training():
  with_mean, without = run(DECAY), run(0.0)
  np.testing.assert_array_equal(with_mean[1], without[1])
  assert without[0].ema is None
