"""HDF5 files that lead nowhere else, and hold what they declare."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing
from rpt_jax.episodes.columns import Column, column, text
from rpt_jax.episodes.errors import needs

SUFFIXES = ('.hdf5', '.h5', '.hdf')
_AT_ONCE = 16  # Rows of values of any length.


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator:
  """The file, for reading; ValueError where it is none."""
  h5py = _h5py()
  try:
    file = h5py.File(files.regular(path), 'r')
  except OSError as error:
    raise ValueError(
      f'{path}: not a readable HDF5 file ({error}); copy it again'
    ) from error
  with file:
    try:
      yield file
    except RuntimeError as error:  # What HDF5 says of a damaged inside.
      raise ValueError(f'{path}: {error}; copy it again') from error


def files_below(path: pathlib.Path) -> list[pathlib.Path]:
  """The file itself, or all below a folder, in the order of their numbers."""
  return sorted(listing.visible(path, *SUFFIXES), key=listing.natural)


def top(path: pathlib.Path) -> set[str]:
  """What the first file at or below `path` holds: by it layouts are told.

  Nothing where it cannot be read.
  """
  places = files_below(path)
  if not places:
    return set()
  try:
    with opened(places[0]) as file:
      return {*file, *(f'attrs/{name}' for name in file.attrs)}
  except ValueError:
    return set()


def own(group, name: str):
  """What a file calls `name`; ValueError if it is not there, or a link.

  HDF5 opens those by itself, whatever they are.
  """
  h5py = _h5py()
  for part in name.split('/'):
    is_group = isinstance(group, h5py.Group)
    link = group.get(part, getlink=True) if is_group else None
    if link is None:
      raise ValueError(
        f'{group.file.filename}: {group.name} holds no {part!r}, expected it '
        'as in the first episode; copy the file again'
      )
    if not isinstance(link, h5py.HardLink):
      raise ValueError(  # A soft link may lead through an external one.
        f'{group.file.filename}: {group.name}/{part} is a link, perhaps to '
        'another file, expected it in this one; write the file again'
      )
    group = group[part]
  stored = isinstance(group, h5py.Dataset)
  if stored and (group.external or group.is_virtual):
    raise ValueError(
      f'{group.file.filename}: {group.name} keeps its bytes in another file, '
      'expected them in this one; write the file again'
    )
  return group


def values(group, name: str, rows: slice | None = None) -> np.ndarray:
  """The array of a dataset, or some of its rows; it holds what it declares."""
  data = own(group, name)
  chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
  declared, stored = max(data.nbytes, chunk), data.id.get_storage_size()
  files.holds(data.file.filename, data.name, declared, stored)
  if data.shape and (data.dtype.metadata or {}).get('vlen'):
    return _of_any_length(data, rows or slice(None))
  return data[()] if rows is None else data[rows]


def _of_any_length(data, rows: slice) -> np.ndarray:
  """Rows of texts, or of frames that are encoded; all are less than the file.

  They are never packed there, but many may be one that lies there once. Raises
  ValueError where they are more.
  """
  first, stop, _ = rows.indices(len(data))
  parts, taken = [data[first:first]], 0
  stored = os.path.getsize(data.file.filename)
  for begin in range(first, stop, _AT_ONCE):
    parts.append(data[begin : min(begin + _AT_ONCE, stop)])
    taken += sum(map(len, parts[-1].reshape(-1)))
    files.holds(data.file.filename, data.name, taken, stored, stored, 1)
  return np.concatenate(parts)


def attribute(group, name: str) -> dict:
  """The object in an attribute that is JSON, {} where there is none."""
  try:
    value = json.loads(group.attrs.get(name) or '{}')
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{group.file.filename}: {group.name}: attribute {name} is no JSON '
      f'({error}); write it again, or remove it'
    ) from error
  return value if isinstance(value, dict) else {}


def scalars(attributes: Mapping, *kinds: type) -> dict:
  """The attributes that are scalars of NumPy's (as Python's), or of `kinds`."""
  return {
    name: value.item() if isinstance(value, np.generic) else value
    for name, value in attributes.items()
    if isinstance(value, (np.generic, *kinds))
  }


def said(group, names: Sequence[str]) -> str:
  """The first text in an attribute of such a name, or in an array right below.

  '' where there is none; errors as `values`.
  """
  for name in names:
    value = group.attrs.get(name)
    if value is None and name in group:
      is_array = hasattr(own(group, name), 'dtype')
      value = values(group, name) if is_array else None
    for first in np.asarray(value, object).reshape(-1)[:1]:
      if isinstance(first, str | bytes) and first:
        return text(first)
  return ''


def columns(group) -> dict[str, Column]:
  """All arrays of numbers at or below a group that have a first axis.

  Raises ValueError for a link among them, which nobody would follow.
  """
  return {
    name: column(data.shape[1:], data.dtype)
    for name, data in datasets(group)
    if data.shape and data.dtype.kind in 'biuf'
  }


def datasets(group, prefix: str = '') -> Iterator:
  """(name, dataset) of all at or below a group; errors as `own`."""
  for name in group:
    item = own(group, name)
    if hasattr(item, 'dtype'):
      yield f'{prefix}{name}', item
    else:
      yield from datasets(item, f'{prefix}{name}/')


def _h5py():
  try:
    import h5py
  except ImportError as error:
    raise needs('h5py', 'hdf5') from error
  return h5py
