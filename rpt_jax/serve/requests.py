"""What a robot asks for, whatever words its client has for it."""

import dataclasses
from typing import NamedTuple

import numpy as np

_MOST_STEP = 2**30
_LONGEST_TEXT = 4096


class Reset(NamedTuple):
  """An episode begins; `seed` is that of actions that are drawn."""

  seed: int = 0


@dataclasses.dataclass(frozen=True)
class Stamp:
  """When an observation was made, and what went on since the last one.

  `step` counts the robot's steps, which need not all be shown; None: as many
  later as the server was told are executed of a chunk. `time` is the robot's
  own clock, which is sent back. `executed` [K, A] or integers [K] is what was
  done in the K steps just before. An answer later than `within_ms` after the
  request came is of no use; 0: any is.
  """

  step: int | None = None
  time: float | None = None
  executed: np.ndarray | None = None
  within_ms: float = 0.0


class Act(NamedTuple):
  """An observation {name: array of one robot}, and its stamp.

  Another `session` than before begins an episode. `instruction` is what the
  robot was told to do, of which some policies read nothing.
  """

  observation: dict
  stamp: Stamp = Stamp()
  session: str = ''
  instruction: str = ''


def stamp(given) -> Stamp:
  """The stamp of a message; ValueError for what is none."""
  names = [field.name for field in dataclasses.fields(Stamp)]
  if not isinstance(given, dict) or set(given) - set(names):
    raise ValueError(
      f'stamp: found {_shown(given)}, expected a map of some of {names}'
    )
  read = Stamp(**given)
  if read.step is not None:
    step = whole(read.step, 'stamp: step', _MOST_STEP)
    read = dataclasses.replace(read, step=step)
  for name in ('time', 'within_ms'):
    value, optional = getattr(read, name), name == 'time'
    is_number = isinstance(value, int | float | np.number)
    if not is_number and not (optional and value is None):
      raise ValueError(f'stamp: {name} is {_shown(value)}, expected a number')
  if not read.within_ms >= 0:
    raise ValueError(
      f'stamp: within_ms is {read.within_ms}, expected 0 or more'
    )
  if read.executed is None:
    return read
  executed = np.asarray(read.executed)
  if executed.ndim not in (1, 2) or executed.dtype.kind not in 'iuf':
    raise ValueError(
      f'stamp: executed is {executed.dtype} {executed.shape}, expected actions '
      '[K, A], or integers [K]'
    )
  return dataclasses.replace(read, executed=executed)


def instruction(given) -> str:
  """What a robot was told; ValueError for what is no text of that kind."""
  if not isinstance(given, str) or len(given) > _LONGEST_TEXT:
    raise ValueError(
      f'prompt: found {_shown(given)}, expected a text of at most '
      f'{_LONGEST_TEXT} letters'
    )
  return given


def whole(value, what: str, most: int = 2**31 - 1) -> int:
  """A whole number from 0 to `most`; ValueError naming `what` for another."""
  is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not is_whole or not 0 <= value <= most:
    raise ValueError(
      f'{what} is {_shown(value)}, expected a whole number from 0 to {most}'
    )
  return int(value)


def _shown(value):
  return ' '.join(repr(value).split())[:100]
