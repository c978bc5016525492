"""Rows of a data matrix visited chunk by chunk, on every device of a mesh.

The N x K distances of k-means are never in memory at once: a scan visits
chunks of rows, and the minimum and its index are taken inside the chunk. The
functions here run inside `jax.shard_map` over the mesh axis `data`; with one
device that is a plain program. A chunk holds the same rows on any number of
devices, so partial sums and random draws do not depend on the mesh.

Chunk layout: an array named `_GB` has one row per chunk (G) and one column per
row of the chunk (B); slots that hold no row of the data have weight zero.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from rpt_jax.episodes import stack
from rpt_jax.types import Array, PyTree

AXIS = 'data'
CHUNK = 2048
_COPIED = 2**20  # Rows at most that one device pads.
SLAB = 2**14  # Rows of a device at once, where all are visited.


class Rows(NamedTuple):
  """This device's rows; distances are taken after `x - offset`."""

  x_ND: Array
  weight_GB: Array
  square_GB: Array  # |x - offset|^2
  offset_D: Array


def chunk_size(num_rows: int) -> int:
  """Returns rows per chunk, a function of the total number of rows only."""
  return min(CHUNK, num_rows)


def one_device_mesh() -> jax.sharding.Mesh:
  """Returns the mesh of this process's first device alone."""
  return jax.make_mesh(
    (1,), (AXIS,), (AxisType.Auto,), devices=jax.local_devices()[:1]
  )


def flat(mesh: jax.sharding.Mesh) -> jax.sharding.Mesh:
  """Returns the same devices along one axis, for rows."""
  return jax.sharding.Mesh(mesh.devices.reshape(-1), (AXIS,))


def layout(num_rows: int, devices: int) -> tuple[int, int]:
  """Returns rows per chunk and rows padded to whole chunks per device.

  Data of about as many rows then share what is compiled. Much data on one
  device is not padded, as that copies it.
  """
  chunk = chunk_size(num_rows)
  if devices == 1 and num_rows > _COPIED:
    return chunk, num_rows
  group = chunk * devices
  return chunk, -(-num_rows // group) * group


def place(x_ND: Array, num_padded: int, mesh: jax.sharding.Mesh) -> Array:
  """Pads rows with zeros and shards them over the data axis.

  Of what lies on the host a process reads the rows of its own devices alone.
  """
  sharding = NamedSharding(mesh, PartitionSpec(AXIS))
  if isinstance(x_ND, jax.Array):
    extra = num_padded - len(x_ND)
    x_ND = jnp.pad(x_ND, ((0, extra),) + ((0, 0),) * (x_ND.ndim - 1))
    traced = isinstance(x_ND, jax.core.Tracer)
    return x_ND if traced else jax.device_put(x_ND, sharding)

  def own(index):
    first, last, _ = index[0].indices(num_padded)
    x_MD = _on_device(x_ND[min(first, len(x_ND)) : min(last, len(x_ND))])
    extra = last - first - len(x_MD)
    return np.pad(x_MD, ((0, extra),) + ((0, 0),) * (x_MD.ndim - 1))

  shape = num_padded, *x_ND.shape[1:]
  return jax.make_array_from_callback(shape, sharding, own)


def place_batches(
  x_ND: Array, row_SM: np.ndarray, padded: int, mesh: jax.sharding.Mesh
) -> Array:
  """Batches of rows [S, padded, D], each split over the data axis.

  A process reads the rows of its own devices alone; those beyond M are zero.
  """
  sharding = NamedSharding(mesh, PartitionSpec(None, AXIS))

  def own(index):
    first, last, _ = index[1].indices(padded)
    row_SB = row_SM[:, first:last]
    x_SBD = _on_device(x_ND[row_SB.ravel()])
    x_SBD = x_SBD.reshape(*row_SB.shape, x_ND.shape[1])
    extra = last - first - row_SB.shape[1]
    return np.pad(x_SBD, ((0, 0), (0, extra), (0, 0)))

  shape = len(row_SM), padded, x_ND.shape[1]
  return jax.make_array_from_callback(shape, sharding, own)


def slabs(x_ND: Array, mesh: jax.sharding.Mesh):
  """(rows [B, D], their weights [B]) in order, placed; all of one shape."""
  devices = mesh.shape[AXIS]
  size = min(len(x_ND), SLAB * devices)
  _, padded = layout(size, devices)
  for first in range(0, len(x_ND), size):
    count = min(size, len(x_ND) - first)
    weight_B = (np.arange(padded) < count).astype(np.float32)
    x_BD = stack.cut(x_ND, first, first + count)
    yield place(x_BD, padded, mesh), place(weight_B, padded, mesh)


def _on_device(x):
  """NumPy, of the type that it has on a device."""
  return np.asarray(x, jax.dtypes.canonicalize_dtype(x.dtype))


def check_finite(finite: Array, name: str = 'x_ND') -> None:
  """Raises ValueError where rows are not all finite."""
  if not isinstance(finite, jax.core.Tracer) and not bool(finite):
    raise ValueError(
      f'{name}: found NaN or infinite values; drop or repair those rows'
    )


@jax.jit
def all_finite(x_ND: Array) -> Array:
  """Whether all numbers are."""
  return jnp.isfinite(x_ND).all()


def sharded(local: Callable, mesh: jax.sharding.Mesh, in_specs) -> Callable:
  """A function of this device's rows; its results are the same on all."""
  return jax.shard_map(
    local,
    mesh=mesh,
    in_specs=in_specs,
    out_specs=PartitionSpec(),
    check_vma=False,
  )


def replicate(tree: PyTree, mesh: jax.sharding.Mesh) -> PyTree:
  """Puts arrays on every device of a mesh; leaves traced ones to jit."""
  sharding = NamedSharding(mesh, PartitionSpec())

  if not sharding.is_fully_addressable:
    tree = jax.tree.map(_uncommitted, tree)
    return jax.jit(lambda x: x, out_shardings=sharding)(tree)

  def put(leaf):
    if isinstance(leaf, jax.core.Tracer):
      return leaf
    return jax.device_put(leaf, sharding)

  return jax.tree.map(put, tree)


def _uncommitted(leaf):
  """What lies on a device of this process alone, as all processes have it."""
  traced = isinstance(leaf, jax.core.Tracer)
  if traced or jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return leaf
  shared = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
  return leaf if shared else np.asarray(leaf)


def local(tree: PyTree) -> PyTree:
  """Returns replicated arrays as this process alone has them."""

  def local_part(leaf):
    if isinstance(leaf, jax.core.Tracer) or leaf.is_fully_addressable:
      return leaf
    return leaf.addressable_data(0)

  return jax.tree.map(local_part, tree)


def starts(num_local: int, chunk: int) -> Array:
  """Returns the first row of each chunk; the last chunk may overlap."""
  begin_G = jnp.arange(-(-num_local // chunk), dtype=jnp.int32) * chunk
  return jnp.minimum(begin_G, num_local - chunk)


def to_chunks(value_N: Array, chunk: int) -> Array:
  """Lays values of rows out by chunk, zero where a row was visited before."""
  start_G = starts(len(value_N), chunk)
  row_GB = start_G[:, None] + jnp.arange(chunk)[None, :]
  fresh_GB = row_GB >= (jnp.arange(len(start_G)) * chunk)[:, None]
  return jnp.where(fresh_GB, value_N[row_GB], 0)


def from_chunks(value_GB: Array, num_local: int) -> Array:
  """Undoes the layout of `to_chunks`."""
  overlap = value_GB.size - num_local
  return jnp.concatenate([value_GB[:-1].reshape(-1), value_GB[-1, overlap:]])


def block(x_ND: Array, start: Array, chunk: int, offset_D: Array) -> Array:
  """Returns one chunk of rows, float32 and centred."""
  x_BD = lax.dynamic_slice_in_dim(x_ND, start, chunk)
  return x_BD.astype(jnp.float32) - offset_D[None, :]


def scan_blocks(rows: Rows, visit, carry):
  """Scans `visit(carry, x_BD, weight_B, square_B) -> carry, output`."""
  chunk = rows.weight_GB.shape[1]

  def body(carry, inputs):
    start, weight_B, square_B = inputs
    x_BD = block(rows.x_ND, start, chunk, rows.offset_D)
    return visit(carry, x_BD, weight_B, square_B)

  inputs = (starts(len(rows.x_ND), chunk), rows.weight_GB, rows.square_GB)
  return lax.scan(body, carry, inputs)


def make_rows(
  x_ND: Array, weight_N: Array, chunk: int, offset_D: Array | None = None
) -> Rows:
  """Builds rows; without an offset, the weighted mean of all devices' rows."""
  weight_GB = to_chunks(weight_N, chunk)
  zero_D = jnp.zeros(x_ND.shape[1], jnp.float32)
  rows = Rows(x_ND, weight_GB, jnp.zeros_like(weight_GB), zero_D)
  if offset_D is None:

    def add(total_D, x_BD, weight_B, _):
      return total_D + weight_B @ x_BD, None

    total_D = lax.psum(scan_blocks(rows, add, zero_D)[0], AXIS)
    offset_D = total_D / lax.psum(weight_GB.sum(), AXIS)

  def square(carry, x_BD, *_):
    return carry, (x_BD * x_BD).sum(1)

  rows = rows._replace(offset_D=offset_D)
  return rows._replace(square_GB=scan_blocks(rows, square, None)[1])


def take(rows: Rows, index_M: Array) -> Array:
  """Gathers rows by their global index onto every device; not centred."""
  local = index_M - lax.axis_index(AXIS) * len(rows.x_ND)
  held_M = (local >= 0) & (local < len(rows.x_ND))
  x_MD = rows.x_ND[jnp.clip(local, 0, len(rows.x_ND) - 1)]
  return lax.psum(jnp.where(held_M[:, None], x_MD.astype(jnp.float32), 0), AXIS)


def inner(a_MD: Array, b_ND: Array, precision: str) -> Array:
  """Returns a b^T [M, N] with float32 accumulation and result."""
  dims = (((1,), (1,)), ((), ()))
  if precision == 'bfloat16':
    a_MD, b_ND = a_MD.astype(jnp.bfloat16), b_ND.astype(jnp.bfloat16)
    return lax.dot_general(a_MD, b_ND, dims, preferred_element_type=jnp.float32)
  return lax.dot_general(a_MD, b_ND, dims, lax.Precision.HIGHEST, jnp.float32)


def scores(c_KD: Array, x_BD: Array, precision: str) -> Array:
  """Returns |c|^2 - 2 c.x [K, B]: the squared distance less |x|^2.

  Clusters lead: reducing over the leading axis vectorises over rows on a CPU.
  """
  return inner(-2 * c_KD, x_BD, precision) + (c_KD * c_KD).sum(1)[:, None]


def nearest(c_KD: Array, x_BD: Array, precision: str) -> tuple[Array, Array]:
  """Returns the nearest centroid (ties to the lowest) and its score."""
  score_KB = scores(c_KD, x_BD, precision)
  least_B = score_KB.min(0)
  iota_KB = lax.broadcasted_iota(jnp.int32, score_KB.shape, 0)
  # Two plain reductions: an argmin does not vectorise on a CPU.
  hit_KB = jnp.where(score_KB == least_B[None, :], iota_KB, len(c_KD))
  return jnp.minimum(hit_KB.min(0), len(c_KD) - 1), least_B
