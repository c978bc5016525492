"""Minibatch k-means over sharded rows: Sculley (2010).

The stopping rules are those of scikit-learn's MiniBatchKMeans. Each batch is
drawn from all rows, wherever those lie, and split over the devices (see
`rows.py`); some batches are read and sent at once, and no others are in memory.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from rpt_jax.types import Array
from rpt_jax.units import lloyd, moments, seeding
from rpt_jax.units import rows as rows_lib

_AT_ONCE = 2**14  # Rows at most, but a batch at least, that are sent at once.


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


def fit(
  x_ND: Array,
  key: Array,
  num_clusters: int,
  settings: lloyd.Settings,
  restarts: int,
  init_KD: Array | None,
  mesh: jax.sharding.Mesh,
) -> tuple[Array, Array, Array, Array, Array]:
  """The fields of a `kmeans.Codebook`; arguments as `kmeans.fit` takes them.

  Seeds come from a part of the rows, the best of them by another part; then
  batches follow, and a pass over all rows to measure the centroids.
  """
  if isinstance(x_ND, jax.Array):
    x_ND = np.asarray(x_ND)
  offset_D, variance = _moments(x_ND, mesh)
  seed_key, check_key, run_key = jax.random.split(key, 3)
  if init_KD is None:
    size = min(3 * max(settings.batch_size, num_clusters), len(x_ND))
    check = _drawn(x_ND, check_key, size, mesh)
    c_KD, least = None, np.inf
    for each in jax.random.split(seed_key, restarts):
      sample, draw = jax.random.split(each)
      own = _drawn(x_ND, sample, size, mesh)
      about = rows_lib.replicate((offset_D, draw), mesh)
      seeds_KD, cost = _seeded(*own, *check, *about, num_clusters, size, mesh)
      if (cost := float(rows_lib.local(cost))) < least:
        c_KD, least = rows_lib.local(seeds_KD), cost
  else:
    c_KD = init_KD - offset_D[None, :]
  about = offset_D, variance
  c_KD, steps = _iterate(x_ND, c_KD, about, run_key, settings, mesh)
  inertia, count_K = _measured(x_ND, c_KD, offset_D, settings.precision, mesh)
  return c_KD + offset_D[None, :], offset_D, inertia, count_K, steps


def _moments(x_ND, mesh):
  """(mean [D], mean squared distance to it) of rows, slab by slab."""

  def finite():
    for x_BD, weight_B in rows_lib.slabs(x_ND, mesh):
      rows_lib.check_finite(rows_lib.all_finite(x_BD))
      yield x_BD, weight_B > 0

  _, mean_D, variance_D = moments.of(finite(), 'standardise')
  return jnp.asarray(mean_D, jnp.float32), jnp.float32(variance_D.sum())


def _drawn(x_ND, key, size, mesh):
  """(some rows, drawn without replacement; their weights), placed."""
  seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
  rows_M = np.random.default_rng(seed).choice(len(x_ND), size, replace=False)
  _, padded = rows_lib.layout(size, mesh.shape[rows_lib.AXIS])
  x_MD = rows_lib.place_batches(x_ND, rows_M[None], padded, mesh)[0]
  return x_MD, rows_lib.place(np.ones(size, np.float32), padded, mesh)


@functools.partial(jax.jit, static_argnums=(6, 7, 8))
def _seeded(
  x_MD, weight_M, check_MD, check_M, offset_D, key, num_clusters, size, mesh
):  # fmt: skip
  """(K seeds, centred; what they cost on rows to check them on)."""
  chunk = rows_lib.chunk_size(size)

  def local(x_MD, weight_M, check_MD, check_M, offset_D, key):
    rows = rows_lib.make_rows(x_MD, weight_M, chunk, offset_D)
    check = rows_lib.make_rows(check_MD, check_M, chunk, offset_D)
    c_KD = seeding.greedy_plus_plus(rows, num_clusters, key)
    return c_KD, lloyd.measure(check, c_KD, 'float32')[0]

  split, same = PartitionSpec(rows_lib.AXIS), PartitionSpec()
  return rows_lib.sharded(local, mesh, (split,) * 4 + (same,) * 2)(
    x_MD, weight_M, check_MD, check_M, offset_D, key
  )


def _measured(x_ND, c_KD, offset_D, precision, mesh):
  """(inertia, rows of each cluster) of all rows, slab by slab."""
  inertia, count_K = 0.0, np.zeros(len(c_KD))
  shared = rows_lib.replicate((c_KD, offset_D), mesh)
  for x_BD, weight_B in rows_lib.slabs(x_ND, mesh):
    part = rows_lib.local(_costs(x_BD, weight_B, *shared, precision, mesh))
    inertia += float(part[0])
    count_K += np.asarray(part[1])
  return jnp.float32(inertia), jnp.asarray(count_K, jnp.float32)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _costs(x_BD, weight_B, c_KD, offset_D, precision, mesh):
  """`lloyd.measure` of some rows."""
  chunk = rows_lib.chunk_size(len(x_BD) // mesh.shape[rows_lib.AXIS])

  def local(x_BD, weight_B, c_KD, offset_D):
    rows = rows_lib.make_rows(x_BD, weight_B, chunk, offset_D)
    return lloyd.measure(rows, c_KD, precision)

  split, same = PartitionSpec(rows_lib.AXIS), PartitionSpec()
  return rows_lib.sharded(local, mesh, (split, split, same, same))(
    x_BD, weight_B, c_KD, offset_D
  )


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


def _reassign(
  state: State, rows: rows_lib.Rows, size: int, key: Array, ratio: float
) -> State:
  """Moves centroids that saw few rows onto random rows of the batch."""
  few_K = state.seen_K < ratio * state.seen_K.max()
  rank_K = jnp.cumsum(few_K) - 1
  few_K = few_K & (rank_K < max(size // 2, 1))
  pick_M = jax.random.permutation(key, size)
  x_KD = rows_lib.take(rows, pick_M[jnp.clip(rank_K, 0, size - 1)])
  x_KD = x_KD - rows.offset_D[None, :]
  least = jnp.where(few_K, jnp.inf, state.seen_K).min()
  return state._replace(
    c_KD=jnp.where(few_K[:, None], x_KD, state.c_KD),
    seen_K=jnp.where(few_K, least, state.seen_K),
    unmoved=jnp.int32(0),
  )


def _iterate(
  x_ND: Array,
  c_KD: Array,
  about: tuple[Array, Array],
  key: Array,
  settings: lloyd.Settings,
  mesh: jax.sharding.Mesh,
) -> tuple[Array, Array]:
  """Returns centroids and the number of batches used.

  Args:
    x_ND: rows, in memory or not.
    c_KD: where they begin, centred.
    about: what rows are centred by [D], and their variance (`lloyd.variance`).
    key: of what is drawn.
    settings: `max_iterations` counts passes over the data.
    mesh: of one axis.
  """
  num_rows, (offset_D, variance) = len(x_ND), about
  limit = settings.tolerance * variance / c_KD.shape[1]
  steps = max(settings.max_iterations * num_rows // settings.batch_size, 1)
  count = min(max(_AT_ONCE // settings.batch_size, 1), steps)
  _, padded = rows_lib.layout(settings.batch_size, mesh.shape[rows_lib.AXIS])
  zero, far = jnp.int32(0), jnp.float32(jnp.inf)
  seen_K = jnp.zeros(len(c_KD))
  state = State(c_KD, seen_K, far, far, far, zero, zero, zero)
  about_run = settings, num_rows, steps, mesh
  state, *shared = rows_lib.replicate((state, offset_D, limit, key), mesh)
  for first in range(0, steps, count):
    draw = (count, settings.batch_size, num_rows)
    row_SM = np.asarray(_rows(key, first, *draw))
    x_SMD = rows_lib.place_batches(x_ND, row_SM, padded, mesh)
    state = _run(state, x_SMD, *shared, *about_run)
    if not _busy(rows_lib.local(state), limit, settings, steps):
      break
  state = rows_lib.local(state)
  return state.c_KD, state.step


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _rows(key, first, count, size, num_rows):
  """Rows of some batches [count, size]: a function of key and step."""

  def one(step):
    draw = jax.random.fold_in(key, step)
    return jax.random.randint(draw, (size,), 0, num_rows)

  return jax.vmap(one)(first + jnp.arange(count))


def _busy(state, limit, settings, steps):
  """Whether another batch is to be looked at."""
  more = state.step < steps
  if settings.tolerance > 0:
    more = more & ((state.shift > limit) | (state.step < 2))
  if settings.max_no_improvement > 0:
    more = more & (state.stale < settings.max_no_improvement)
  return more


@functools.partial(jax.jit, static_argnums=(5, 6, 7, 8))
def _run(
  state, x_SMD, offset_D, limit, key, settings, num_rows, steps, mesh
):  # fmt: skip
  """The state after some batches, or as it was when it came to rest."""
  size, ratio = settings.batch_size, settings.reassignment_ratio
  smooth = min(2.0 * size / (num_rows + 1), 1.0)
  chunk = rows_lib.chunk_size(size)

  def step(state, rows, key):
    clusters = lloyd.sweep(rows, state.c_KD, settings.precision)
    cost = lax.psum((clusters.gap_GB * rows.weight_GB).sum(), rows_lib.AXIS)
    cost = cost / jnp.maximum(clusters.count_K.sum(), 1e-30)
    move = jax.random.fold_in(jax.random.fold_in(key, state.step), 1)
    state = _update(state, clusters, cost, smooth)
    state = state._replace(unmoved=state.unmoved + size)
    if ratio == 0:
      return state
    due = (state.unmoved >= 10 * len(state.c_KD)) | (state.seen_K == 0).any()
    return lax.cond(
      due, lambda: _reassign(state, rows, size, move, ratio), lambda: state
    )

  def local(state, x_SMD, offset_D, limit, key):
    begin = lax.axis_index(rows_lib.AXIS) * x_SMD.shape[1]
    weight_M = (begin + jnp.arange(x_SMD.shape[1]) < size).astype(jnp.float32)

    def one(state, x_MD):
      rows = rows_lib.make_rows(x_MD, weight_M, chunk, offset_D)
      more = _busy(state, limit, settings, steps)
      return lax.cond(more, lambda: step(state, rows, key), lambda: state), None

    return lax.scan(one, state, x_SMD)[0]

  same, split = PartitionSpec(), PartitionSpec(None, rows_lib.AXIS)
  specs = same, split, same, same, same
  return rows_lib.sharded(local, mesh, specs)(
    state, x_SMD, offset_D, limit, key
  )
