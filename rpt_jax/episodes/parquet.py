"""Rows of Parquet files and Arrow streams, read where they lie.

A footer is parsed once and a row group decoded once for all episodes that lie
in it one after the other: what reads a file for each of its episodes anew takes
a time that grows with their square. Who reads in order holds a few pieces of a
row group, which may have a million rows, and who goes back all of it.
"""

import collections
import functools
import math
import os
import pathlib
import struct
import threading
import types
from collections.abc import Sequence

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import blaming, needs

_OPEN, _GROUPS = 16, 2  # Files, and row groups of a dataset in memory.
_PIECE = 1 << 14  # Rows of a row group that are decoded at once.
_END = b'\xff\xff\xff\xff\0\0\0\0'  # Of an Arrow stream.
_FILE = b'ARROW1'  # How a file of Arrow's begins and ends.
_AT_ONCE = 1 << 26  # Bytes of texts that are decoded together.


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
        rows = self._group(path, file, group, tuple(columns))
        parts.append(rows.slice(low - starts[group], high - starts[group]))
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
        table = _decoded(path, file, group, columns)
      yield table

  def of_episode(self, path: pathlib.Path, columns, number: int):
    """The rows whose episode_index it is, wherever in the file they are."""
    equal = library().compute.equal
    parts = [self.about(path)[0].empty_table().select([*columns])]
    with blaming(path):
      for table in self.groups(path, columns):
        parts.append(table.filter(equal(table['episode_index'], number)))
      return library().pa.concat_tables(parts)

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
        closed, (file, _) = self._files.popitem(last=False)
        for key in [key for key in self._groups if key[0] == closed]:
          del self._groups[key]
        file.close(force=True)
    self._files.move_to_end(path)
    return self._files[path]

  def _group(self, path, file, group, columns):
    key = path, group, columns
    if key not in self._groups:
      if len(self._groups) >= _GROUPS:
        self._groups.popitem(last=False)
      self._groups[key] = _Group(path, file, group, columns)
    self._groups.move_to_end(key)
    return self._groups[key]


class _Group:
  """Some columns of a row group: a piece of its rows, or all of them."""

  def __init__(self, path, file, group, columns):
    self._whole = functools.partial(_decoded, path, file, group, columns)
    self._number, self._first = group, 0
    if _sharing(path, file, group, columns):
      self._table, self._pieces = self._whole(), iter(())
    else:
      self._table = file.schema_arrow.empty_table().select([*columns])
      self._pieces = file.iter_batches(_PIECE, [group], columns=[*columns])

  def slice(self, low, high):
    """Rows `low` to `high`, as a table."""
    if low < self._first:
      self._table, self._first, self._pieces = self._whole(), 0, iter(())
    while high > self._first + self._table.num_rows:
      if (piece := next(self._pieces, None)) is None:
        raise ValueError(f'row group {self._number} ends before its last row')
      passed = min(low - self._first, self._table.num_rows)
      kept, pa = self._table.slice(passed), library().pa
      self._table = pa.concat_tables([kept, pa.Table.from_batches([piece])])
      self._first += passed
    return self._table.slice(low - self._first, high - low)


def whole(path: pathlib.Path, but: tuple[str, ...] = ()):
  """All rows of a file, without columns that begin so; errors as `rows`."""
  tables = Tables()
  schema, count = tables.about(path)
  columns = [name for name in schema.names if not name.startswith(but)]
  return tables.rows(path, columns, 0, max(count, 1))


def _sharing(path, file, group, columns):
  """{column: bytes}, at most, of texts that may share a place in their file.

  Raises ValueError for a row group that declares more than its file can hold;
  lists count by their numbers.
  """
  if isinstance(file, _Stream):
    return {}
  about, stored = file.metadata.row_group(group), os.path.getsize(path)
  every = [about.column(i) for i in range(about.num_columns)]
  chunks = {
    name: [c for c in every if f'{c.path_in_schema}.'.startswith(f'{name}.')]
    for name in columns
  }
  for declared in (
    8 * sum(c.num_values for own in chunks.values() for c in own),
    sum(c.total_uncompressed_size for own in chunks.values() for c in own),
  ):
    files.holds(path, 'a row group', declared, stored)
  return {
    name: max(c.total_uncompressed_size for c in own)
    for name, own in chunks.items()
    if any(map(_shares, own))
  }


def _decoded(path, file, group, columns):
  """A row group, which is no more than its file can hold; errors as above.

  Texts are decoded a few at a time: a page of a few bytes may name one a
  million times.
  """
  shared = _sharing(path, file, group, columns)
  others = [name for name in columns if name not in shared]
  table = file.read_row_group(group, columns=others)
  for name in sorted(shared):
    field = file.schema_arrow.field(name)
    rows, parts, size = max(_AT_ONCE // max(shared[name], 1), 1), [], 0
    for batch in file.iter_batches(rows, [group], columns=[name]):
      size += batch.nbytes
      files.holds(path, f'{name} of a row group', size, os.path.getsize(path))
      parts.append(batch[name])
    values = library().pa.chunked_array(parts, field.type)
    table = table.append_column(field, values.combine_chunks())
  return table.select([*columns])


def _shares(chunk) -> bool:
  """Whether many values of a column may be one text in its file."""
  is_text = chunk.physical_type == 'BYTE_ARRAY'
  return is_text and any('DICTIONARY' in str(e) for e in chunk.encodings)


class _Stream:
  """An Arrow stream, mapped into memory: its batches are its row groups.

  Raises ValueError as `stream`.
  """

  def __init__(self, path):
    reader = library().pa.ipc.open_stream(stream(path))
    self.schema_arrow, self._batches = reader.schema, []
    for batch in reader:
      batch.validate(full=True)  # Else an offset may lead out of memory.
      self._batches.append(batch)
    self.sizes = [batch.num_rows for batch in self._batches]

  def read_row_group(self, group, columns):
    batches = self.iter_batches(0, [group], columns)
    return library().pa.Table.from_batches(batches)

  def iter_batches(self, size, row_groups, columns):
    """Whole batches, as they take no memory of their own."""
    del size
    return (self._batches[group].select(columns) for group in row_groups)

  def close(self, force):
    self._batches = []


def stream(path: pathlib.Path):
  """The bytes of an Arrow stream, or of that within an Arrow file, mapped.

  Raises ValueError for one that does not end, which is how a part of one ends,
  and for batches that are packed: all would be unpacked at once.
  """
  pa = library().pa
  data = pa.memory_map(str(files.regular(path).absolute())).read_buffer()
  is_file = data.slice(0, len(_FILE)).to_pybytes() == _FILE
  end = _FILE if is_file else _END
  if not data.size or data.slice(data.size - len(end)).to_pybytes() != end:
    raise ValueError(f'{path}: the Arrow stream does not end; copy it again')
  data = data.slice(8 if is_file else 0)
  if any(map(_is_packed, pa.ipc.MessageReader.open_stream(data))):
    raise ValueError(
      f'{path}: its batches are packed, expected an Arrow stream that is not '
      'compressed; write it again'
    )
  return data


def _is_packed(message) -> bool:
  """Whether a message of an Arrow stream has a body that is compressed.

  Arrow unpacks all of a batch before it can be asked how large it is; so its
  head, a FlatBuffer, is read here (github.com/apache/arrow, format/
  Message.fbs): a table's fields lie where another one says, if at all.
  """
  if message.type not in ('record batch', 'dictionary'):
    return False
  data = message.metadata.to_pybytes()

  def number(code, at):
    return struct.unpack_from(code, data, at)[0]

  def field(table, slot):
    places = table - number('<i', table)
    at = 4 + 2 * slot
    offset = number('<H', places + at) if at < number('<H', places) else 0
    return offset and table + offset

  def inner(table, slot):
    place = field(table, slot)
    return place + number('<I', place)

  batch = inner(number('<I', 0), 2)
  if message.type == 'dictionary':
    batch = inner(batch, 1)
  return bool(field(batch, 3))


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
