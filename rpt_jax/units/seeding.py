"""Greedy k-means++ seeding over sharded rows.

Arthur and Vassilvitskii (2007), section 2, with the greedy choice among
2 + log K candidates a step that scikit-learn makes. One matmul of all rows with
the candidates per step, in float32 (the step is bound by reading the rows).
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax.types import Array
from rpt_jax.units import rows as rows_lib


def _first_above(mass: Array, target: Array) -> tuple[Array, Array]:
  """Returns the bin where the running sum passes target, and what is left."""
  total = jnp.cumsum(mass)
  above = total > target
  index = jnp.where(above.any(), jnp.argmax(above), jnp.argmax(mass))
  return index, jnp.maximum(target - (total[index] - mass[index]), 0)


def _draw(rows: rows_lib.Rows, mass_GB: Array, uniform_L: Array) -> Array:
  """Draws centred rows [L, D] with probability proportional to their mass."""
  num_chunks, chunk = mass_GB.shape
  mass_G = lax.all_gather(mass_GB.sum(1), rows_lib.AXIS, tiled=True)
  target_L = uniform_L * mass_G.sum()
  chunk_L, left_L = jax.vmap(_first_above, (None, 0))(mass_G, target_L)
  local_L = chunk_L - lax.axis_index(rows_lib.AXIS) * num_chunks
  own_L = (local_L >= 0) & (local_L < num_chunks)
  local_L = jnp.clip(local_L, 0, num_chunks - 1)
  slot_L, _ = jax.vmap(_first_above)(mass_GB[local_L], left_L)
  row_L = rows_lib.starts(len(rows.x_ND), chunk)[local_L] + slot_L
  x_LD = rows.x_ND[row_L].astype(jnp.float32) - rows.offset_D[None, :]
  return lax.psum(jnp.where(own_L[:, None], x_LD, 0), rows_lib.AXIS)


def _closer(rows: rows_lib.Rows, gap_GB: Array, c_LD: Array) -> Array:
  """Returns squared distances [G, L, B] once each candidate were added."""

  def visit(group, x_BD, weight_B, square_B):
    del weight_B
    score_LB = rows_lib.scores(c_LD, x_BD, 'float32')
    new_LB = jnp.maximum(score_LB + square_B[None, :], 0)
    return group + 1, jnp.minimum(new_LB, gap_GB[group][None, :])

  return rows_lib.scan_blocks(rows, visit, 0)[1]


def greedy_plus_plus(
  rows: rows_lib.Rows, num_clusters: int, key: Array
) -> Array:
  """Returns K seeds [K, D], centred, the same on every device."""
  candidates = 2 + int(math.log(num_clusters))
  weight_GB = rows.weight_GB
  first_1D = _draw(rows, weight_GB, jax.random.uniform(key, (1,)))
  far_GB = jnp.full(weight_GB.shape, jnp.inf)
  gap_GB = _closer(rows, far_GB, first_1D)[:, 0]
  c_KD = jnp.zeros((num_clusters, first_1D.shape[1])).at[0].set(first_1D[0])

  def add(k, carry):
    c_KD, gap_GB = carry
    uniform_L = jax.random.uniform(jax.random.fold_in(key, k), (candidates,))
    c_LD = _draw(rows, gap_GB * weight_GB, uniform_L)
    gap_GLB = _closer(rows, gap_GB, c_LD)
    cost_L = jnp.einsum('glb,gb->l', gap_GLB, weight_GB)
    best = jnp.argmin(lax.psum(cost_L, rows_lib.AXIS))
    return c_KD.at[k].set(c_LD[best]), gap_GLB[:, best]

  return lax.fori_loop(1, num_clusters, add, (c_KD, gap_GB))[0]
