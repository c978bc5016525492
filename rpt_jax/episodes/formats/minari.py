"""Minari: episodes of Gymnasium environments, in HDF5, Arrow or Parquet.

Layout: `<id>/data/` with a `metadata.json` and `main_data.hdf5`, whose groups
`episode_<i>` hold `observations`, `actions`, `rewards`, `terminations`,
`truncations` and `infos`; or a folder `<i>/` an episode with a table of the
same columns (https://minari.farama.org/content/dataset_standards). Before 0.5
what is said of all lies in attributes of the HDF5 file.

Dicts and tuples become columns `observations/<key>`, `observations/<i>`.
Observations and infos have one row more than actions: the last one, which no
action follows, is left out. Nothing says how fast an environment ran.
"""

import contextlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import hdf5, listing
from rpt_jax.episodes.columns import (
  LANGUAGE,
  cameras,
  felt,
  text,
)
from rpt_jax.episodes.errors import blaming, no_split
from rpt_jax.episodes.minari.groups import MAIN, Groups
from rpt_jax.episodes.minari.tables import ABOUT, Tables
from rpt_jax.episodes.source import reopen

MARK = "a folder with Minari's data/main_data.hdf5 or data/metadata.json"
_FOLDER = 'data'
_KEYS = 'total_episodes', 'data_format'
_SEEN, _DONE = 'observations', 'actions'
_GOAL = 'observations/observation'  # Beside goals, in gymnasium-robotics.
_FIELDS = {'reward': 'rewards', 'is_terminal': 'terminations'}


def sniff(path: pathlib.Path) -> float:
  """Sure of Minari's own file, in the folder or in its folder `data`."""
  return float(_place(path) is not None)


def open(path: pathlib.Path, split: str, size=None):
  """All episodes; ValueError for another split than 'all'."""
  if split != 'all':
    raise no_split(path, split, ())
  return MinariStore(path)


class MinariStore:
  """Episodes of one dataset: its folder, or the folder `data`; see `source`."""

  fps = None

  def __init__(self, path: str | os.PathLike):
    self._arguments, self.path = (str(path),), str(path)
    place = _place(pathlib.Path(path))
    if place is None:
      raise no_split(path, 'all', (), MARK)
    self._about = _about(place)
    self.name = str(self._about.get('dataset_id') or place.parent.name)
    kind = self._about.get('data_format')
    if kind not in ('hdf5', 'arrow', 'parquet'):
      raise ValueError(
        f'{place}: data_format is {kind!r}, expected hdf5, arrow or parquet'
      )
    is_file = kind == 'hdf5'
    self._data = Groups(place) if is_file else Tables(place, kind, self._about)
    # JSON would make texts of numbers that are keys.
    pairs = listing.kept(place, 'minari 1', lambda: self._data.lengths())
    self._numbers = [number for number, _ in pairs]
    self.lengths = np.array([steps for _, steps in pairs], np.int64)
    expected = self._about.get('total_episodes')
    if len(pairs) != expected or not self.lengths.any():
      raise ValueError(
        f'{place}: {np.count_nonzero(self.lengths)} of {len(pairs)} episodes '
        f'have steps, its metadata count {expected}; copy the dataset again'
      )
    first = np.flatnonzero(self.lengths)[0]
    self.columns, self.left_out = self._data.columns(self._numbers[first])
    self.defaults = _defaults(self.columns)
    names = {'action': _DONE} | _FIELDS
    if missing := names.keys() - self.defaults.keys():
      raise ValueError(
        f'{place}: found no {names[sorted(missing)[0]]!r} among '
        f'{sorted(self.columns)}, expected the actions, rewards and '
        'terminations of Minari'
      )

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one episode, without the last observation."""
    asked = {name: self.columns[name] for name in columns}
    with self._named(index) as number:
      if not asked:
        return {}
      return self._data.read(number, asked, int(self.lengths[index]))

  def metadata(self, index: int) -> dict[str, Any]:
    """What is said of an episode, its environment, and what is to be done."""
    said = [
      c
      for c, column in self.columns.items()
      if column.kind == 'text' and c.rsplit('/', 1)[-1] in LANGUAGE
    ]
    rows = self.read(index, said[:1])
    with self._named(index) as number:
      attributes = self._data.attributes(number)
    words = [*(x[0] for x in rows.values()), *map(attributes.get, LANGUAGE)]
    words = [text(each) for each in words if each is not None]
    return {
      **attributes,
      'env_name': _env_name(self._about),
      'instruction': next(filter(None, words), ''),
    }

  @contextlib.contextmanager
  def _named(self, index):
    """The number of an episode, by which any fault of it is named."""
    number = self._numbers[index]
    with blaming(self._data.place, f'episode {number}'):
      yield number


def _place(path) -> pathlib.Path | None:
  """The folder of the episodes, where `path` is one or leads to one."""
  path = path.parent if path.name == MAIN else path
  for folder in (path, path / _FOLDER):
    if (folder / MAIN).is_file():
      return folder
    with contextlib.suppress(ValueError, OSError):
      files.read_json(folder / ABOUT, *_KEYS, most=files.MANIFEST)
      return folder
  return None


def _about(folder) -> dict[str, Any]:
  """What is said of all episodes, in either place."""
  if (folder / ABOUT).is_file():
    mend = 'copy the dataset again'
    path = folder / ABOUT
    return files.read_json(path, *_KEYS, mend=mend, most=files.MANIFEST)
  with hdf5.opened(folder / MAIN) as file:
    return {k: v for k, v in file.attrs.items()} | {'data_format': 'hdf5'}


def _env_name(about) -> str:
  try:
    return str(json.loads(about.get('env_spec') or '{}').get('id', ''))
  except (AttributeError, TypeError, ValueError):
    return ''


def _defaults(columns):
  """The cameras, 'state' from all other numbers, and actions side by side."""
  seen = [c for c in sorted(columns, key=_order) if c.split('/')[0] == _SEEN]
  streams = cameras(seen, columns)
  rows = felt(seen, columns)
  rows = [_GOAL] if _GOAL in rows else rows
  done = [c for c in sorted(columns, key=_order) if c.split('/')[0] == _DONE]
  if rows:
    streams['state'] = '+'.join(rows)
  if done:
    streams['action'] = '+'.join(done)
  return streams | {k: c for k, c in _FIELDS.items() if c in columns}


def _order(name):
  """Keys of a dict as they are written, places in a tuple by their numbers."""
  return [(len(p) * p.isdecimal(), p) for p in name.split('/')]
