"""Rows of Parquet files, read where they lie.

A footer is parsed once and a row group decoded once for all episodes that lie
in it one after the other: what reads a file for each of its episodes anew takes
a time that grows with their square.
"""

import collections
import contextlib
import functools
import os
import pathlib
import threading
import types

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import CorruptEpisode, needs

_OPEN, _GROUPS = 16, 2  # Files, and row groups of a dataset in memory.


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
    with self._lock, _named(path):
      file, starts = self._file(path, len(columns))
      begin, end = np.searchsorted(starts, (first, first + count - 1), 'right')
      parts = []
      for group in range(begin - 1, min(end, len(starts) - 1)):
        low, high = starts[group : group + 2].clip(first, first + count)
        table = self._group(path, file, group, tuple(columns))
        parts.append(table.slice(low - starts[group], high - low))
      if not parts:
        return file.schema_arrow.empty_table().select([*columns])
      return library().pa.concat_tables(parts)

  def of_episode(self, path: pathlib.Path, columns, number: int):
    """The rows whose episode_index it is, wherever in the file they are."""
    with self._lock, _named(path):
      self._file(path, len(columns))
      return library().parquet.read_table(
        path, columns=[*columns], filters=[('episode_index', '=', number)]
      )

  def _file(self, path, width):
    """(an open file, where each of its row groups begins and the last ends)."""
    if path not in self._files:
      file = library().parquet.ParquetFile(path)
      declared = 8 * file.metadata.num_rows * width
      files.holds(path, 'the table', declared, os.path.getsize(path))
      sizes = [
        file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)
      ]
      self._files[path] = file, np.cumsum([0, *sizes])
      if len(self._files) > _OPEN:
        self._files.popitem(last=False)[1][0].close()
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


@contextlib.contextmanager
def _named(path):
  """What goes wrong within, as a CorruptEpisode that names the file."""
  try:
    yield
  except (OSError, ValueError, KeyError) as error:
    raise CorruptEpisode(f'{path}: {error}') from error


@functools.cache
def library():
  """`pyarrow` as `.pa`, `.parquet`, `.compute`; ValueError with the extra."""
  try:
    import pyarrow as pa
    from pyarrow import compute, parquet
  except ImportError as error:
    raise needs('pyarrow', 'video') from error
  return types.SimpleNamespace(pa=pa, parquet=parquet, compute=compute)
