"""Minari's episodes in HDF5: groups of one file."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rpt_jax.episodes import cells, hdf5
from rpt_jax.episodes.columns import Column

MAIN = 'main_data.hdf5'
_AFTER = ('observations', 'infos')  # There is one after the last action, too.


class Groups:
  """Episodes `episode_<i>` of a folder's HDF5 file; opened for each read."""

  def __init__(self, folder):
    self.place = folder / MAIN

  def lengths(self) -> list[tuple[int, int]]:
    """(number, steps) of each, 0 where its rewards are not to be found."""
    with hdf5.opened(self.place) as file:
      matches = [re.fullmatch(r'episode_(\d+)', name) for name in file]
      numbers = sorted(int(match[1]) for match in matches if match)
      return [(number, self._steps(file, number)) for number in numbers]

  def columns(self, number: int) -> tuple[dict[str, Column], dict[str, str]]:
    """What a step of an episode holds, and why other arrays are left out.

    Errors as `cells.columns`.
    """
    with hdf5.opened(self.place) as file:
      group = hdf5.own(file, f'episode_{number}')
      columns = cells.columns(group)
      left_out = cells.left_out(group, columns)
    return (
      {_plain(name): column for name, column in columns.items()},
      {_plain(name): why for name, why in left_out.items()},
    )

  def read(
    self, number: int, columns: Mapping[str, Column], steps: int
  ) -> dict[str, np.ndarray]:
    """The columns of one episode, `steps` rows each; errors as `cells.read`."""
    with hdf5.opened(self.place) as file:
      group = hdf5.own(file, f'episode_{number}')
      names, arrays = [], {}
      group.visit(names.append)
      stored = {_plain(name): name for name in names}
      for name, column in columns.items():
        where = stored.get(name, name)
        rows = hdf5.own(group, where).shape[0]
        has_last = rows == steps + 1 and name.split('/')[0] in _AFTER
        part = slice(0, steps) if has_last else None
        arrays[name] = cells.read(group, where, column, part)
    return arrays

  def attributes(self, number: int) -> dict[str, Any]:
    """What is said of one episode, in words or as a number."""
    with hdf5.opened(self.place) as file:
      attributes = hdf5.own(file, f'episode_{number}').attrs
      return hdf5.scalars(attributes, int, float, str)

  def _steps(self, file, number):
    try:
      return hdf5.own(file, f'episode_{number}/rewards').shape[0]
    except (KeyError, ValueError, AttributeError, IndexError):
      return 0


def _plain(name):
  """`pair/0` for `pair/_index_0`, as HDF5 has it."""
  return re.sub(r'/_index_(\d+)', r'/\1', name)
