"""What the columns of Arrow tables hold: frames, texts, numbers in lists.

A frame is encoded: a struct of `bytes` and `path`, or one of both. Types that
extend Arrow's (arrays of one shape) are read as what they are kept as.
"""

import pathlib
from typing import NamedTuple

import numpy as np

from rpt_jax.episodes import decode, parquet
from rpt_jax.episodes.columns import Column, column


class Cell(NamedTuple):
  """What one item is: kind 'image', 'depth', 'values' or 'text'."""

  kind: str
  shape: tuple[int, ...] = ()
  dtype: str = ''

  @property
  def column(self) -> Column:
    """What the source is told of it."""
    if self.kind == 'image':
      return Column('image', self.shape, np.dtype(np.uint8))
    if self.kind == 'text':
      return Column('text')
    return column(self.shape, np.dtype(self.dtype))


def plain(array):
  """A column, or a part of one, in one piece, of no type that stands for one.

  So are types of extensions, and numbers of the entries of a dictionary.
  """
  if hasattr(array, 'combine_chunks'):
    array = array.combine_chunks()
  array = getattr(array, 'storage', array)
  if parquet.library().pa.types.is_dictionary(array.type):
    return array.dictionary_decode()
  return array


def depth(type_) -> int:
  """How many lists lie in each other."""
  type_, levels = getattr(type_, 'storage_type', type_), 0
  while _is_list(type_):
    type_, levels = type_.value_type, levels + 1
  return levels


def is_vector(type_) -> bool:
  """Whether it is a list of one length for all rows."""
  return parquet.library().pa.types.is_fixed_size_list(type_)


def holds_images(type_) -> bool:
  """Whether it is of encoded frames, or of lists of them."""
  while _is_list(type_):
    type_ = type_.value_type
  types = parquet.library().pa.types
  if not types.is_struct(type_):
    return False
  return {type_.field(i).name for i in range(type_.num_fields)} == {
    'bytes',
    'path',
  }


def cell(items, kind: str, folder: pathlib.Path) -> Cell | str:
  """What the first of some items is, or in words why it cannot be read.

  `kind` is what the dataset calls it, '' where it does not say. Raises OSError
  or ValueError where it is a frame that cannot be decoded.
  """
  types, first = parquet.library().pa.types, plain(items)[:1]
  if kind in ('Audio', 'Video', 'Pdf', 'Nifti', 'Translation'):
    return f'{kind}, expected numbers, texts or images'
  if not len(first) or first.null_count:
    return 'nothing in the first step of the first episode'
  if kind == 'Image' or holds_images(first.type) and not depth(first.type):
    with decode.opened(decode.encoded(first[0].as_py(), folder)) as image:
      size = image.height, image.width
      if decode.is_depth(image):
        return Cell('depth', (*size, 1), 'uint16')
      return Cell('image', (*size, 3), 'uint8')
  if types.is_string(first.type) or types.is_large_string(first.type):
    return Cell('text')
  shape = []
  while _is_list(first.type):
    first = first.flatten()
    shape.append(len(first))
    first = first[:1]
  is_number = types.is_integer(first.type) or types.is_floating(first.type)
  if not is_number and not types.is_boolean(first.type):
    return f'of type {first.type}, expected numbers, texts or images'
  return Cell(
    'values', tuple(shape), np.dtype(first.type.to_pandas_dtype()).str
  )


def values(items, cell: Cell, folder: pathlib.Path) -> np.ndarray:
  """[T, ...] of a column, or a part of one, of T items.

  Frames that are in files lie in `folder`. Raises OSError or ValueError, naming
  the step, for an item that is another than `cell`.
  """
  items = plain(items)
  if cell.kind == 'text':
    return np.array([text or '' for text in items.to_pylist()], object)
  if cell.kind == 'values':
    return parquet.dense(items, cell.shape)
  read = {'image': decode.image, 'depth': decode.depth}[cell.kind]
  return decode.stack(
    items.to_pylist(), read, lambda x: decode.encoded(x, folder)
  )


def _is_list(type_) -> bool:
  types = parquet.library().pa.types
  return (
    types.is_list(type_)
    or types.is_large_list(type_)
    or types.is_fixed_size_list(type_)
  )
