"""Flat arrays: all episodes end to end, as D4RL and OGBench keep them.

Layout: `observations`, `actions`, `rewards`, ... of one length N in an HDF5
file (https://github.com/Farama-Foundation/D4RL, offline_env.py) or an `.npz`
(https://github.com/seohongpark/ogbench, ogbench/utils.py), or a folder of such
files. An episode ends after a step of `timeouts` or `terminals`, or where
`episode_ends`, `episode_lengths` or `lengths` say so; steps after the last
flag are an episode, too. `images` or `pixels` are frames beside, or instead of,
`observations`.

`terminals` are ends of the task where there are `timeouts` or `rewards` beside
them. OGBench has neither: its `terminals` say where a recording ends. The last
step of its episodes has an action whose outcome was not recorded.
"""

import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax.episodes import hdf5, listing, zipped
from rpt_jax.episodes.columns import cameras, column, felt
from rpt_jax.episodes.errors import blaming, no_split
from rpt_jax.episodes.source import reopen

MARK = (
  "an .hdf5 or .npz file with 'observations', 'actions' and 'terminals' of all "
  'episodes end to end, or a folder of them'
)
_OBSERVATIONS, _FRAMES = 'observations', ('images', 'pixels', 'image')
_FLAGS = ('timeouts', 'terminals')
_LISTS = ('episode_ends', 'episode_lengths', 'lengths')
_FIELDS = {'action': 'actions', 'reward': 'rewards'}
_ABOUT = 'metadata/'  # D4RL: weights of the policy that acted.
_LOOKED_AT = 8  # Files of a folder.
_VAL = '-val'  # OGBench: <name>.npz and <name>-val.npz.


def sniff(path: pathlib.Path) -> float:
  """Sure by the names of arrays, of HDF5 or of one of the first `.npz`."""
  if _is_flat(hdf5.top(path)):
    return 1.0
  archives = sorted(listing.visible(path, '.npz'), key=listing.natural)
  return float(any(_is_flat(_names(place)) for place in archives[:_LOOKED_AT]))


def open(path: pathlib.Path, split: str, size=None):
  """The episodes of all files; with names as OGBench's, 'train' and 'val'."""
  return FlatStore(path, split)


class FlatStore:
  """Episodes that lie end to end in a file or more; see `source`."""

  fps = None

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    self.name, self.path = pathlib.Path(path).stem, str(path)
    places = _files(pathlib.Path(path), split)
    self._parts = [_part(place) for place in places]
    self.columns = _columns(self._parts[0])
    for part in self._parts[1:]:
      _check_same(self.columns, _columns(part), part.path)
    ends = listing.kept(
      path, f'flat 1 {split}', lambda: [_ends(part) for part in self._parts]
    )
    self._file = np.repeat(np.arange(len(ends)), [len(e) for e in ends])
    self._first = np.concatenate([[0, *e[:-1]] for e in ends]).astype(np.int64)
    self.lengths = np.concatenate(ends).astype(np.int64) - self._first
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The rows of one episode, and of the columns asked for."""
    part = self._parts[self._file[index]]
    first, count = int(self._first[index]), int(self.lengths[index])
    arrays = {}
    for name in columns:
      with blaming(part.path, name):
        arrays[name] = part.rows(name, first, count)
    return arrays

  def metadata(self, index: int) -> dict[str, Any]:
    """The file of an episode, and the row of it where it begins."""
    part = self._parts[self._file[index]]
    return {'file': str(part.path), 'first': int(self._first[index])}


class _Hdf5:
  """The arrays of one HDF5 file, with the face of `zipped.Archive`."""

  def __init__(self, path):
    self.path, self.arrays = path, {}
    with hdf5.opened(path) as file:
      for name in file:
        hdf5.own(file, name)  # A link would be passed over in silence.
      for name in hdf5.columns(file):
        data = hdf5.own(file, name)
        self.arrays[name] = data.shape, data.dtype

  def rows(self, name, first=0, count=None):
    rows = slice(first, None if count is None else first + count)
    with hdf5.opened(self.path) as file:
      return hdf5.values(file, name, rows)


def _part(place):
  return (
    zipped.Archive(place) if place.suffix.lower() == '.npz' else _Hdf5(place)
  )


def _is_flat(names) -> bool:
  seen = {_OBSERVATIONS, *_FRAMES} & names
  return bool(seen) and 'actions' in names and bool({*_FLAGS, *_LISTS} & names)


def _names(place) -> set[str]:
  """The arrays of an `.npz`; none where it is damaged."""
  try:
    return {*zipped.Archive(place).arrays}
  except ValueError:
    return set()


def _files(root, split):
  places = hdf5.files_below(root) or sorted(listing.visible(root, '.npz'))
  if not places:
    raise no_split(root, 'all', (), MARK)
  of = {'all': places}
  if any(place.stem.endswith(_VAL) for place in places) and root.is_dir():
    of['val'] = [p for p in places if p.stem.endswith(_VAL)]
    of['train'] = [p for p in places if not p.stem.endswith(_VAL)]
  if not of.get(split):
    raise no_split(root, split, of, MARK)
  return of[split]


def _columns(part):
  """What a step of a file holds: arrays of numbers with a row for each.

  Raises ValueError where there is none, or one that belongs to it differs.
  """
  total = _total(part)
  columns = {}
  for name, (shape, dtype) in part.arrays.items():
    if dtype.kind not in 'biuf' or name in _LISTS or name.startswith(_ABOUT):
      continue
    if shape[:1] == (total,):
      columns[name] = column(shape[1:], dtype)
    elif _is_seen(name) or name in (*_FLAGS, *_FIELDS.values()):
      raise ValueError(
        f"{part.path}: {name} is {list(shape)}, 'actions' has {total} rows; "
        'expected as many; write the file again'
      )
  if not any(_is_seen(name) for name in columns):
    raise ValueError(
      f'{part.path}: found no observations among {sorted(part.arrays)}, '
      f'expected {_OBSERVATIONS!r} or one of {_FRAMES}'
    )
  return columns


def _total(part) -> int:
  shape, _ = part.arrays.get('actions', ((), None))
  if not shape or not shape[0]:
    raise ValueError(
      f"{part.path}: found no 'actions' with a step among "
      f'{sorted(part.arrays)}, expected {MARK}'
    )
  return shape[0]


def _is_seen(name):
  return name.split('/')[0] == _OBSERVATIONS or name in _FRAMES


def _check_same(columns, others, path):
  if columns != others:
    names = columns | others
    name = min(k for k in names if columns.get(k) != others.get(k))
    raise ValueError(
      f'{path}: {name} is {others.get(name) or "missing"}, expected '
      f'{columns.get(name) or "none"} as in the first file; open files of '
      'different kinds apart'
    )


def _ends(part) -> list[int]:
  """Where in a file its episodes end, each after the step before."""
  total = _total(part)
  for name in _LISTS:
    if name in part.arrays:
      return _listed(part, name, total)
  flags = [name for name in _FLAGS if name in part.arrays]
  if not flags:
    raise ValueError(
      f'{part.path}: found none of {(*_FLAGS, *_LISTS)}, expected one that '
      'says where episodes end'
    )
  is_end = np.zeros(total, bool)
  for name in flags:
    values = part.rows(name)
    if values.size != total or not np.isin(values, (0, 1)).all():
      raise ValueError(
        f'{part.path}: {name} is {values.dtype}{list(values.shape)}, expected '
        f'{total} numbers that are 0 or 1; write the file again'
      )
    is_end |= values.reshape(total).astype(bool)
  is_end[-1] = True
  return (np.flatnonzero(is_end) + 1).tolist()


def _listed(part, name, total):
  values = part.rows(name).reshape(-1)
  if values.dtype.kind in 'iu':
    ends = values if name == 'episode_ends' else np.cumsum(values)
    ends = ends.astype(np.int64)
    if (np.diff(ends, prepend=0) > 0).all() and ends[-1:].tolist() == [total]:
      return ends.tolist()
  raise ValueError(
    f"{part.path}: {name} does not lead to the {total} rows of 'actions', "
    'expected whole numbers that do; write the file again'
  )


def _defaults(columns):
  """The frames, and as 'state' the numbers that are observed."""
  seen = sorted(name for name in columns if _is_seen(name))
  streams = cameras(seen, columns)
  if rows := felt(seen, columns):
    streams['state'] = '+'.join(rows)
  fields = {k: c for k, c in _FIELDS.items() if c in columns}
  if 'terminals' in columns and {'timeouts', 'rewards'} & columns.keys():
    fields['is_terminal'] = 'terminals'
  return {**streams, **fields}
