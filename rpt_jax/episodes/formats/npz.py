"""NumPy episodes: a folder of `.npz` files, one episode each.

Keys are streams, [T, ...] each, all of one T; what has another first axis in
most episodes (a goal, a calibration) is left out. 'instruction' is a string.
Keys may have a prefix, as in `observation/image`. Pickled objects are refused:
they are code.
"""

import os
import pathlib
import zipfile
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing, zipped
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import (
  LANGUAGE,
  column,
  reopen,
  short_names,
  sole_image,
  text,
)

MARK = 'an .npz file, or a folder of them'


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
    self._files = _files(root, split)
    about = listing.kept(path, f'npz 2 {split}', lambda: _about(self._files))
    if not about['columns']:
      raise ValueError(f'{path}: {self._files[0]} is no readable .npz')
    self.columns = {
      k: column(shape[1:], np.dtype(dtype))
      for k, (shape, dtype) in about['columns'].items()
    }
    self.left_out = about['left_out']
    names = short_names(sorted(self.columns), '/')
    self.defaults = sole_image(names, self.columns)
    self.lengths = np.array(about['lengths'], np.int64)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The named arrays of one file; no other is read."""
    file = self._files[index]
    try:
      _headers(file)
      with np.load(file) as arrays:
        return {c: arrays[c] for c in columns}
    except Exception as error:  # zipfile, zlib, NumPy: each has its own.
      raise CorruptEpisode(f'{file}: cannot be read ({error})') from error

  def metadata(self, index: int) -> dict[str, Any]:
    """The file, and its instruction where it has one."""
    metadata = {'file': str(self._files[index])}
    heads = _headers_if_readable(self._files[index]) or {}
    if name := next((name for name in LANGUAGE if name in heads), None):
      with np.load(self._files[index]) as arrays:
        metadata['instruction'] = text(arrays[name].reshape(-1)[0])
    return metadata


def _about(paths):
  """{'columns': {key: [shape, dtype]} of the first that can be read,

  'lengths': of each, 'left_out': {key: why}}, for JSON.
  """
  heads = [_headers_if_readable(path) for path in paths]
  readable = [head for head in heads if head]
  lengths = [_steps(head) for head in readable]
  columns, left_out = {}, {}
  for key, (shape, dtype) in (readable[0] if readable else {}).items():
    if not shape or dtype.kind not in 'biuf':
      continue
    firsts = [head[key][0][:1] if key in head else () for head in readable]
    agree = sum(f == (n,) for f, n in zip(firsts, lengths, strict=True))
    if 2 * agree > len(readable):
      columns[key] = shape, dtype.str
    else:
      left_out[key] = (
        f'{shape[0]} rows, where the episode has {lengths[0]} steps'
      )
  readable_keys = set(columns)
  return {
    'columns': columns,
    'lengths': [_steps(head or {}, readable_keys) for head in heads],
    'left_out': left_out,
  }


def _steps(head, keys=None) -> int:
  """The first axis that most arrays share, the largest of equals; 0 of none."""
  firsts = [
    shape[0]
    for key, (shape, dtype) in head.items()
    if shape and dtype.kind in 'biuf' and (keys is None or key in keys)
  ]
  return max(firsts, key=lambda n: (firsts.count(n), n), default=0)


def _files(root, split):
  folder = root if split == 'all' or root.is_file() else root / split
  paths = sorted(listing.visible(folder, '.npz'))
  if not paths or root.is_file() and split != 'all':
    splits = sorted({p.parent.name for p in root.glob('*/*.npz')})
    raise ValueError(
      f"{root}: no split {split!r}; it has {splits} and 'all': a split is a "
      'folder of .npz files'
    )
  return paths


def _headers_if_readable(file) -> dict[str, tuple] | None:
  """`_headers`, None where they cannot be read."""
  try:
    return _headers(file)
  except Exception:
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
