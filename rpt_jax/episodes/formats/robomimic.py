"""robomimic, robosuite and LIBERO: HDF5 files of demonstrations.

Layout: `data/demo_<i>/` with `obs/<name>` and `actions`, `rewards`, `dones`
([T, ...] each), `mask/<split>` with names of demos, and `data` attributes
`env_args` (JSON) (https://robomimic.github.io/docs/datasets/overview.html).
LIBERO has a folder of such files, one a task, whose `data` attribute
`problem_info` (JSON) holds what is to be done.
"""

import contextlib
import os
import pathlib
import re
from typing import Any

import numpy as np

from rpt_jax.episodes import hdf5, listing
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import (
  reopen,
  short_names,
  sole_image,
  text,
)

MARK = (
  "an .hdf5 file with a group 'data' of demonstrations, or a folder of them"
)
_FIELDS = {'action': 'actions', 'reward': 'rewards', 'is_terminal': 'dones'}
_LANGUAGE = ('lang', 'language_instruction', 'language', 'instruction')
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
        if not self._demos:
          self.columns = hdf5.columns(demos[0])
        lengths += [_length(demo) for demo in demos]
      self._demos += [(place, name) for name in names]
    self.lengths = np.array(lengths, np.int64)
    first = next(iter(self._abouts.values()))
    self.fps = first['fps']
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one demonstration; no other is read."""
    place, demo = self._demos[index]
    with _faults(place, demo), hdf5.opened(place) as file:
      group = hdf5.own(file, f'data/{demo}')
      return {c: hdf5.values(group, c) for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """The demo's name, its file and environment, and what is to be done."""
    place, demo = self._demos[index]
    with _faults(place, demo), hdf5.opened(place) as file:
      group = hdf5.own(file, f'data/{demo}')
      instruction = _language(group) or self._abouts[place]['instruction']
      simple = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in group.attrs.items()
        if isinstance(v, np.generic | int | float)
      }
    return {
      **simple,
      'demo': demo,
      'file': str(place),
      'env_name': self._abouts[place]['env_name'],
      'instruction': instruction,
    }


@contextlib.contextmanager
def _faults(place, demo):
  """What goes wrong within, as a CorruptEpisode that names where."""
  try:
    yield
  except (OSError, KeyError, RuntimeError, ValueError) as error:
    raise CorruptEpisode(f'{place}: {demo}: {error}') from error


def _about(data):
  """What a file says of all its demonstrations."""
  env_args = hdf5.attribute(data, 'env_args')
  env_kwargs = env_args.get('env_kwargs')
  fps = env_kwargs.get('control_freq') if isinstance(env_kwargs, dict) else None
  return {
    'fps': fps if isinstance(fps, int | float) and fps > 0 else None,
    'env_name': str(env_args.get('env_name', '')),
    'instruction': _language(data),
  }


def _language(group) -> str:
  """What a group's attributes say is to be done, wherever they say it."""
  for name in _LANGUAGE:
    if name in group.attrs:
      return text(group.attrs[name])
  for name in ('ep_meta', 'problem_info'):
    about = hdf5.attribute(group, name)
    for key in _LANGUAGE:
      if about.get(key):
        return str(about[key])
  return ''


def _demos(file, split, path):
  if 'data' not in file or not len(hdf5.own(file, 'data')):
    raise ValueError(
      f"{path}: no group 'data' with demonstrations; it has {list(file)}, "
      'expected the layout of robomimic'
    )
  names = list(file['data'])
  masks = hdf5.own(file, 'mask') if 'mask' in file else {}
  if split != 'all':
    if split not in masks:
      raise ValueError(
        f"{path}: no split {split!r}; it has {sorted(masks)} and 'all'"
      )
    names = [bytes(name).decode() for name in hdf5.values(masks, split)]
    if missing := sorted(set(names) - set(file['data'])):
      raise ValueError(f'{path}: mask/{split} names {missing[0]}: not in data')
  return sorted(names, key=lambda n: [int(x) for x in re.findall(r'\d+', n)])


def _defaults(columns):
  """The cameras, and as 'state' what the robot feels, or all there is."""
  seen = sorted(c for c in columns if c.startswith('obs/'))
  images = [c for c in seen if columns[c].kind == 'image']
  streams = sole_image(short_names(images, '/'), columns)
  felt = [c for c in _STATE if c in columns]
  felt = felt or [c for c in seen if c not in images]
  felt = felt or [c for c in ('states',) if c in columns]
  if felt:
    streams['state'] = '+'.join(felt)
  fields = {k: c for k, c in _FIELDS.items() if c in columns}
  return {**streams, **fields}


def _length(demo) -> int:
  """Steps of a demonstration, from the shape of its actions."""
  return len(hdf5.own(demo, 'actions')) if 'actions' in demo else 0
