"""How long, rough and still episodes are, and which are unlike the rest.

A few numbers are kept of each episode, and nothing of its steps.
"""

from typing import NamedTuple

import numpy as np

_UNUSUAL = 6.0  # Robust deviations from the median, and
_SHARE = 0.5  # of the median.
_STUCK = 0.1  # Of the usual motion; less is none.
_RESTS = 0.5  # Share of steps that repeat the one before.
_GAP = 1.5  # Usual steps of time.
_NAMED = 8  # Episodes or gaps in a warning.


class Habit(NamedTuple):
  """Of an episode: mean sizes of change and of jerk [A], share of rests."""

  moves: np.ndarray
  jerks: np.ndarray
  rests: float


def habit(x_TA: np.ndarray) -> Habit:
  """What is kept of an episode; jerk is the third difference of its steps."""
  change_TA = np.diff(x_TA, axis=0)
  jerk_TA = np.diff(change_TA, n=2, axis=0)
  moves, jerks = (
    np.abs(each).mean(0).astype(np.float32)
    if len(each)
    else np.zeros(x_TA.shape[1], np.float32)
    for each in (change_TA, jerk_TA)
  )
  rests = (change_TA == 0).all(1).mean() if len(change_TA) else 0.0
  return Habit(moves, jerks, float(rests))


def outliers(x_E: np.ndarray) -> np.ndarray:
  """Which of the values are far from most: indices.

  Farther from the median than half of it and than six deviations, as the
  median distance tells them of a normal.
  """
  if not len(x_E):
    return np.zeros(0, int)
  median = np.median(x_E)
  distance_E = np.abs(x_E - median)
  usual = 1.4826 * np.median(distance_E)
  return np.flatnonzero(
    distance_E > np.maximum(_UNUSUAL * usual, _SHARE * np.abs(median))
  )


def roughness(habits: list[Habit], std_A: np.ndarray) -> np.ndarray:
  """Jerk over motion [E], in dimensions that vary; 0 of what does not move."""
  moves_E, jerks_E = (
    _mean(np.array([getattr(h, name) for h in habits]), std_A)
    for name in ('moves', 'jerks')
  )
  return np.divide(jerks_E, moves_E, np.zeros_like(moves_E), where=moves_E > 0)


def stuck(habits: list[Habit], std_A: np.ndarray) -> np.ndarray:
  """Which episodes all but rest, or mostly do where others do not: indices."""
  moves_E = _mean(np.array([h.moves for h in habits]), std_A)
  rests_E = np.array([h.rests for h in habits])
  still_E = moves_E < _STUCK * np.median(moves_E)
  still_E |= (rests_E > _RESTS) & (np.median(rests_E) < _RESTS / 2)
  return np.flatnonzero(still_E)


def gaps(time_T: np.ndarray) -> np.ndarray:
  """Steps after which time stands, runs back, or leaps: indices.

  A leap is longer than one and a half usual steps; any unit will do.
  """
  if len(time_T) < 3:
    return np.zeros(0, int)
  passed_T = np.diff(np.asarray(time_T, np.float64))
  usual = np.median(passed_T)
  return np.flatnonzero((passed_T <= 0) | (passed_T > _GAP * usual))


class Habits:
  """The episodes of a dataset, as they are read one after the other."""

  def __init__(self):
    self._lengths, self._by_stream, self._gaps = {}, {}, []

  def add(self, episode: int, length: int) -> None:
    """Takes the length of an episode."""
    self._lengths[episode] = length

  def moved(self, stream: str, episode: int, x_TA: np.ndarray) -> None:
    """Takes what a stream of numbers did in it."""
    self._by_stream.setdefault(stream, {})[episode] = habit(x_TA)

  def timed(self, episode: int, time_T: np.ndarray) -> None:
    """Takes the times of its steps."""
    usual = np.median(np.diff(time_T)) if len(time_T) > 1 else 0.0
    for step in gaps(time_T):
      passed = float(time_T[step + 1] - time_T[step])
      self._gaps.append((episode, int(step), passed, float(usual)))

  def warnings(self, std_by_stream: dict[str, np.ndarray]) -> list[str]:
    """Lines on episodes unlike the rest; deviations [A] are of the steps."""
    lines = self._unusual_lengths() + self._time_gaps()
    for stream, by_episode in self._by_stream.items():
      habits, episodes = [*by_episode.values()], [*by_episode]
      std_A = std_by_stream.get(stream)
      if std_A is None or not (std_A > 0).any():
        continue
      still = stuck(habits, std_A)
      if len(still):
        lines.append(
          f'{stream}: hardly anything moves in {_named(episodes, still)}'
        )
      rough_E = roughness(habits, std_A)
      rough = [i for i in outliers(rough_E) if rough_E[i] > np.median(rough_E)]
      rough = [i for i in rough if i not in still]
      if rough:
        lines.append(
          f'{stream}: unusual jerk in {_named(episodes, rough)}: '
          f'{rough_E[rough].max() / np.median(rough_E):.1f} times the median'
        )
    return lines

  def _unusual_lengths(self):
    lengths = np.array([*self._lengths.values()])
    odd = outliers(lengths)
    if not len(odd):
      return []
    some = ', '.join(map(str, lengths[odd[:_NAMED]]))
    return [
      f'unusual length of {_named([*self._lengths], odd)}: {some} steps; the '
      f'median is {np.median(lengths):g}'
    ]

  def _time_gaps(self):
    lines = [
      f'time: {passed:.4g} pass after step {step} of episode {episode}, '
      f'usually {usual:.4g}'
      for episode, step, passed, usual in self._gaps[:_NAMED]
    ]
    if len(self._gaps) > len(lines):
      lines.append(f'time: {len(self._gaps) - len(lines)} more gaps')
    return lines


def _mean(x_EA, std_A):
  """The mean over dimensions that vary, each in its deviations."""
  moving = std_A > 0
  return (x_EA[:, moving] / std_A[moving]).mean(1)


def _named(episodes, chosen):
  """'episodes 3, 5 and 7 more'."""
  names = [episodes[i] for i in chosen]
  text = ', '.join(map(str, names[:_NAMED]))
  more = f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
  return f'episode{"s" if len(names) > 1 else ""} {text}{more}'
