"""What the steps of a TFDS record hold, by the features that were declared."""

import zlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rpt_jax.episodes import columns as columns_lib
from rpt_jax.episodes.columns import Column, text
from rpt_jax.episodes.rlds import png

_READABLE = (tfds.features.Tensor, tfds.features.Sequence)


def decoded(values, feature, column) -> np.ndarray:
  """One column of a record, [T, ...], from the `values` of its feature."""
  if isinstance(feature, tfds.features.Image):
    if not values:
      raise ValueError(
        'found none in this record, expected one a step; copy the dataset again'
      )
    image_THWC = png.decode(values)
    if column.dtype == np.float32:  # TFDS keeps each number as RGBA.
      return image_THWC.view('<f4')
    return image_THWC
  if column.kind == 'text' and not column.shape:
    return np.array([text(v) for v in values], object)
  if values and isinstance(values[0], bytes) and column.dtype.kind in 'biuf':
    values = [_unpacked(v, feature, column) for v in values]
  x = np.array(values)
  if x.dtype.kind in 'biu' and column.dtype.kind in 'biu':
    if len(lost := np.flatnonzero(x != x.astype(column.dtype))):
      raise ValueError(f'found {x[lost[0]]}, which {column.dtype} cannot hold')
  x = x.astype(column.dtype)
  if column.kind == 'image':  # A tensor, whose axes may be in another order.
    return x.reshape(-1, *feature.shape)
  return x.reshape(-1, *column.shape)


def _unpacked(value, feature, column):
  """The numbers of one step of a tensor that was written as bytes."""
  size = column.dtype.itemsize * int(np.prod(column.shape))
  if feature._encoding == tfds.features.Encoding.ZLIB:
    value = zlib.decompressobj().decompress(value, size + 1)
  if len(value) != size:
    raise ValueError(f'{len(value)} bytes a step, expected {size}')
  return np.frombuffer(value, column.dtype.newbyteorder('<'))


def count_steps(features, columns: dict[str, Column]) -> int:
  """Steps of one record, from the first of its columns that is there."""
  for name, column in columns.items():
    feature = features[f'steps/{name}'] if f'steps/{name}' in features else None
    if feature is not None:
      is_bytes = feature.WhichOneof('kind') == 'bytes_list'
      size = 1 if is_bytes else int(np.prod(column.shape))
      return len(values_of(feature)) // max(size, 1)
  return 0


def flatten(tree, prefix='') -> dict[str, Any]:
  """Nested dictionaries (or TFDS features) as {'a/b': leaf}.

  A sequence of dictionaries is a leaf, though TFDS's has their items.
  """
  flat = {}
  for key, value in tree.items():
    path = f'{prefix}{key}'
    is_sequence = isinstance(value, tfds.features.Sequence)
    if hasattr(value, 'items') and not is_sequence:
      flat |= flatten(value, f'{path}/')
    else:
      flat[path] = value
  return flat


def columns_of(
  builder: tfds.core.DatasetBuilder,
) -> tuple[dict[str, Column], dict[str, str]]:
  """The columns of a dataset's steps, and why others cannot be read."""
  features = builder.info.features
  if 'steps' not in features:
    raise ValueError(
      f'{builder.data_dir}: its records have no steps but {list(features)}; '
      'expected RLDS episodes'
    )
  columns, left_out = {}, {}
  for name, feature in flatten(features['steps'].feature).items():
    try:
      columns[name] = _column(feature)
    except ValueError as error:
      left_out[name] = str(error)
  return columns, left_out


def _column(feature) -> Column:
  """What a step of a feature holds; ValueError for what is no array of steps.

  A camera whose frames may be of any size has None in its shape.
  """
  word, shape = type(feature).__name__, getattr(feature, 'shape', None)
  if not isinstance(shape, tuple):
    raise ValueError(f'{word}, expected numbers, text, or an image')
  dtype = np.dtype(feature.np_dtype)
  if isinstance(feature, tfds.features.Image):
    if dtype == np.uint8:
      height, width, _ = shape
      return Column('image', (height, width, 3), dtype)
    if None not in shape and dtype in (np.uint16, np.float32):
      return Column('values', tuple(shape), dtype)
  elif isinstance(feature, _READABLE) and None not in shape:
    if dtype.kind in 'OSU':
      return Column('text', tuple(shape), dtype)
    if dtype.kind in 'biuf':
      seen = columns_lib.column(shape, dtype)
      # As many numbers a step: steps are counted by them.
      same = np.prod(seen.shape) == np.prod(shape)
      return seen if same else Column('values', tuple(shape), dtype)
  raise ValueError(
    f'{word} of shape {shape} and type {dtype}, expected numbers of one shape '
    'at every step, text, or an image'
  )


def values_of(feature) -> list:
  """The list in a feature of a `tf.train.Example`, or an empty one."""
  kind = feature.WhichOneof('kind')
  return getattr(feature, kind).value if kind else []
