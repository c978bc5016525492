"""AdamW's schedule and what it decays, against the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.training import optimizer, sharding, step, trainer


def test_schedule():
  tx = optimizer.adamw(0.1, 100, warmup=0.1)
  assert 0 < tx.schedule(0) <= 0.011
  np.testing.assert_allclose(tx.schedule(10), 0.1, rtol=1e-6)
  np.testing.assert_allclose(tx.schedule(55), 0.05, rtol=1e-5)
  np.testing.assert_allclose(tx.schedule(100), 0.0, atol=1e-8)


def test_decay_on_kernels_only_and_first_step_by_hand():
  params = {'up': {'kernel': jnp.full((2, 2), 3.0), 'bias': jnp.full(2, 3.0)}}
  tx = optimizer.adamw(0.1, 10, weight_decay=0.5, warmup=0.0)
  grads = jax.tree.map(lambda x: jnp.full_like(x, 0.1), params)
  updates, _ = tx.update(grads, tx.init(params), params)
  # Adam's first step is lr * sign(gradient).
  np.testing.assert_allclose(updates['up']['bias'], -0.1, rtol=1e-4)
  expected = -0.1 * (1 + 0.5 * 3.0)
  np.testing.assert_allclose(updates['up']['kernel'], expected, rtol=1e-4)


def test_clipping_bounds_the_gradient_not_the_norm_of_small_ones():
  params = {'kernel': jnp.zeros(4)}
  tx = optimizer.adamw(0.1, 10, warmup=0.0, clip=1.0)
  big, _ = tx.update({'kernel': jnp.full(4, 1e6)}, tx.init(params), params)
  assert np.isfinite(big['kernel']).all()


def test_patterns_must_find_something():
  tx = optimizer.adamw(0.1, 10, decay=r'kernal$')
  with pytest.raises(ValueError, match=r"'kernal\$' finds none of the 1"):
    tx.init({'up': {'kernel': jnp.zeros(2)}})


MEAN = step.Means(mean=0.5)


def test_what_is_frozen_keeps_its_bits_and_has_no_moments():
  """On a mesh, with decay and a running mean: all else moves."""
  rng = np.random.default_rng(0)
  layer = {'kernel': rng.normal(size=(8, 8)), 'bias': rng.normal(size=8)}
  params = {'stem': layer, 'trunk': layer, 'head': {'bias': layer['bias']}}
  params = jax.tree.map(np.float32, params)

  def loss_fn(params, batch, key):
    square = [jnp.square(x - batch).sum() for x in jax.tree.leaves(params)]
    return sum(square), {}

  tx = optimizer.adamw(0.1, 10, freeze=r'^(stem|trunk/bias)')
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  trained = trainer.make(
    lambda key: params, loss_fn, tx, mesh, rules=(), means=MEAN
  )
  state = trained.init(jax.random.key(0))
  for _ in range(2):
    state, metrics = trained.step(state, np.float32(1))
  assert metrics['skipped'] == 0
  kept = [('stem', 'kernel'), ('stem', 'bias'), ('trunk', 'bias')]
  for part, name in (*kept, ('trunk', 'kernel'), ('head', 'bias')):
    same = np.array_equal(state.params[part][name], params[part][name])
    assert same == ((part, name) in kept), (part, name)
  assert np.array_equal(state.mean['stem']['bias'], params['stem']['bias'])
  leaves = jax.tree_util.tree_leaves_with_path(state.opt_state)
  moments = {optimizer.path_name(p).partition('mu/')[2] for p, _ in leaves}
  assert moments == {'', 'trunk/kernel', 'head/bias'}


def test_rates_are_factors_of_the_updates():
  params = {'up': {'kernel': jnp.ones(2)}, 'down': {'kernel': jnp.ones(2)}}
  grads = {'up': {'kernel': jnp.ones(2)}, 'down': {'kernel': -jnp.ones(2)}}

  def update(**how):
    tx = optimizer.adamw(0.1, 10, warmup=0.0, **how)
    return tx.update(grads, tx.init(params), params)[0]

  plain, slow = update(), update(rates={'^up': 0.25})
  np.testing.assert_allclose(
    slow['up']['kernel'], 0.25 * plain['up']['kernel'], rtol=1e-6
  )
  np.testing.assert_array_equal(slow['down']['kernel'], plain['down']['kernel'])
  with pytest.raises(ValueError, match="'upp' finds none of the 2"):
    update(rates={'upp': 0.5})


def test_a_freeze_must_find_something_and_leave_something():
  params = {'up': {'kernel': jnp.zeros(2)}, 'down': {'kernel': jnp.zeros(2)}}
  with pytest.raises(ValueError, match="'upp' finds none of the 2"):
    optimizer.adamw(0.1, 10, freeze='upp').init(params)
  with pytest.raises(ValueError, match='leave some to train'):
    optimizer.adamw(0.1, 10, freeze='up|down').init(params)


@pytest.mark.parametrize(
  'settings',
  [
    {'learning_rate': float('nan')},
    {'num_steps': 0},
    {'clip': -1.0},
    {'weight_decay': -0.1},
    {'warmup': 1.0},
  ],
)
def test_settings_out_of_range(settings):
  with pytest.raises(ValueError, match=next(iter(settings))):
    optimizer.adamw(**{'learning_rate': 0.1, 'num_steps': 10, **settings})
