"""Rows of Parquet files and Arrow streams, read where they lie.

A footer is parsed once and a row group decoded once for all episodes that lie
in it one after the other: what reads a file for each of its episodes anew takes
a time that grows with their square.
"""

import collections
import functools
import math
import os
import pathlib
import threading
import types
from collections.abc import Sequence

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import blaming, needs

_OPEN, _GROUPS = 16, 2  # Files, and row groups of a dataset in memory.
_END = b'\xff\xff\xff\xff\0\0\0\0'  # Of an Arrow stream.


class Tables:
  """The tables of one dataset; safe for several threads."""

  def __init__(self):
    self._files = collections.OrderedDict()
    self._groups = collections.OrderedDict()
    self._lock = threading.Lock()

  def rows(self, path: pathlib.Path, columns, first: int, count: int):
    """Rows `first` to `first + count` of a file, or as many as there are.

    Raises CorruptEpisode for a file that cannot be read or has no such column.
    """
    with self._lock, blaming(path):
      file, starts = self._file(path, len(columns))
      for name in columns:
        if name not in file.schema_arrow.names:
          raise ValueError(
            f'found no column {name!r}, expected it as in the other files; '
            'copy it again'
          )
      begin, end = np.searchsorted(starts, (first, first + count - 1), 'right')
      parts = []
      for group in range(begin - 1, min(end, len(starts) - 1)):
        low, high = starts[group : group + 2].clip(first, first + count)
        table = self._group(path, file, group, tuple(columns))
        parts.append(table.slice(low - starts[group], high - low))
      if not parts:
        return file.schema_arrow.empty_table().select([*columns])
      return library().pa.concat_tables(parts)

  def about(self, path: pathlib.Path):
    """(schema of a file, how many rows it has); errors as `rows`."""
    with self._lock, blaming(path):
      file, starts = self._file(path, 1)
      return file.schema_arrow, int(starts[-1])

  def groups(self, path: pathlib.Path, columns):
    """Tables of all rows of a file, a row group each; none is kept."""
    for group in range(self._count(path)):
      with self._lock, blaming(path):
        file, _ = self._file(path, len(columns))
        table = file.read_row_group(group, columns=[*columns])
      yield table

  def of_episode(self, path: pathlib.Path, columns, number: int):
    """The rows whose episode_index it is, wherever in the file they are."""
    with self._lock, blaming(path):
      self._file(path, len(columns))
      with path.open('rb') as file:
        return library().parquet.read_table(
          file, columns=[*columns], filters=[('episode_index', '=', number)]
        )

  def _count(self, path):
    with self._lock, blaming(path):
      return len(self._file(path, 1)[1]) - 1

  def _file(self, path, width):
    """(an open file, where each of its row groups begins and the last ends)."""
    if path not in self._files:
      if path.suffix == '.arrow':
        file = _Stream(path)
        sizes = file.sizes
      else:
        # Opened here: Arrow takes some names of files for addresses.
        file = library().parquet.ParquetFile(path.open('rb'))
        groups = range(file.num_row_groups)
        sizes = [file.metadata.row_group(i).num_rows for i in groups]
      declared = 8 * sum(sizes) * width
      files.holds(path, 'the table', declared, os.path.getsize(path))
      self._files[path] = file, np.cumsum([0, *sizes])
      if len(self._files) > _OPEN:
        self._files.popitem(last=False)[1][0].close(force=True)
    self._files.move_to_end(path)
    return self._files[path]

  def _group(self, path, file, group, columns):
    key = path, group, columns
    if key not in self._groups:
      if len(self._groups) >= _GROUPS:
        self._groups.popitem(last=False)
      self._groups[key] = file.read_row_group(group, columns=[*columns])
    self._groups.move_to_end(key)
    return self._groups[key]


class _Stream:
  """An Arrow stream, mapped into memory: its batches are its row groups.

  Raises ValueError for one that does not end, which is how a part of one ends,
  and for batches that are packed: all would be unpacked at once.
  """

  def __init__(self, path):
    pa = library().pa
    file = pa.memory_map(str(path.absolute()))
    reader = pa.ipc.open_stream(file)
    self.schema_arrow, self._batches, begin = reader.schema, [], file.tell()
    for batch in reader:
      batch.validate(full=True)  # Else an offset may lead out of memory.
      stored, begin = file.tell() - begin, file.tell()
      if batch.nbytes > stored:
        raise ValueError(
          f'{batch.nbytes} bytes are packed into {stored}, expected an Arrow '
          'stream that is not compressed; write it again'
        )
      self._batches.append(batch)
    file.seek(file.size() - len(_END))
    if file.read() != _END:
      raise ValueError('the Arrow stream does not end; copy it again')
    self.sizes = [batch.num_rows for batch in self._batches]

  def read_row_group(self, group, columns):
    batch = self._batches[group]
    return library().pa.Table.from_batches([batch]).select(columns)

  def close(self, force):
    self._batches = []


def dense(values, shape: Sequence[int]) -> np.ndarray:
  """Numbers, or lists of them at any depth, as one array [T, *shape].

  Raises ValueError for a step that has more or fewer than `shape` says, or
  none where a number should be.
  """
  compute, count = library().compute, len(values)
  for depth, width in enumerate(shape):
    lengths = compute.list_value_length(values).fill_null(-1)
    lengths = lengths.to_numpy(zero_copy_only=False)
    if len(wrong := np.flatnonzero(lengths != width)):
      step = wrong[0] // math.prod(shape[:depth])
      raise ValueError(
        f'step {step} has {max(lengths[wrong[0]], 0)} numbers, expected {width}'
      )
    values = values.flatten()
  if values.null_count:
    step = np.flatnonzero(compute.is_null(values))[0] // math.prod(shape)
    raise ValueError(f'step {step} has no number')
  return values.to_numpy(zero_copy_only=False).reshape(count, *shape)


@functools.cache
def library():
  """`pyarrow` as `.pa`, `.parquet`, `.compute`; ValueError with the extra."""
  try:
    import pyarrow as pa
    from pyarrow import compute, parquet
  except ImportError as error:
    raise needs('pyarrow', 'video') from error
  return types.SimpleNamespace(pa=pa, parquet=parquet, compute=compute)
