"""Where arrays live: a mesh of ('data', 'fsdp', 'tensor') and path rules."""

import math
import re

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rpt_jax import target
from rpt_jax.training.optimizer import path_name
from rpt_jax.types import PyTree

AXES = ('data', 'fsdp', 'tensor')
# (Regular expression on a path, a mesh axis or None for each dimension).
Rules = tuple[tuple[str, tuple[str | None, ...]], ...]


def make_mesh(sizes: dict[str, int], devices=None) -> Mesh:
  """Mesh over all devices; one axis may be -1, the rest of the devices.

  Args:
    sizes: of the axes `AXES`.
    devices: instead of all of this job; those of a topology that is only
      described will do.

  Raises:
    ValueError: the sizes do not multiply to the device count.
  """
  if set(sizes) != set(AXES):
    raise ValueError(f'mesh: found axes {sorted(sizes)}, expected {AXES}')
  devices = jax.devices() if devices is None else devices
  shape = [sizes[axis] for axis in AXES]
  count = len(devices)
  fixed = math.prod(n for n in shape if n != -1)
  free = shape.count(-1)
  fits = all(n == -1 or n > 0 for n in shape) and free <= 1
  if not fits or count % fixed or (not free and fixed != count):
    raise ValueError(
      f'mesh: {dict(sizes)} does not fit {count} devices; sizes must multiply '
      'to the device count, at most one being -1'
    )
  shape = tuple(count // fixed if n == -1 else n for n in shape)
  return jax.make_mesh(
    shape, AXES, axis_types=(AxisType.Auto,) * 3, devices=devices
  )


def local_mesh() -> Mesh:
  """Mesh over this process's devices, for work processes do apart."""
  sizes = {'data': -1, 'fsdp': 1, 'tensor': 1}
  return make_mesh(sizes, jax.local_devices())


def replicated(mesh: Mesh) -> NamedSharding:
  """A whole copy on every device."""
  return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: Mesh) -> NamedSharding:
  """The first axis split over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(target.ROWS))


def check_rows(size: int, mesh: Mesh, what: str = 'batch') -> None:
  """Raises ValueError unless `size` rows divide evenly over the devices."""
  parts = mesh.shape['data'] * mesh.shape['fsdp']
  if size % parts:
    raise ValueError(
      f'{what}: {size} rows do not divide over {parts} devices (data x fsdp); '
      'change the batch size or the mesh'
    )


def local_rows(size: int, mesh: Mesh) -> np.ndarray:
  """Which rows of a batch of `size` this process's devices hold: int64.

  Raises ValueError if the rows do not divide evenly over the devices.
  """
  check_rows(size, mesh)
  held = by_rows(mesh).addressable_devices_indices_map((size,)).values()
  return np.unique(np.concatenate([np.arange(size)[rows] for rows in held]))


def shard_batch(batch: PyTree, mesh: Mesh, size: int | None = None) -> PyTree:
  """Splits the first axis of every array over data and fsdp.

  Args:
    batch: arrays of this process's rows (`local_rows`).
    size: rows of the whole batch; None: this process gave all of them.

  Raises:
    ValueError: an array does not divide evenly.
  """

  def put(path, x):
    rows = size or x.shape[0]
    check_rows(rows, mesh, f'batch {path_name(path)!r}')
    shape = (rows, *x.shape[1:])
    return jax.make_array_from_process_local_data(by_rows(mesh), x, shape)

  return jax.tree_util.tree_map_with_path(put, batch)


def split(tree: PyTree, mesh: Mesh) -> PyTree:
  """Inside jit: `target.split_rows` of every array, on this mesh."""
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    return jax.tree.map(target.split_rows, tree)


def gather(tree: PyTree) -> PyTree:
  """Whole NumPy arrays in every process; to be called by all of them."""

  def whole(x):
    if isinstance(x, jax.Array) and not (
      x.is_fully_addressable or x.is_fully_replicated
    ):
      return multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)

  return jax.tree.map(whole, tree)


def state_shardings(state: PyTree, mesh: Mesh, rules: Rules) -> PyTree:
  """NamedSharding per leaf of a TrainState, moments placed as their weights.

  Args:
    state: arrays or their shapes (`jax.eval_shape`).
    rules: of the model's parts; the first that matches is taken, what none
      matches is replicated.

  Raises:
    ValueError: a rule has more dimensions than the array it matches.
  """

  def place(path, x):
    name = path_name(path)
    for pattern, spec in rules:
      if re.search(pattern, name):
        return NamedSharding(mesh, _spec(spec, x.shape, name, mesh))
    return replicated(mesh)

  return jax.tree_util.tree_map_with_path(place, state)


def _spec(spec, shape, name, mesh):
  """The rule's axes where they divide the array, None elsewhere."""
  if len(spec) > len(shape):
    raise ValueError(
      f'sharding rule {spec} has {len(spec)} dimensions, but {name} is {shape}'
    )
  return PartitionSpec(
    *(
      axis if axis is not None and size % mesh.shape[axis] == 0 else None
      for axis, size in zip(spec, shape, strict=False)
    )
  )
