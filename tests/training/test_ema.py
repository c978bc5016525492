"""The running means of the parameters, against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.training import optimizer, step

DECAY, STEPS = 0.9, 6


def loss_fn(params, batch, key, teacher=None):
  """Least squares; its gradient is not finite at the third step."""
  error = jnp.square(params['kernel'] - batch).sum()
  if teacher is not None:
    error += jnp.square(params['kernel'] - teacher['kernel']).sum()
  return jnp.where(batch == 3, jnp.nan, error), {}


def run(means):
  """(state after all steps, parameters before and after each)."""
  tx = optimizer.adamw(0.1, STEPS)
  params = {'kernel': jnp.arange(5, dtype=jnp.float32)}
  state = step.init_state(params, tx, jax.random.key(0), means)
  update = jax.jit(step.step_fn(loss_fn, tx, means=means))
  seen = [np.asarray(state.params['kernel'])]
  for i in range(STEPS):
    state, _ = update(state, jnp.float32(i + 1))
    seen.append(np.asarray(state.params['kernel']))
  return state, seen


@pytest.mark.parametrize('name', step.Means._fields)
def test_a_mean_is_that_of_a_loop(name):
  state, seen = run(step.Means(**{name: DECAY}))
  mean = seen[0].astype(np.float64)
  for i, x in enumerate(seen[1:]):
    mean = mean if i == 2 else DECAY * mean + (1 - DECAY) * x
  np.testing.assert_allclose(getattr(state, name)['kernel'], mean, rtol=1e-6)
  assert np.abs(mean - seen[-1]).max() > 0.01
  np.testing.assert_array_equal(seen[2], seen[3])  # The step that was skipped.


def test_what_is_shared_changes_nothing_of_the_training():
  with_mean, without = run(step.Means(mean=DECAY)), run(step.NO_MEANS)
  np.testing.assert_array_equal(with_mean[1], without[1])
  assert without[0].mean is None and without[0].teacher is None
  assert with_mean[0].teacher is None


def test_a_teacher_is_learned_from_and_gets_no_gradient():
  """Each step's gradient is that with the teacher of before, held fixed."""
  _, seen = run(step.Means(teacher=DECAY))
  _, alone = run(step.NO_MEANS)
  # At first the teacher is the parameters themselves and pulls nowhere.
  np.testing.assert_array_equal(seen[1], alone[1])
  assert np.abs(seen[2] - alone[2]).max() > 1e-5
