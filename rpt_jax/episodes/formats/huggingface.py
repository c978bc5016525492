"""Datasets of Hugging Face's `datasets`: Arrow streams and Parquet files.

A folder that `save_to_disk` wrote, one split or more, or the Parquet files of a
repository on the hub (https://huggingface.co/docs/datasets). A row is a step,
of the episode in its column `episode_index`, `episode_id` or `episode`, put in
order by `frame_index` or the like; or it is an episode, whose columns are lists
of frames and vectors. There a list may have one step more than the actions: the
last observation, which is left out. No rate is recorded.
"""

import os
import pathlib
import re
from typing import Any

import numpy as np

from rpt_jax.episodes import listing, parquet
from rpt_jax.episodes.columns import (
  FIELDS,
  LANGUAGE,
  cameras,
  fields_of,
)
from rpt_jax.episodes.errors import blaming
from rpt_jax.episodes.huggingface import cells, layout, tables
from rpt_jax.episodes.source import reopen

MARK = (
  'a folder of save_to_disk (dataset_info.json, state.json), or of Parquet '
  'files'
)
_STATE = ('state', 'states', 'proprio', 'qpos', 'observation', 'observations')


def sniff(path: pathlib.Path) -> float:
  """Sure of what `datasets` wrote; hardly of other Parquet files."""
  if (path / 'meta/info.json').is_file():
    return 0.0  # LeRobot's.
  saved = tables.is_saved(path)
  if saved or (path / tables.DICT).is_file():
    return 1.0
  file = next(tables.parquet_files(path), None)
  if file is None:
    return 0.0
  try:
    schema = parquet.library().parquet.read_schema(file)
  except (OSError, ValueError):  # Opening it says why.
    return 0.1
  return 1.0 if b'huggingface' in (schema.metadata or {}) else 0.1


def open(path: pathlib.Path, split: str, size=None):
  """The episodes of a split, or of all."""
  return HuggingFaceStore(path, split)


class HuggingFaceStore:
  """Episodes that are rows, or rows that lie together; see `source`."""

  fps = None

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    self._path = pathlib.Path(path)
    self._root = self._path if self._path.is_dir() else self._path.parent
    self.name, self.path = self._path.stem, str(path)
    self._splits = tables.chosen(self._path, split)
    self._files = [file for group in self._splits for file in group]
    self._tables = parquet.Tables()
    about = listing.kept(path, f'huggingface 1 {split}', self._look)
    self._starts = np.cumsum([0, *about['rows']])
    self._layout = layout.Layout(**about['layout'])
    self._first = about['first']
    self.lengths = np.array(about['lengths'], np.int64)
    self._cells = {
      name: cells.Cell(kind, tuple(shape), dtype)
      for name, (kind, shape, dtype) in about['cells'].items()
    }
    self.columns = {name: cell.column for name, cell in self._cells.items()}
    self.left_out = about['left_out']
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one episode, in the order of its steps."""
    read = self._read_row if self._layout.whole else self._read_rows
    with blaming(self.path, f'episode {index}'):
      return read(self._first[index], int(self.lengths[index]), columns)

  def metadata(self, index: int) -> dict[str, Any]:
    """Its name or number, what is to be done, and what its row says once."""
    names = [*self._layout.once, self._layout.episode]
    names = [*dict.fromkeys(filter(None, names))]
    about = {'episode': index}
    if names:
      row = self._table(names, self._first[index], 1)
      about |= {name: row[name][0].as_py() for name in names}
      about['episode'] = about.pop(self._layout.episode, index)
    if words := _words(self.columns):
      about['instruction'] = self.read(index, [words])[words][0]
    return about

  def _read_rows(self, first, count, columns):
    step = self._layout.step
    wanted = [*columns, *{step}.difference(columns, [''])]
    table = self._table(wanted, first, count)
    if step:
      numbers = parquet.dense(cells.plain(table[step]), ())
      if not np.isfinite(numbers).all():
        raise ValueError(f'{step}: found what is no number, expected the order')
      order = np.argsort(numbers, kind='stable')
      if len(twice := np.flatnonzero(np.diff(numbers[order]) <= 0)):
        number = numbers[order][twice[0]]
        raise ValueError(f'{step}: found {number} twice, expected each once')
      if (np.diff(order) != 1).any():
        table = table.take(order)
    return {c: self._values(c, table[c]) for c in columns}

  def _read_row(self, row, length, columns):
    table, arrays = self._table(columns, row, 1), {}
    for name in columns:
      value = cells.plain(table[name])
      if name in self._layout.once:
        arrays[name] = np.repeat(self._values(name, value), length)
        continue
      items = value.flatten()
      one_more = len(items) == length + 1 and name in self._layout.longer
      if len(items) != length + one_more:
        raise ValueError(f'{name}: found {len(items)} steps, expected {length}')
      arrays[name] = self._values(name, items[:length])
    return arrays

  def _values(self, name, items):
    try:
      return cells.values(items, self._cells[name], self._root)
    except (OSError, ValueError) as error:
      raise ValueError(f'{name}: {error}') from error

  def _table(self, columns, first, count):
    """So many rows, of whichever files they are in."""
    begin, end = np.searchsorted(
      self._starts, (first, first + count - 1), 'right'
    )
    parts = []
    for i in range(begin - 1, end):
      low, high = self._starts[i : i + 2].clip(first, first + count)
      parts.append(
        self._tables.rows(
          self._files[i], columns, int(low - self._starts[i]), int(high - low)
        )
      )
    table = parquet.library().pa.concat_tables(parts)
    if len(table) != count:
      raise ValueError(f'found {len(table)} rows, expected {count}')
    return table

  def _look(self):
    return layout.look(self._path, self._splits, self._tables, self._root)


def _last(name):
  return re.split('[./]', name)[-1]


def _words(columns) -> str:
  """The text that says what is to be done, '' where none does."""
  texts = {_last(n): n for n, c in columns.items() if c.kind == 'text'}
  exact = [name for name in LANGUAGE if name in texts]
  alike = [n for n in texts if re.search('instruction|language|task', n)]
  return next((texts[name] for name in [*exact, *alike]), '')


def _defaults(columns):
  """The cameras, and as 'state' what the robot feels."""
  streams = cameras([*columns], columns, '.')
  numbers = {_last(n): n for n, c in columns.items() if c.kind == 'values'}
  if felt := next((n for n in _STATE if n in numbers), None):
    streams['state'] = numbers[felt]
  return {**streams, **fields_of(FIELDS, columns)}
