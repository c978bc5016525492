"""What a LeRobot dataset calls the numbers of a column, in all its dialects.

`features.<column>.names` of `meta/info.json` was never fixed: recorders write
a list, {'motors': list}, {name: its place}, groups in groups, numbers of
motors, the name of the whole column, or nothing.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_GROUPS = 8  # In each other.
# A group of this name says only what its names are of, not which.
_OF_ALL = ('motors', 'axes', 'names')


def labels(feature: Mapping[str, Any]) -> tuple[str, ...]:
  """What each number of a feature is called; () where that is not said.

  A number of a motor is a name; those that only count from 0 say nothing. Where
  two groups share a name, all say their group: left_arm.gripper.
  """
  leaves = list(_leaves(feature.get('names')))
  names = [' '.join(name.split()) for _, name in leaves]
  count = math.prod(feature.get('shape') or ())
  is_said = all(names) and names != [str(i) for i in range(count)]
  if len(names) != count or not is_said:
    return ()
  groups = [group for group, _ in leaves]
  if len(set(names)) < count and len(set(groups)) > 1:
    names = [
      '.'.join((*g, name)) for g, name in zip(groups, names, strict=True)
    ]
  return tuple(names)


def _leaves(names, group=(), depth=0) -> Iterator[tuple[tuple[str, ...], str]]:
  """(groups it is in, name) of each in order; '' for what can be no name."""
  if depth > _MOST_GROUPS:
    yield group, ''
  elif isinstance(names, dict):
    if names and all(type(place) is int for place in names.values()):
      names = {'names': sorted(names, key=names.get)}
    for key, each in names.items():
      inner = group if key in _OF_ALL else (*group, key)
      yield from _leaves(each, inner, depth + 1)
  elif isinstance(names, list):
    for each in names:
      yield from _leaves(each, group, depth + 1)
  elif names is not None:
    is_name = isinstance(names, str) or type(names) in (int, float)
    yield group, str(names) if is_name else ''
