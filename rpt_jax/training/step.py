"""One training step: a pure function (state, batch) -> (state, metrics)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rpt_jax.training.optimizer import Optimizer
from rpt_jax.types import Array, PyTree


class TrainState(NamedTuple):
  """All that changes while training; `key` is constant, folded by step."""

  step: Array  # int32 scalar: steps taken
  params: PyTree
  opt_state: PyTree
  key: Array  # typed key


def init_state(params: PyTree, tx: Optimizer, key: Array) -> TrainState:
  """State at step 0; `params` are copied, since steps are donated."""
  params = jax.tree.map(jnp.array, params)
  return TrainState(
    jnp.zeros((), jnp.int32), params, tx.init(params), jnp.array(key)
  )


def step_fn(loss_fn: Callable, tx: Optimizer) -> Callable:
  """The step, not jitted: for `vmap` over seeds or `scan` over steps.

  Args:
    loss_fn: (params, batch, key) -> (loss, metrics); metrics are scalars or
      (sum, count) pairs.
    tx: of `training/optimizer.py`.

  Returns:
    (state, batch) -> (state, metrics) with 'loss', 'learning_rate',
    'grad_norm' and 'skipped' added. A step whose loss or gradient is not
    finite changes nothing but the step number, and counts as skipped.
  """

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params, batch, key
    )
    norm = optax.tree.norm(grads)
    good = jnp.isfinite(norm) & jnp.isfinite(loss)
    updates, opt_state = tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)

    def keep(new, old):
      return jnp.where(good, new, old)

    metrics = {
      'loss': loss,
      **metrics,
      'learning_rate': tx.schedule(state.step),
      'grad_norm': norm,
      'skipped': 1 - good.astype(jnp.int32),
    }
    params = jax.tree.map(keep, params, state.params)
    opt_state = jax.tree.map(keep, opt_state, state.opt_state)
    return TrainState(state.step + 1, params, opt_state, state.key), metrics

  return step


def make_train_step(
  loss_fn: Callable, tx: Optimizer, shardings: PyTree = None
) -> Callable:
  """`step_fn`, jitted, the state donated.

  `shardings`, if given, is a TrainState of NamedSharding (see
  `sharding.state_shardings`): what comes in and goes out is placed so.
  """
  out = None if shardings is None else (shardings, None)
  return jax.jit(step_fn(loss_fn, tx), donate_argnums=0, out_shardings=out)


def read_metrics(metrics: PyTree) -> dict[str, float]:
  """Metrics on the host: (sum, count) pairs become their mean."""
  values = {}
  for name, value in jax.device_get(metrics).items():
    if isinstance(value, tuple):
      total, count = value
      value = total / count if count else float('nan')
    values[name] = float(value)
  return values
