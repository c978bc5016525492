"""NumPy episodes: a folder of `.npz` files, one episode each.

Keys are streams, [T, ...] each, all of one T, that of `action` (or `actions`)
where there is one; an observation after the last action is left out, and so is
what has another first axis in most episodes (a goal, a calibration).
'instruction' is a string. Keys may have a prefix, as in `observation/image`.
Pickled objects are refused: they are code.
"""

import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing, zipped
from rpt_jax.episodes.columns import (
  LANGUAGE,
  column,
  short_names,
  sole_image,
  text,
)
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import reopen

MARK = 'an .npz file, or a folder of them'
_FIELDS = {
  'action': ('action', 'actions'),
  'reward': ('reward', 'rewards'),
  'is_terminal': ('is_terminal',),
}


def sniff(path: pathlib.Path) -> float:
  """Rather sure of files of that name, whatever else lies beside them."""
  return 0.5 * any(listing.visible(path, '.npz'))


def open(path: pathlib.Path, split: str, size=None):
  """The episodes, one a file."""
  return ArrayStore(path, split)


class ArrayStore:
  """Episodes of a folder of `.npz`, or of one file; see `source`.

  A split is a folder of its own: `<path>/<split>/*.npz`.
  """

  fps = None

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    root = pathlib.Path(path)
    self.name, self.path = root.stem, str(path)
    self._files = listing.of_split(root, split, _files, MARK)
    about = listing.kept(path, f'npz 5 {split}', lambda: _about(self._files))
    if not about['columns']:
      raise ValueError(
        f'{path}: found no array [T, ...] of numbers in any .npz that can be '
        f'read, the first is {self._files[0]}; write them with np.savez'
      )
    self.columns = {
      k: column(shape[1:], np.dtype(dtype))
      for k, (shape, dtype) in about['columns'].items()
    }
    self.left_out, self._longer = about['left_out'], {*about['longer']}
    self.defaults = _defaults(self.columns)
    self.lengths = np.array(about['lengths'], np.int64)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The named arrays of one file; no other is read."""
    file = self._files[index]
    with files.reading(file, CorruptEpisode):
      _headers(file)
      with np.load(file) as arrays:
        return {c: self._rows(c, arrays[c], index) for c in columns}

  def _rows(self, key, array, index):
    """An observation after the last action is left out."""
    return array[: int(self.lengths[index])] if key in self._longer else array

  def metadata(self, index: int) -> dict[str, Any]:
    """The file, and its instruction where it has one."""
    file = self._files[index]
    metadata = {'file': str(file)}
    heads = _headers_if_readable(file) or {}
    kinds = {name: dtype.kind for name, (_, dtype) in heads.items()}
    if name := next((n for n in LANGUAGE if kinds.get(n, 'f') in 'OSU'), None):
      if kinds[name] == 'O':
        raise CorruptEpisode(
          f'{file}: {name} is a pickled object, which is code; write it as '
          'np.array(text)'
        )
      with files.reading(file, CorruptEpisode), np.load(file) as arrays:
        metadata['instruction'] = text(arrays[name].reshape(-1)[0])
    return metadata


def _about(paths):
  """What is known of the files, for JSON.

  'columns' {key: [shape, dtype]}, as the first file that has it, 'left_out'
  {key: why}, 'lengths' of each file, 0 where it cannot be read, 'longer' keys
  that have in most files one row more than there are actions.
  """
  heads = [_headers_if_readable(path) or {} for path in paths]
  readable = [head for head in heads if head]
  lengths = [_steps(head) for head in readable]
  columns, left_out, longer = {}, {}, []
  for key in dict.fromkeys(key for head in readable for key in head):
    shape, dtype = next(head[key] for head in readable if key in head)
    rows = [head[key][0][:1] if key in head else () for head in readable]
    ends = [
      sum(
        n == (length + more,) for n, length in zip(rows, lengths, strict=True)
      )
      for more in (0, 1)
    ]
    agree = sum(ends)
    if dtype.kind not in 'biuf':
      if shape and key not in LANGUAGE:
        left_out[key] = f'of type {dtype}, expected numbers'
    elif 2 * agree > len(readable):
      columns[key] = shape, dtype.str
      longer += [key] * (ends[1] > ends[0])
    elif shape:
      left_out[key] = (
        f'as many rows as steps in {agree} of {len(readable)} episodes, '
        'expected most'
      )
  return {
    'columns': columns,
    'lengths': [_steps(head, columns) for head in heads],
    'left_out': left_out,
    'longer': longer,
  }


def _steps(head, keys=None) -> int:
  """Rows of the action; where there is none, those that most arrays have.

  The most of equals; 0 of no array.
  """
  rows = {
    key: shape[0]
    for key, (shape, dtype) in head.items()
    if shape and dtype.kind in 'biuf' and (keys is None or key in keys)
  }
  actions = [n for key, n in rows.items() if _last(key) in _FIELDS['action']]
  counts = actions or [*rows.values()]
  return max(counts, key=lambda n: (counts.count(n), n), default=0)


def _last(key):
  return key.rsplit('/', 1)[-1]


def _defaults(columns):
  """Streams by the last part of their keys; fields by either name."""
  streams = sole_image(short_names(sorted(columns), '/'), columns)
  for field, names in _FIELDS.items():
    own = [key for key in columns if _last(key) in names]
    if len(own) == 1:
      streams = {k: c for k, c in streams.items() if c != own[0]}
      streams[field] = own[0]
  return streams


def _files(root):
  return sorted(listing.visible(root, '.npz'), key=listing.natural)


def _headers_if_readable(file) -> dict[str, tuple] | None:
  """`_headers`, None where they cannot be read.

  Raises OSError for what may be gone the next time, as too many open files.
  """
  try:
    return _headers(file)
  except Exception as error:
    if files.may_pass(error):
      raise
    return None


def _headers(file) -> dict[str, tuple]:
  """{key: (shape, dtype)} without reading arrays.

  Raises whatever an archive may raise, and ValueError for arrays that are
  larger than what is there.
  """
  with zipfile.ZipFile(files.regular(file)) as archive:
    entries = {e.filename.removesuffix('.npy'): e for e in archive.infolist()}
    heads = {k: zipped.header(archive, e) for k, e in entries.items()}
  return {k: (head.shape, head.dtype) for k, head in heads.items()}
