"""robomimic and robosuite HDF5 files as episodes.

Layout: `data/demo_<i>/` with `obs/<name>` and `actions`, `rewards`, `dones`
([T, ...] each), `mask/<split>` with names of demos, and `data` attributes
`env_args` (JSON) (https://robomimic.github.io/docs/datasets/overview.html).
"""

import contextlib
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes.errors import CorruptEpisode, needs
from rpt_jax.episodes.source import Column, reopen, short_names, sole_image

_FIELDS = {'action': 'actions', 'reward': 'rewards', 'is_terminal': 'dones'}
_STATE = (
  'obs/robot0_eef_pos',
  'obs/robot0_eef_quat',
  'obs/robot0_gripper_qpos',
)


class Hdf5Store:
  """Demonstrations of one file; opened for each read. See `source`."""

  def __init__(self, path: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path), split)
    self.name, self.path = pathlib.Path(path).stem, str(path)
    with _open(path) as file:
      self._demos = _demos(file, split, path)
      demos = [_own(file, f'data/{demo}') for demo in self._demos]
      self._env_args = _attribute(file['data'], 'env_args', path)
      self.columns = _columns(demos[0])
      self.lengths = np.array([_length(demo) for demo in demos], np.int64)
    self.fps = self._env_args.get('env_kwargs', {}).get('control_freq')
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one demonstration; no other is read."""
    demo = self._demos[index]
    with _open(self.path) as file:
      try:
        group = _own(file, f'data/{demo}')
        return {c: _values(group, c) for c in columns}
      except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise CorruptEpisode(f'{self.path}: {demo}: {error}') from error

  def metadata(self, index: int) -> dict[str, Any]:
    """The demo's name and its environment's; the instruction if it has one."""
    demo = self._demos[index]
    with _open(self.path) as file:
      group = _own(file, f'data/{demo}')
      attributes, meta = group.attrs, _attribute(group, 'ep_meta', self.path)
      simple = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in attributes.items()
        if isinstance(v, np.generic | int | float)
      }
    return {
      **simple,
      'demo': demo,
      'env_name': self._env_args.get('env_name', ''),
      'instruction': meta.get('lang', ''),
    }


def _demos(file, split, path):
  if 'data' not in file or not len(_own(file, 'data')):
    raise ValueError(
      f"{path}: no group 'data' with demonstrations; it has {list(file)}, "
      'expected the layout of robomimic'
    )
  names = list(file['data'])
  masks = _own(file, 'mask') if 'mask' in file else {}
  if split != 'all':
    if split not in masks:
      raise ValueError(
        f"{path}: no split {split!r}; it has {sorted(masks)} and 'all'"
      )
    names = [bytes(name).decode() for name in _values(masks, split)]
    if missing := sorted(set(names) - set(file['data'])):
      raise ValueError(f'{path}: mask/{split} names {missing[0]}: not in data')
  return sorted(names, key=lambda n: [int(x) for x in re.findall(r'\d+', n)])


def _columns(demo):
  columns = {}

  def visit(name, item):
    shape = getattr(item, 'shape', ())
    if not shape or item.dtype.kind not in 'biuf':
      return
    is_image = item.dtype == np.uint8 and len(shape) == 4
    kind = 'image' if is_image else 'values'
    columns[name] = Column(kind, shape[1:], item.dtype)

  demo.visititems(visit)
  return columns


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
  return len(_own(demo, 'actions')) if 'actions' in demo else 0


def _own(group, name):
  """What a file calls `name`; ValueError where it lies in another file.

  HDF5 opens those by itself, whatever they are.
  """
  import h5py

  for part in name.split('/'):
    link = group.get(part, getlink=True)
    if link is not None and not isinstance(link, h5py.HardLink):
      raise ValueError(  # A soft link may lead through an external one.
        f'{group.file.filename}: {group.name}/{part} is a link, perhaps to '
        'another file, expected it in this one; write the file again'
      )
    group = group[part]
  stored = isinstance(group, h5py.Dataset)
  if stored and (group.external or group.is_virtual):
    raise ValueError(
      f'{group.file.filename}: {group.name} keeps its bytes in another file, '
      'expected them in this one; write the file again'
    )
  return group


def _values(group, name):
  """The array of a dataset, which must hold what it declares."""
  data = _own(group, name)
  chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
  declared, stored = max(data.nbytes, chunk), data.id.get_storage_size()
  files.holds(data.file.filename, data.name, declared, stored)
  return data[()]


def _attribute(group, name, path):
  """The object in an attribute that is JSON, {} where there is none."""
  try:
    value = json.loads(group.attrs.get(name, '{}'))
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{path}: {group.name}: attribute {name} is no JSON ({error})'
    ) from error
  return value if isinstance(value, dict) else {}


@contextlib.contextmanager
def _open(path):
  try:
    import h5py
  except ImportError as error:
    raise needs('h5py', 'hdf5') from error
  try:
    file = h5py.File(files.regular(path), 'r')
  except OSError as error:
    raise ValueError(
      f'{path}: not a readable HDF5 file ({error}); copy it again'
    ) from error
  with file:
    yield file
