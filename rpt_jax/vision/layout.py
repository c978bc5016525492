"""Tables between our parameters and the tensor names of published files.

A table maps a module or a parameter of ours to a name there: a module's
kernel or scale is `<name>.weight`, its bias `<name>.bias`. A tuple of names
is concatenated over outputs (q, k, v); '{}' in a name is the block.
"""

from collections.abc import Callable, Mapping

import jax
import numpy as np
from einops import rearrange

from rpt_jax.types import PyTree
from rpt_jax.vision import weights

Table = Mapping[str, str | tuple[str, ...]]
BLOCKS = 'transformer/blocks'


def blocks(prefix: str, ours: str = BLOCKS, **modules) -> dict:
  """The part of a table for the blocks, names relative to `prefix`.

  `prefix` has the '{}'; a double underscore in a keyword is a '/'.
  """
  table = {}
  for module, names in modules.items():
    names = (names,) if isinstance(names, str) else names
    table[f'{ours}/{module}'] = tuple(f'{prefix}.{name}' for name in names)
  return table


def read(
  tensors: weights.Tensors,
  shapes: PyTree,
  table: Table,
  ignored: Callable[[str], bool] = lambda name: False,
) -> PyTree:
  """Parameters f32 in the structure of `shapes`, from the names of `table`.

  Raises ValueError naming each tensor that is missing, not expected (unless
  `ignored`) or has another shape.
  """
  arrays = flatten(shapes)
  sources = {path: _sources(path, x.shape, table) for path, x in arrays.items()}
  expected = {}
  for path, rows in sources.items():
    shape = _their_shape(path, arrays[path].shape, rows)
    if (
      path.endswith('embed/kernel')
      and len(tensors.shapes.get(rows[0][0], ())) != 2
    ):
      shape = _convolution(shape)
    expected |= {name: shape for row in rows for name in row}
  weights.check(tensors, expected, ignored)
  leaves = [
    _read_one(tensors, path, arrays[path].shape, rows)
    for path, rows in sources.items()
  ]
  return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def export(params: PyTree, table: Table) -> dict[str, np.ndarray]:
  """{name there: array}, the inverse of `read`, without axes of length 1."""
  arrays = {}
  for path, value in flatten(params).items():
    value = np.asarray(value, np.float32)
    rows = _sources(path, value.shape, table)
    stacked = value if _stacked(path) else value[None]
    for row, x in zip(rows, stacked, strict=True):
      x = x.T if path.endswith('kernel') else x
      if _cuts_patches(path):
        _, channels, patch, _ = _convolution(x.shape)
        x = rearrange(x, 'o (h w c) -> o c h w', c=channels, h=patch)
      arrays |= dict(zip(row, np.split(x, len(row)), strict=True))
  return arrays


def flatten(tree: PyTree) -> dict:
  """{'a/b': leaf} of nested dictionaries, in the order of their leaves."""
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {'/'.join(key.key for key in path): leaf for path, leaf in paths}


def _stacked(path):
  return '/blocks/' in path


def _sources(path, shape, table):
  """Names of the tensors that make a parameter: [blocks, parts]."""
  names = table.get(path)
  if names is None:
    module, leaf = path.rsplit('/', 1)
    suffix = 'bias' if leaf == 'bias' else 'weight'
    names = table[module]
    names = (names,) if isinstance(names, str) else names
    names = tuple(f'{name}.{suffix}' for name in names)
  names = (names,) if isinstance(names, str) else names
  if not _stacked(path):
    return [names]
  return [tuple(name.format(i) for name in names) for i in range(shape[0])]


def _their_shape(path, shape, rows):
  """The shape that each source tensor must have."""
  shape = shape[1:] if _stacked(path) else shape
  if not path.endswith('kernel'):
    return (shape[0] // len(rows[0]), *shape[1:])
  inputs, outputs = shape
  return outputs // len(rows[0]), inputs


def _cuts_patches(path):
  return path.split('/')[-2:] == ['embed', 'kernel']


def _convolution(shape):
  """The shape of a patch kernel [outputs, inputs] as a convolution's."""
  outputs, inputs = shape
  patch = round((inputs / 3) ** 0.5)
  return outputs, 3, patch, patch


def _read_one(tensors, path, shape, rows):
  value = np.stack(
    [np.concatenate([_matrix(tensors[n], path) for n in row]) for row in rows]
  )
  if path.endswith('kernel'):
    value = value.swapaxes(-1, -2)
  return np.ascontiguousarray(value).reshape(shape)


def _matrix(x, path):
  """Kernels [outputs, inputs] (a convolution's inputs row, column, channel)."""
  if path.endswith('kernel') and x.ndim == 4:
    return rearrange(x, 'o c h w -> o (h w c)')
  return x if path.endswith('kernel') else np.squeeze(x)
