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
  teacher: PyTree = None  # running mean that an objective learns from
  mean: PyTree = None  # running mean of the parameters that is shared


class Means(NamedTuple):
  """Decays of the two running means of the parameters; 0: none is kept."""

  teacher: float = 0.0
  mean: float = 0.0


NO_MEANS = Means()


def init_state(
  params: PyTree, tx: Optimizer, key: Array, means: Means = NO_MEANS
) -> TrainState:
  """State at step 0; `params` are copied, since steps are donated."""
  params = jax.tree.map(jnp.array, params)
  return TrainState(
    jnp.zeros((), jnp.int32),
    params,
    tx.init(params),
    jnp.array(key),
    *(jax.tree.map(jnp.array, params) if decay else None for decay in means),
  )


def step_fn(
  loss_fn: Callable,
  tx: Optimizer,
  *,
  accumulate: int = 1,
  means: Means = NO_MEANS,
) -> Callable:
  """The step, not jitted: for `vmap` over seeds or `scan` over steps.

  Args:
    loss_fn: (params, batch, key) -> (loss, metrics), with a teacher (params,
      batch, key, its parameters); metrics are scalars or (sum, count) pairs.
    tx: of `training/optimizer.py`.
    accumulate: micro-batches a batch is cut into, one after the other; the
      gradient is their mean. What has axes is cut along the first.

  Returns:
    (state, batch) -> (state, metrics) with 'loss', 'learning_rate',
    'grad_norm' and 'skipped' added. A step whose loss or gradient is not
    finite changes nothing but the step number, and counts as skipped.
  """
  gradient = jax.value_and_grad(loss_fn, has_aux=True)
  if accumulate > 1:
    gradient = _accumulated(gradient, accumulate)

  def step(state, batch):
    key = jax.random.fold_in(state.key, state.step)
    taught = (state.teacher,) if means.teacher else ()
    (loss, metrics), grads = gradient(state.params, batch, key, *taught)
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

    # Of a skipped step the parameters are those of before.
    teacher, mean = (
      jax.tree.map(keep, _moved(old, params, decay), old)
      for old, decay in zip((state.teacher, state.mean), means, strict=True)
    )
    done = state.step + 1
    return TrainState(
      done, params, opt_state, state.key, teacher, mean
    ), metrics

  return step


def _moved(mean, params, decay):
  """A running mean one step on; None where none is kept."""
  if not decay:
    return mean
  return jax.tree.map(lambda m, p: decay * m + (1 - decay) * p, mean, params)


def _accumulated(gradient, parts):
  """`gradient` over micro-batches: mean loss and gradient, summed pairs.

  A micro-batch takes every `parts`-th row, so that each device keeps its own.
  """

  def mean(params, batch, key, *taught):
    rows = max(x.shape[0] for x in jax.tree.leaves(batch) if x.ndim)
    if rows % parts:
      raise ValueError(
        f'batch: {rows} rows do not divide into {parts} micro-batches; change '
        'the batch size or config.pretrain.accumulate'
      )

    def micro(i):
      part = jax.tree.map(
        lambda x: x.reshape(-1, parts, *x.shape[1:])[:, i] if x.ndim else x,
        batch,
      )
      return gradient(params, part, jax.random.fold_in(key, i), *taught)

    def add(total, i):
      return jax.tree.map(jnp.add, total, micro(i)), None

    zero = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(micro, 0)
    )
    ((loss, metrics), grads), _ = jax.lax.scan(add, zero, jnp.arange(parts))
    metrics = {
      k: x if isinstance(x, tuple) else x / parts for k, x in metrics.items()
    }
    return (loss / parts, metrics), jax.tree.map(lambda x: x / parts, grads)

  return mean


def make_train_step(loss_fn: Callable, tx: Optimizer) -> Callable:
  """`step_fn`, jitted, the state donated; on a mesh: `trainer.make`."""
  return jax.jit(step_fn(loss_fn, tx), donate_argnums=0)


def read_metrics(metrics: PyTree) -> dict[str, float]:
  """Metrics on the host: (sum, count) pairs become their mean."""
  values = {}
  for name, value in jax.device_get(metrics).items():
    if isinstance(value, tuple):
      total, count = value
      value = total / count if count else float('nan')
    values[name] = float(value)
  return values
