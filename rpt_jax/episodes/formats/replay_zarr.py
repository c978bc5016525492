"""Replay buffers of Diffusion Policy and UMI: zarr arrays, end to end.

Layout: `data/<array>` [N, ...], the steps of all episodes, and
`meta/episode_ends` [E], where each of them ends; a folder `<name>.zarr`, or
`<name>.zarr.zip` (https://github.com/real-stanford/diffusion_policy,
https://github.com/real-stanford/universal_manipulation_interface). There may be
frames among the arrays as floats, 0 to 255. UMI has no actions: it makes them
of the poses of later steps. No rate is recorded.
"""

import os
import pathlib
import re
from typing import Any

import numpy as np

from rpt_jax.episodes import zarr
from rpt_jax.episodes.columns import (
  FIELDS,
  Column,
  cameras,
  column,
  felt,
  fields_of,
)
from rpt_jax.episodes.errors import blaming, no_split
from rpt_jax.episodes.source import reopen

MARK = "a .zarr or .zarr.zip with 'data' and 'meta/episode_ends', or its folder"
_SUFFIXES = ('.zarr', '.zarr.zip')
_ENDS = 'meta/episode_ends'
_DATA = 'data'
# UMI's, all of them, or the first of the others that is there.
_FELT = r'robot\d+_(eef_pos|eef_rot_axis_angle|gripper_width)'
_STATE = ('state', 'agent_pos', 'robot_eef_pose', 'obs')
_FRAMES = re.compile('img|image|rgb', re.IGNORECASE)


def sniff(path: pathlib.Path) -> float:
  """Sure of arrays that end episodes; rather so of what is called a zarr."""
  places = _places(path)
  if any((p / _ENDS / n).is_file() for p in places for n in zarr.HEADS):
    return 1.0
  return 0.9 * bool(places)


def open(path: pathlib.Path, split: str, size=None):
  """The episodes of the only replay buffer at a path, or right below it."""
  return ReplayStore(path, split)


class ReplayStore:
  """Episodes of a zarr; of its chunks those are read that they lie in.

  See `source`.
  """

  fps = None

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    if split != 'all':
      raise no_split(path, split, ())
    place = _only(pathlib.Path(path))
    self.name, self.path = _name(place), str(place)
    self._group = zarr.Group(place)
    heads = self._group.arrays(_DATA)
    self._ends = _ends(self._group, heads)
    self.lengths = np.diff(self._ends)
    self.left_out = {
      _short(name): head.fault for name, head in heads.items() if head.fault
    }
    self._heads = {
      _short(name): head for name, head in heads.items() if not head.fault
    }
    if not self._heads:
      faults = '; '.join(f'{k}: {why}' for k, why in self.left_out.items())
      raise ValueError(f'{place}: none of its arrays can be read: {faults}')
    self.columns = {n: _column(n, head) for n, head in self._heads.items()}
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The steps of one episode."""
    first, stop = (int(n) for n in self._ends[index : index + 2])
    with blaming(self.path, f'episode {index}'):
      return {c: self._rows(c, first, stop) for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """Where it lies among the steps of all: there are no words."""
    first, stop = (int(n) for n in self._ends[index : index + 2])
    return {'file': self.path, 'first': first, 'stop': stop}

  def _rows(self, name, first, stop):
    head = self._heads[name]
    rows = self._group.rows(f'{_DATA}/{name}', head, first, stop)
    if self.columns[name].kind == 'image' and head.dtype != np.uint8:
      return _bytes(name, rows)
    return rows


def _places(path: pathlib.Path) -> list[pathlib.Path]:
  """The path if it is called a zarr, or holds episodes; else those in it."""
  if path.is_file():
    return [path] if path.name.endswith(_SUFFIXES) else []
  if not path.is_dir():
    return []
  if path.name.endswith(_SUFFIXES) or (path / _ENDS).is_dir():
    return [path]
  return sorted(
    p
    for p in path.glob('*.zarr*')
    if p.name.endswith(_SUFFIXES) and not p.name.startswith('.')
  )


def _only(path):
  places = _places(path) or [path]
  if len(places) > 1:
    names = ', '.join(place.name for place in places)
    raise ValueError(f'{path}: holds {names}; give one')
  return places[0]


def _name(place):
  return place.name.removesuffix('.zip').removesuffix('.zarr')


def _short(name):
  return name.removeprefix(f'{_DATA}/')


def _ends(group, heads) -> np.ndarray:
  """[E + 1] int64: 0, then where each episode ends, if all arrays end there."""
  head = group.array(_ENDS)
  if head is None or not heads:
    missing = _ENDS if heads else f'array in {_DATA}'
    raise ValueError(
      f'{group.path}: found no {missing}, expected a replay buffer of '
      'Diffusion Policy or UMI'
    )
  if head.dtype.kind not in 'iu' or len(head.shape) != 1 or not head.shape[0]:
    raise ValueError(
      f'{group.path}: {_ENDS} is {head.dtype}{list(head.shape)}, expected '
      'integers, one for each episode; copy it again'
    )
  ends = group.rows(_ENDS, head, 0, head.shape[0]).astype(np.int64)
  ends = np.concatenate([[0], ends])
  if len(wrong := np.flatnonzero(np.diff(ends) < 0)):
    raise ValueError(
      f'{group.path}: {_ENDS}: episode {wrong[0]} ends at step '
      f'{ends[wrong[0] + 1]}, before it begins at {ends[wrong[0]]}; copy it '
      'again'
    )
  for name, each in heads.items():
    if each.shape[:1] != (ends[-1],):
      raise ValueError(
        f'{group.path}: {name} has the shape {list(each.shape)}, expected '
        f'{ends[-1]} steps, where {_ENDS} ends; copy the dataset again'
      )
  return ends


def _column(name, head) -> Column:
  is_float = head.dtype.kind == 'f' and len(head.shape) == 4
  if is_float and head.shape[3] == 3 and _FRAMES.search(name):
    return column(head.shape[1:], np.dtype(np.uint8))
  return column(head.shape[1:], head.dtype)


def _bytes(name, frames) -> np.ndarray:
  """Frames that were kept as floats, as uint8."""
  whole = (frames >= 0) & (frames <= 255) & (frames == np.rint(frames))
  if not whole.all():
    raise ValueError(
      f'{name}: found {frames[~whole][0]}, expected whole numbers from 0 to '
      '255, as of frames; write it again as uint8, or under another name'
    )
  return frames.astype(np.uint8)


def _defaults(columns):
  """The cameras, and as 'state' what the robot feels, or all there is."""
  streams, fields = cameras([*columns], columns), fields_of(FIELDS, columns)
  named = {*streams.values(), *fields.values()}
  others = felt([c for c in columns if c not in named], columns)
  usual = [c for c in _STATE if c in others][:1]
  usual = usual or [c for c in others if re.fullmatch(_FELT, c)]
  if usual or others:
    streams['state'] = '+'.join(usual or others)
  return {**streams, **fields}
