"""Minibatch k-means over sharded rows: Sculley (2010).

The stopping rules are those of scikit-learn's MiniBatchKMeans. Runs inside
`jax.shard_map` over the mesh axis `data` (see `rows.py`); each batch is drawn
from all rows and split over the devices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax.types import Array
from rpt_jax.units import lloyd
from rpt_jax.units import rows as rows_lib


class State(NamedTuple):
  """What is carried from one batch to the next."""

  c_KD: Array
  seen_K: Array  # weight each centroid has averaged
  shift: Array  # smoothed squared shift of the centroids
  inertia: Array  # smoothed inertia of a row
  best: Array  # least smoothed inertia
  stale: Array  # batches since the smoothed inertia last fell
  unmoved: Array  # rows seen since little-used centroids were last moved
  step: Array


def _update(state: State, clusters: lloyd.Sweep, cost: Array, smooth: float):
  """Averages a batch into the centroids and updates the smoothed figures."""
  seen_K = state.seen_K + clusters.count_K
  mixed_KD = state.c_KD * state.seen_K[:, None] + clusters.total_KD
  mixed_KD = mixed_KD / jnp.maximum(seen_K, 1e-30)[:, None]
  c_KD = jnp.where(clusters.count_K[:, None] > 0, mixed_KD, state.c_KD)
  early = state.step < 2  # the first batch measures the seeds

  def blend(old, new):
    return jnp.where(early, new, old + smooth * (new - old))

  inertia = blend(state.inertia, cost)
  better = early | (inertia < state.best)
  return State(
    c_KD=c_KD,
    seen_K=seen_K,
    shift=blend(state.shift, ((c_KD - state.c_KD) ** 2).sum()),
    inertia=inertia,
    best=jnp.where(better, inertia, state.best),
    stale=jnp.where(better, 0, state.stale + 1),
    unmoved=state.unmoved,
    step=state.step + 1,
  )


def _reassign(state: State, x_MD: Array, key: Array, ratio: float) -> State:
  """Moves centroids that saw few rows onto random rows of the batch."""
  few_K = state.seen_K < ratio * state.seen_K.max()
  rank_K = jnp.cumsum(few_K) - 1
  few_K = few_K & (rank_K < max(len(x_MD) // 2, 1))
  pick_M = jax.random.permutation(key, len(x_MD))
  x_KD = x_MD[pick_M[jnp.clip(rank_K, 0, len(x_MD) - 1)]]
  least = jnp.where(few_K, jnp.inf, state.seen_K).min()
  return state._replace(
    c_KD=jnp.where(few_K[:, None], x_KD, state.c_KD),
    seen_K=jnp.where(few_K, least, state.seen_K),
    unmoved=jnp.int32(0),
  )


def fit(
  rows: rows_lib.Rows,
  weight_N: Array,
  c_KD: Array,
  key: Array,
  settings: lloyd.Settings,
) -> tuple[Array, Array]:
  """Returns centroids and the number of batches used.

  weight_N holds the weights of all rows, on every device. `max_iterations`
  counts passes over the data.
  """
  size, num_rows = settings.batch_size, len(weight_N)
  limit = settings.tolerance * lloyd.variance(rows) / c_KD.shape[1]
  smooth = min(2.0 * size / (num_rows + 1), 1.0)
  steps = max(settings.max_iterations * num_rows // size, 1)
  ratio = settings.reassignment_ratio

  def step(state):
    draw = jax.random.fold_in(key, state.step)
    index_M = jax.random.randint(draw, (size,), 0, num_rows)
    x_MD = rows_lib.take(rows, index_M)
    batch = rows_lib.share(x_MD, weight_N[index_M], rows.offset_D)
    clusters = lloyd.sweep(batch, state.c_KD, settings.precision)
    cost = lax.psum((clusters.gap_GB * batch.weight_GB).sum(), rows_lib.AXIS)
    cost = cost / jnp.maximum(clusters.count_K.sum(), 1e-30)
    state = _update(state, clusters, cost, smooth)
    state = state._replace(unmoved=state.unmoved + size)
    if ratio == 0:
      return state
    due = (state.unmoved >= 10 * len(c_KD)) | (state.seen_K == 0).any()
    x_MD = x_MD - rows.offset_D[None, :]
    move = jax.random.fold_in(draw, 1)
    return lax.cond(
      due, lambda: _reassign(state, x_MD, move, ratio), lambda: state
    )

  def busy(state):
    more = state.step < steps
    if settings.tolerance > 0:
      more = more & ((state.shift > limit) | (state.step < 2))
    if settings.max_no_improvement > 0:
      more = more & (state.stale < settings.max_no_improvement)
    return more

  zero, far = jnp.int32(0), jnp.float32(jnp.inf)
  seen_K = jnp.zeros(len(c_KD))
  state = State(c_KD, seen_K, far, far, far, zero, zero, zero)
  state = lax.while_loop(busy, step, state)
  return state.c_KD, state.step
