"""robomimic, robosuite and LIBERO: HDF5 files of demonstrations.

Layout: `data/demo_<i>/` with `obs/<name>` and `actions`, `rewards`, `dones`
([T, ...] each), `mask/<split>` with names of demos, and `data` attributes
`env_args` (JSON) (https://robomimic.github.io/docs/datasets/overview.html).
LIBERO has a folder of such files, one a task, whose `data` attribute
`problem_info` (JSON) holds what is to be done.
"""

import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax.episodes import cells, hdf5, listing
from rpt_jax.episodes.columns import (
  FIELDS,
  LANGUAGE,
  cameras,
  felt,
  fields_of,
)
from rpt_jax.episodes.errors import blaming, no_split
from rpt_jax.episodes.source import reopen

MARK = (
  "an .hdf5 file with a group 'data' of demonstrations, or a folder of them"
)
_STATE = (
  'obs/robot0_eef_pos',
  'obs/robot0_eef_quat',
  'obs/robot0_gripper_qpos',
)


def sniff(path: pathlib.Path) -> float:
  """Sure of a group `data`; of other HDF5 files it says what is missing."""
  if 'data' in hdf5.top(path):
    return 1.0
  return 0.1 * any(listing.visible(path, *hdf5.SUFFIXES))


def open(path: pathlib.Path, split: str, size=None):
  """The demonstrations of all files."""
  return RobomimicStore(path, split)


class RobomimicStore:
  """Demonstrations of a file or more; opened for each read. See `source`."""

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    self.name, self.path = pathlib.Path(path).stem, str(path)
    self._demos, lengths, self._abouts = [], [], {}
    for place in hdf5.files_below(pathlib.Path(path)):
      with hdf5.opened(place) as file:
        names = _demos(file, split, place)
        demos = [hdf5.own(file, f'data/{demo}') for demo in names]
        self._abouts[place] = _about(file['data'])
        if demos and not self._demos:
          self.columns = cells.columns(demos[0])
          self.left_out = cells.left_out(demos[0], self.columns)
        lengths += [_length(demo) for demo in demos]
      self._demos += [(place, name) for name in names]
    if not self._demos:
      mark = MARK if split == 'all' else f'a demonstration in mask/{split}'
      raise no_split(path, 'all', (), mark)
    self.lengths = np.array(lengths, np.int64)
    first = next(iter(self._abouts.values()))
    self.fps = first['fps']
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one demonstration; no other is read."""
    place, demo = self._demos[index]
    with blaming(place, demo), hdf5.opened(place) as file:
      group = hdf5.own(file, f'data/{demo}')
      return {c: cells.read(group, c, self.columns[c]) for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """The demo's name, its file and environment, and what is to be done."""
    place, demo = self._demos[index]
    with blaming(place, demo), hdf5.opened(place) as file:
      group = hdf5.own(file, f'data/{demo}')
      instruction = _language(group) or self._abouts[place]['instruction']
      simple = hdf5.scalars(group.attrs, int, float)
    return {
      **simple,
      'demo': demo,
      'file': str(place),
      'env_name': self._abouts[place]['env_name'],
      'instruction': instruction,
    }


def _about(data):
  """What a file says of all its demonstrations."""
  env_args = hdf5.attribute(data, 'env_args')
  env_kwargs = env_args.get('env_kwargs')
  fps = env_kwargs.get('control_freq') if isinstance(env_kwargs, dict) else None
  return {
    'fps': fps if type(fps) in (int, float) and fps > 0 else None,
    'env_name': str(env_args.get('env_name', '')),
    'instruction': _language(data),
  }


def _language(group) -> str:
  """What a group says is to be done, wherever it says it."""
  if said := hdf5.said(group, LANGUAGE):
    return said
  for name in ('ep_meta', 'problem_info'):
    about = hdf5.attribute(group, name)
    for key in LANGUAGE:
      if isinstance(about.get(key), str) and about[key]:
        return about[key]
  return ''


def _demos(file, split, path):
  data = hdf5.own(file, 'data') if 'data' in file else None
  if not hasattr(data, 'keys') or not len(data):
    raise ValueError(
      f"{path}: found {sorted(file)[:20]}, expected 'data' with demonstrations "
      "(robomimic, LIBERO), 'action' and 'observations' (ALOHA), or "
      "'observations', 'actions' and 'terminals' (D4RL); write it so"
    )
  names = list(data)
  masks = hdf5.own(file, 'mask') if 'mask' in file else {}
  if split != 'all':
    if split not in masks:
      raise no_split(path, split, masks)
    names = [bytes(name).decode() for name in hdf5.values(masks, split)]
    if missing := sorted(set(names) - set(data)):
      raise ValueError(
        f'{path}: mask/{split} names {missing[0]!r}, expected a demonstration '
        'in data; copy the file again'
      )
  return sorted(names, key=listing.natural)


def _defaults(columns):
  """The cameras, and as 'state' what the robot feels, or all there is."""
  seen = sorted(c for c in columns if c.startswith('obs/'))
  streams = cameras(seen, columns)
  usual = [c for c in _STATE if c in columns] or felt(seen, columns)
  usual = usual or felt([c for c in ('states',) if c in columns], columns)
  if usual:
    streams['state'] = '+'.join(usual)
  fields = fields_of(FIELDS, columns)
  return {**streams, **fields}


def _length(demo) -> int:
  """Steps of a demonstration, from the shape of its actions."""
  if 'actions' not in demo:
    return 0
  actions = hdf5.own(demo, 'actions')
  if not getattr(actions, 'shape', ()):
    raise ValueError(
      f'{demo.file.filename}: {demo.name}/actions is no array of steps, '
      'expected [T, A]; write the file again'
    )
  return actions.shape[0]
