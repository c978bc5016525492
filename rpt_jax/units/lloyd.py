"""Lloyd iterations over sharded rows.

Runs inside `jax.shard_map` over the mesh axis `data` (see `rows.py`). Centroids
are centred by `rows.offset_D` and the same on every device.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax.types import Array
from rpt_jax.units import rows as rows_lib


class Settings(NamedTuple):
  """Static settings of the iterations (see `kmeans.fit`)."""

  max_iterations: int
  tolerance: float
  batch_size: int
  max_no_improvement: int
  reassignment_ratio: float
  precision: str


class Sweep(NamedTuple):
  """What one pass over the rows gives."""

  total_KD: Array  # weighted sum of the rows of each cluster
  count_K: Array  # their weight
  gap_GB: Array  # squared distance to the nearest centroid, this device


def _sums_by_scatter(x_BD, index_B, weight_B, num_clusters):
  total_KD = jnp.zeros((num_clusters, x_BD.shape[1]))
  count_K = jnp.zeros(num_clusters).at[index_B].add(weight_B)
  return total_KD.at[index_B].add(x_BD * weight_B[:, None]), count_K


def sums_by_matmul(x_BD, index_B, weight_B, num_clusters):
  """Does what `cluster_sums` does by a product with one-hot rows."""
  hot_BK = jax.nn.one_hot(index_B, num_clusters) * weight_B[:, None]
  total_KD = jnp.matmul(hot_BK.T, x_BD, precision=lax.Precision.HIGHEST)
  return total_KD, hot_BK.sum(0)


def cluster_sums(
  x_BD: Array, index_B: Array, weight_B: Array, num_clusters: int
) -> tuple[Array, Array]:
  """Returns weighted sums [K, D] and weights [K] by cluster.

  A scatter on a CPU; elsewhere a one-hot matmul, which is deterministic (GPU
  atomics are not) and what a TPU is fast at.
  """
  return lax.platform_dependent(
    x_BD,
    index_B,
    weight_B,
    cpu=functools.partial(_sums_by_scatter, num_clusters=num_clusters),
    default=functools.partial(sums_by_matmul, num_clusters=num_clusters),
  )


def sweep(rows: rows_lib.Rows, c_KD: Array, precision: str) -> Sweep:
  """Assigns every row and sums the rows of each cluster, over all devices."""

  def visit(carry, x_BD, weight_B, square_B):
    index_B, least_B = rows_lib.nearest(c_KD, x_BD, precision)
    total_KD, count_K = cluster_sums(x_BD, index_B, weight_B, len(c_KD))
    carry = (carry[0] + total_KD, carry[1] + count_K)
    return carry, jnp.maximum(least_B + square_B, 0)

  carry = (jnp.zeros_like(c_KD), jnp.zeros(len(c_KD)))
  carry, gap_GB = rows_lib.scan_blocks(rows, visit, carry)
  total_KD, count_K = lax.psum(carry, rows_lib.AXIS)
  return Sweep(total_KD, count_K, gap_GB)


def measure(
  rows: rows_lib.Rows, c_KD: Array, precision: str
) -> tuple[Array, Array]:
  """Returns the exact float32 inertia and the weight of each cluster."""

  def visit(carry, x_BD, weight_B, square_B):
    del square_B
    index_B, _ = rows_lib.nearest(c_KD, x_BD, precision)
    gap_B = ((x_BD - c_KD[index_B]) ** 2).sum(1)
    inertia = carry[0] + (gap_B * weight_B).sum()
    return (inertia, carry[1].at[index_B].add(weight_B)), None

  carry = (jnp.float32(0), jnp.zeros(len(c_KD)))
  carry, _ = rows_lib.scan_blocks(rows, visit, carry)
  return lax.psum(carry, rows_lib.AXIS)


def _farthest(rows: rows_lib.Rows, gap_GB: Array, number: int) -> Array:
  """Returns the centred rows farthest from their centroid, farthest first."""
  chunk = gap_GB.shape[1]
  gap_M = jnp.where(rows.weight_GB > 0, gap_GB, -1).reshape(-1)
  gap_M, flat_M = lax.top_k(gap_M, min(number, gap_M.size))
  start_M = rows_lib.starts(len(rows.x_ND), chunk)[flat_M // chunk]
  x_MD = rows.x_ND[start_M + flat_M % chunk].astype(jnp.float32)
  gap_M = lax.all_gather(gap_M, rows_lib.AXIS, tiled=True)
  x_MD = lax.all_gather(
    x_MD - rows.offset_D[None, :], rows_lib.AXIS, tiled=True
  )
  return x_MD[lax.top_k(gap_M, min(number, gap_M.size))[1]]


def revive(
  rows: rows_lib.Rows, gap_GB: Array, c_KD: Array, count_K: Array, floor: Array
) -> Array:
  """Moves empty clusters onto the farthest rows, one distinct row each.

  A row nearer than `floor` (squared) to a centroid in use is left alone: with
  fewer distinct rows than clusters, the rest stay empty.
  """
  x_MD = _farthest(rows, gap_GB, len(c_KD))
  score_KM = rows_lib.scores(c_KD, x_MD, 'float32')
  score_M = jnp.where(count_K[:, None] > 0, score_KM, jnp.inf).min(0)
  gap_M = score_M + (x_MD * x_MD).sum(1)

  def move(k, carry):
    c_KD, gap_M = carry
    far = jnp.argmax(gap_M)
    use = (count_K[k] == 0) & (gap_M[far] > floor)
    moved_M = jnp.minimum(gap_M, ((x_MD - x_MD[far][None, :]) ** 2).sum(1))
    c_KD = jnp.where(use, c_KD.at[k].set(x_MD[far]), c_KD)
    return c_KD, jnp.where(use, moved_M, gap_M)

  return lax.fori_loop(0, len(c_KD), move, (c_KD, gap_M))[0]


def variance(rows: rows_lib.Rows) -> Array:
  """Returns the mean squared distance of a row to the mean of all rows."""
  total = lax.psum((rows.square_GB * rows.weight_GB).sum(), rows_lib.AXIS)
  return total / lax.psum(rows.weight_GB.sum(), rows_lib.AXIS)


def lloyd(
  rows: rows_lib.Rows, c_KD: Array, settings: Settings
) -> tuple[Array, Array]:
  """Iterates until the centroids rest; returns them and the iterations made.

  Stops when the summed squared shift is at most tolerance times the mean
  variance of a dimension, as scikit-learn does.
  """
  spread = variance(rows)
  limit = settings.tolerance * spread / c_KD.shape[1]

  def step(state):
    c_KD, _, iteration = state
    clusters = sweep(rows, c_KD, settings.precision)
    mean_KD = clusters.total_KD / jnp.maximum(clusters.count_K, 1e-30)[:, None]
    new_KD = jnp.where(clusters.count_K[:, None] > 0, mean_KD, c_KD)
    new_KD = lax.cond(
      (clusters.count_K == 0).any(),
      lambda: revive(
        rows, clusters.gap_GB, new_KD, clusters.count_K, 1e-6 * spread
      ),
      lambda: new_KD,
    )
    return new_KD, ((new_KD - c_KD) ** 2).sum(), iteration + 1

  def busy(state):
    _, shift, iteration = state
    return (iteration < settings.max_iterations) & (shift > limit)

  state = (c_KD, jnp.float32(jnp.inf), jnp.int32(0))
  c_KD, _, iterations = lax.while_loop(busy, step, state)
  return c_KD, iterations
