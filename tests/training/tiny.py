"""A tiny regression shared by the training tests."""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.settings import Saving
from rpt_jax.training import loop, optimizer, step

STEPS = 12
SAVING = Saving(log_steps=2, save_steps=4)


def loss_fn(params, batch, key):
  """Noisy least squares: the noise shows whether keys are resumed."""
  noise = 0.1 * jax.random.normal(key, batch['y'].shape)
  error = batch['x'] @ params['layer']['kernel'] + params['layer']['bias'][None]
  error = error - batch['y'] - noise
  square = (error**2).sum()
  return square / error.size, {'error': (square, jnp.float32(error.size))}


def batch_at(index):
  rng = np.random.default_rng([7, index])
  x = rng.normal(size=(8, 4)).astype(np.float32)
  return {'x': x, 'y': x[:, :2] * 2.0}


def make_state(tx):
  params = {'layer': {'kernel': jnp.ones((4, 2)), 'bias': jnp.zeros(2)}}
  return step.init_state(params, tx, jax.random.key(0))


def train(directory, num_steps=STEPS, batches=batch_at, saving=SAVING):
  tx = optimizer.adamw(0.2, STEPS)
  return loop.fit(
    lambda: make_state(tx),
    jax.eval_shape(lambda: make_state(tx)),
    step.make_train_step(loss_fn, tx),
    batches,
    num_steps,
    directory=directory,
    saving=saving,
    label='tiny',
  )
