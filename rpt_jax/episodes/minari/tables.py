"""Minari's episodes in Arrow or Parquet: a table each, of structs and lists.

A struct's fields are columns `<struct>/<field>`; a list of as many numbers in
every row is an array, whose shape the space in `metadata.json` says; binary
values are encoded frames. Other columns are left out, and it is said why.
"""

import json
import math
import operator
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import cells, listing, parquet
from rpt_jax.episodes.columns import Column, column

ABOUT = 'metadata.json'
_SPACES = {'observations': 'observation_space', 'actions': 'action_space'}
_NO_SPACE = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
_MEND = 'copy the dataset again'
_MOST_STEPS = 10**8  # Of an episode.


class Tables:
  """Episodes `<i>/part-0.<kind>` below a folder, `kind` 'arrow' or 'parquet'.

  Raises ValueError for spaces in `about` that are none.
  """

  def __init__(self, folder: pathlib.Path, kind: str, about: Mapping[str, Any]):
    self.place, self._kind = folder, kind
    self._shapes = _box_shapes(folder, about)
    self._tables = parquet.Tables()

  def lengths(self) -> list[tuple[int, int]]:
    """(number, steps) of each, 0 where it does not say how many."""
    numbers = [int(p.name) for p in self.place.iterdir() if p.name.isdecimal()]
    return [(number, self._steps(number)) for number in sorted(numbers)]

  def columns(self, number: int) -> tuple[dict[str, Column], dict[str, str]]:
    """What a step of an episode holds, and why other columns are left out.

    Raises ValueError where a table is damaged.
    """
    return _columns(self._table(number, None), self._shapes)

  def read(
    self, number: int, columns: Mapping[str, Column], steps: int
  ) -> dict[str, np.ndarray]:
    """The columns of one episode, without its last row.

    Raises ValueError for another number of rows, and for one without a value.
    """
    table = self._table(number, sorted({c.split('/')[0] for c in columns}))
    if table.num_rows != steps + 1:
      raise ValueError(
        f'found {table.num_rows} rows, expected {steps + 1}: a last '
        'observation after its steps'
      )
    leaves = dict(_leaves(table.slice(0, steps)))
    return {
      name: _array(name, leaves.get(name), self._shapes) for name in columns
    }

  def attributes(self, number: int) -> dict[str, Any]:
    """What is said of one episode; ValueError where that is no JSON."""
    return files.read_json(self._inside(number, ABOUT), mend=_MEND)

  def _steps(self, number):
    try:
      about = files.read_json(self._inside(number, ABOUT), 'total_steps')
    except ValueError:
      return 0
    steps = about['total_steps']
    return steps if type(steps) is int and 0 < steps < _MOST_STEPS else 0

  def _inside(self, number, name):
    return files.inside(self.place, f'{number}/{name}')

  def _table(self, number, fields):
    """The rows of an episode: some of its columns, or (None) all."""
    folder = self.place / str(number)
    places = sorted(listing.visible(folder, f'.{self._kind}'))
    if len(places) != 1:
      raise ValueError(
        f'{folder}: found {len(places)} .{self._kind} files, expected one; '
        f'{_MEND}'
      )
    place = files.regular(self._inside(number, places[0].name))
    read = parquet.library()
    if self._kind == 'parquet':
      fields = fields or read.parquet.read_schema(place).names
      return self._tables.rows(place, fields, 0, _MOST_STEPS)
    data = parquet.stream(place)
    names = read.pa.ipc.open_stream(data).schema.names
    asked = [i for i, n in enumerate(names) if fields is None or n in fields]
    options = read.pa.ipc.IpcReadOptions(included_fields=asked)
    table = read.pa.ipc.open_stream(data, options=options).read_all()
    table.validate(full=True)  # What lies beyond would be read as it is.
    return table


def _box_shapes(folder, about) -> dict[str, tuple[int, ...]]:
  """{column: shape of a row} of the boxes of both spaces."""
  shapes = {}
  for field, name in _SPACES.items():
    try:
      shapes |= dict(_boxes(field, json.loads(about.get(name) or '{}')))
    except _NO_SPACE as error:
      raise ValueError(
        f'{folder / ABOUT}: {name} cannot be read, expected a space of '
        'Gymnasium as JSON; copy it again'
      ) from error
  return shapes


def _boxes(name, space) -> Iterator[tuple[str, tuple[int, ...]]]:
  """(column, shape) of the boxes of a space."""
  below = space.get('subspaces') or {}
  pairs = below.items() if isinstance(below, dict) else enumerate(below)
  for key, each in pairs:
    yield from _boxes(f'{name}/{key}', each)
  if space.get('type') == 'Box':
    yield name, tuple(map(operator.index, space['shape']))


def _columns(table, shapes: Mapping[str, Sequence[int]]):
  """({column: what a row holds}, {column: why it is left out}).

  `shapes` of those whose lists are arrays laid flat. Raises ValueError, naming
  the column, for a shape that is of other lists.
  """
  by_name, left_out = {}, {}
  for name, values in _leaves(table):
    each = _column(name, values, shapes)
    if each is None:
      left_out[name] = (
        f'of type {values.type}, expected as many numbers in every row, texts '
        'or encoded frames'
      )
    else:
      by_name[name] = each
  return by_name, left_out


def _leaves(table) -> Iterator:
  """(name, array) of all that is no struct; of one that misses rows itself."""
  pa = parquet.library().pa
  waiting = [
    (name, table[name].combine_chunks()) for name in table.column_names[::-1]
  ]
  while waiting:
    name, values = waiting.pop()
    if not pa.types.is_struct(values.type) or values.null_count:
      yield name, values
    else:
      waiting += [
        (f'{name}/{field.name}', values.field(i))
        for i, field in reversed([*enumerate(values.type)])
      ]


def _column(name, values, shapes) -> Column | None:
  types, kind = parquet.library().pa.types, values.type
  if types.is_binary(kind):
    height, width = cells.frames(values[:1].to_pylist()).shape[1:3]
    return Column('image', (height, width, 3), np.dtype(np.uint8))
  if types.is_string(kind):
    return Column('text')
  shape = _shape(name, kind, shapes)
  kind = kind.value_type if types.is_fixed_size_list(kind) else kind
  is_number = types.is_integer(kind) or types.is_floating(kind)
  if not is_number and not types.is_boolean(kind):
    return None
  return column(shape, np.dtype(kind.to_pandas_dtype()))


def _array(name, values, shapes) -> np.ndarray:
  if values is None:
    raise ValueError(f'{name} is missing')
  types, kind = parquet.library().pa.types, values.type
  inner = values.flatten() if types.is_fixed_size_list(kind) else values
  if values.null_count or inner.null_count:
    raise ValueError(f'{name} has rows without a value, expected one in each')
  if types.is_binary(kind):
    return cells.frames(values.to_pylist())
  numbers_or_texts = inner.to_numpy(zero_copy_only=False)
  return numbers_or_texts.reshape(len(values), *_shape(name, kind, shapes))


def _shape(name, kind, shapes) -> tuple[int, ...]:
  """Of one row: of a list that of the array which it is."""
  if not parquet.library().pa.types.is_fixed_size_list(kind):
    return ()
  shape = tuple(shapes.get(name, (kind.list_size,)))
  if math.prod(shape) != kind.list_size:
    raise ValueError(
      f'{name} has {kind.list_size} numbers a row, its space is {list(shape)}'
    )
  return shape
