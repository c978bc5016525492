"""ALOHA, Mobile ALOHA and what followed them: an HDF5 file an episode.

Layout: `episode_<i>.hdf5` with `action` [T, A], `observations/qpos`, `qvel`
and `effort`, `observations/images/<camera>` uint8 [T, H, W, 3], or a JPEG a
step (https://github.com/tonyzhaozh/act, record_sim_episodes.py;
https://github.com/MarkFzp/act-plus-plus, compress_data.py). RDT keeps what was
to be done in a JSON beside the episodes, others in a dataset of the file.

Encoded frames become what their JPEG declares to be RGB. OpenCV takes what it
encodes for BGR: where a recorder gave it RGB, red and blue are exchanged in the
file, and here. `compress_len` is not read: a JPEG says where it ends, and files
differ in which camera a row is of. `base_action`, where a robot drives, is a
column: `action='action+base_action'`.
"""

import os
import pathlib
import re
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import cells, hdf5, listing
from rpt_jax.episodes.columns import (
  FIELDS,
  LANGUAGE,
  cameras,
  felt,
  fields_of,
)
from rpt_jax.episodes.errors import blaming
from rpt_jax.episodes.source import reopen

MARK = "an .hdf5 file with 'action' and 'observations', or a folder of them"
_SEEN, _CAMERAS = 'observations/', 'observations/images/'
_FELT = 'observations/qpos'
_LENGTHS = 'compress_len'  # [cameras, T], no column of a step.
_RDT = 'expanded_instruction_gpt-4-turbo.json'
_RATES = ('fps', 'hz', 'frequency', 'control_freq')
_MEND = 'copy the dataset again'
_FAULTS = (OSError, KeyError, RuntimeError, ValueError, TypeError)


def sniff(path: pathlib.Path) -> float:
  """Sure of a file, or of the first of a folder, that has both.

  Less so of names alone, as the first may be damaged.
  """
  if {'action', 'observations'} <= hdf5.top(path):
    return 1.0
  places = listing.visible(path, *hdf5.SUFFIXES)
  return 0.3 * any(re.fullmatch(r'episode_\d+', p.stem) for p in places)


def open(path: pathlib.Path, split: str, size=None):
  """The episodes, one a file; a split is a folder of its own."""
  return AlohaStore(path, split)


class AlohaStore:
  """Episodes of a file or more; opened for each read. See `source`.

  `fps` is None unless an attribute of the files says it.
  """

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    self.name, self.path = pathlib.Path(path).stem, str(path)
    root = pathlib.Path(path)
    self._files = listing.of_split(root, split, hdf5.files_below, MARK)
    about = listing.kept(path, f'aloha 1 {split}', lambda: _about(self._files))
    self.lengths = np.array(about['lengths'], np.int64)
    self.fps = about['fps']
    first = np.flatnonzero(self.lengths)[0]
    self.columns = _columns(self._files[first], self.lengths[first])
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one file; cameras are decoded only if asked for."""
    place, arrays = self._files[index], {}
    with blaming(place), hdf5.opened(place) as file:
      for name in columns:
        with blaming(place, name):
          rows = _rows(file, name, int(self.lengths[index]))
          arrays[name] = cells.read(file, name, self.columns[name], rows)
    return arrays

  def metadata(self, index: int) -> dict[str, Any]:
    """The file, its attributes, and what is to be done."""
    place = self._files[index]
    with blaming(place), hdf5.opened(place) as file:
      simple = hdf5.scalars(file.attrs, int, float, str)
      instruction = hdf5.said(file, LANGUAGE) or _rdt(place)
    return {**simple, 'file': str(place), 'instruction': instruction}


def _about(places):
  """{'lengths': of each, 0 if it cannot be read, 'fps': or None}, for JSON."""
  lengths, rates, faults = [], {}, []
  for place in places:
    try:
      with hdf5.opened(place) as file:
        lengths.append(_length(file))
        rates.setdefault(_rate(file), place)
    except _FAULTS as error:
      why = files.words(error).removeprefix(f'{place}: ')
      faults.append(f'{place}: cannot be read as an episode ({why})')
      lengths.append(0)
  if not any(lengths):
    raise ValueError(faults[0])
  rates.pop(None, None)
  if len(rates) > 1:
    (one, first), (other, second) = list(rates.items())[:2]
    raise ValueError(
      f'{first} says {one} Hz and {second} {other} Hz, expected one rate; open '
      'them apart'
    )
  return {'lengths': lengths, 'fps': next(iter(rates), None)}


def _length(file) -> int:
  """Steps of an episode, from the shape of its actions."""
  if 'action' not in file:
    raise ValueError(f"found no dataset 'action' among {sorted(file)}")
  length = hdf5.own(file, 'action').shape[0]
  if not length:
    raise ValueError("found no step in 'action'")
  return length


def _rate(file) -> float | None:
  for name in _RATES:
    rate = file.attrs.get(name)
    if isinstance(rate, np.number) and 0 < rate < 10_000:
      return float(rate)
  return None


def _rows(file, name, length) -> slice | None:
  """The steps of a column: an observation after the last action is left out."""
  rows = len(hdf5.own(file, name))
  return slice(length) if rows == length + 1 else None


def _columns(place, length):
  """What a step of one file holds: arrays of its length, or one step more."""
  with hdf5.opened(place) as file:
    columns = {
      k: c
      for k, c in cells.columns(file).items()
      if k != _LENGTHS and len(hdf5.own(file, k)) in (length, length + 1)
    }
  for name, column in columns.items():
    if name.startswith(_CAMERAS) and len(column.shape) < 2:
      raise ValueError(
        f'{place}: {name}: found {column.dtype}{["steps", *column.shape]}, '
        'expected frames [T, H, W, 3] or a JPEG or PNG a step'
      )
  return columns


def _defaults(columns):
  """The cameras, and as 'state' where the joints are, or all there is."""
  seen = sorted(c for c in columns if c.startswith(_SEEN))
  streams = cameras(seen, columns)
  if usual := [_FELT] if _FELT in columns else felt(seen, columns):
    streams['state'] = '+'.join(usual)
  fields = fields_of(FIELDS, columns)
  return {**streams, **fields}


def _rdt(place) -> str:
  """What RDT keeps for all episodes of a folder; of three wordings the first.

  Raises ValueError where that file is no JSON.
  """
  if not (place.parent / _RDT).is_file():
    return ''
  about = files.read_json(files.inside(place.parent, _RDT), mend=_MEND)
  return str(about.get('instruction') or '')
