"""Steps at one rate, of messages that come when they come.

Times are int64 nanoseconds.
"""

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

SECOND = 10**9
_SILENT, _PERIODS = 1.0, 5  # Seconds; as long may a topic be silent, or longer.
_MOST = 1000  # Steps that a message may stand for, on average.


class Run(NamedTuple):
  """A topic of a bag: how many messages, when, and what lies between two."""

  count: int
  first: int
  last: int
  period: float  # Seconds; 0 where there is no second one.

  @property
  def rate(self) -> float:
    """Messages a second; 0 where there is no second one."""
    return 1 / self.period if self.period else 0.0


def run(times_N: np.ndarray) -> Run:
  """The run of messages at ascending times."""
  if not len(times_N):
    return Run(0, 0, 0, 0.0)
  return Run(len(times_N), int(times_N[0]), int(times_N[-1]), period(times_N))


def period(times_N: np.ndarray) -> float:
  """Seconds between two messages of a topic that sends at a rate.

  Holes and messages that were lost do not count, if most gaps are alike: where
  messages come in bursts, none is.
  """
  if len(times_N) < 2:
    return 0.0
  gaps = np.diff(times_N) / SECOND
  median = np.median(gaps)
  alike = gaps[abs(gaps - median) <= median / 2]
  return float(np.mean(alike if len(alike) > 0.75 * len(gaps) else gaps))


def steady(runs: Mapping[str, Run], cameras: Collection[str]) -> set[str]:
  """The topics that say when an episode begins and ends.

  Cameras, and what comes once a second or more often; none that is there for
  less than half as long as the cameras (without them, as the longest topic).
  """
  lasting = {k: run.last - run.first for k, run in runs.items() if run.rate}
  frames = [lasting[k] for k in lasting if k in cameras]
  half = max(frames or lasting.values(), default=0) / 2
  return {
    k
    for k, length in lasting.items()
    if length >= half and (k in cameras or runs[k].rate >= 1)
  }


def usual(bags: Sequence[Mapping[str, Run]]) -> set[str]:
  """The topics that half of the bags have, of those that have any."""
  counts = collections.Counter(name for runs in bags for name in runs)
  half = sum(bool(runs) for runs in bags) / 2
  return {name for name, count in counts.items() if count >= half}


def slowest(bags: Sequence[Mapping[str, Run]], names: Collection[str]) -> float:
  """Messages a second of the slowest of these topics; of bags, the median."""
  rates = [[runs[k].rate for runs in bags if k in runs] for k in names]
  return min(float(np.median(rate)) for rate in rates)


def span(runs: Collection[Run], fps: float) -> tuple[int, int]:
  """When all of these have begun, and for how many steps all of them last.

  Raises ValueError for none, and for times that are no recording's.
  """
  start = max((run.first for run in runs), default=0)
  seconds = (min((run.last for run in runs), default=-1) - start) / SECOND
  if seconds < 0:
    raise ValueError(
      'has no time in which all of its cameras and topics that send at a rate '
      'do so, expected some; look at it with ros2 bag info'
    )
  steps = int(np.floor(seconds * fps + 1e-6)) + 1
  if steps > _MOST * min(run.count for run in runs):
    raise ValueError(
      f'found {min(run.count for run in runs)} messages of a topic over '
      f'{seconds:.0f} s, too few for {fps} steps a second; give a lower fps'
    )
  return start, steps


def times(start: int, steps: int, fps: float, delay: float) -> np.ndarray:
  """[steps] int64: when the steps are, `delay` seconds behind the start."""
  seconds = delay + np.arange(steps) / fps
  return start + np.round(seconds * SECOND).astype(np.int64)


def shown(times_N: np.ndarray, steps_T: np.ndarray) -> np.ndarray:
  """[T]: for each step the last message that came by then; -1: none has."""
  return np.searchsorted(times_N, steps_T, 'right') - 1


def age(times_N: np.ndarray, steps_T: np.ndarray) -> np.ndarray:
  """[T] seconds since the message that a step shows; inf where it has none."""
  which = shown(times_N, steps_T)
  ages = (steps_T - times_N[which]) / SECOND
  return np.where(which < 0, np.inf, ages)


def check(times_N: np.ndarray, steps_T: np.ndarray) -> None:
  """Raises ValueError where a topic is silent for longer than it may be."""
  most = max(_SILENT, _PERIODS * period(times_N))
  ages = age(times_N, steps_T)
  worst = int(np.argmax(ages))
  where = (steps_T[worst] - steps_T[0]) / SECOND
  if np.isinf(ages[worst]):
    late = (int(times_N[0]) - int(steps_T[0])) / SECOND
    raise ValueError(
      f'its first message comes {late:.2f} s after the first step, expected '
      'one before it; leave the topic or the episode out'
    )
  if ages[worst] > most:
    raise ValueError(
      f'has been silent for {ages[worst]:.2f} s at {where:.2f} s, expected a '
      f'message every {most:.2f} s; leave the topic or the episode out'
    )
