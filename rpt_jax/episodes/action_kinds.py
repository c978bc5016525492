"""What actions are: positions, changes of them, or changes of changes.

An action is correlated with what the robot feels next (a target that it then
reaches), with the change of that (a delta), with the change of the change, and
with a change that the state was taken from again: the last two are what a
delta of deltas looks like, and a policy on it goes astray. A gripper that
closes where its state opens is no such thing: it has a sign of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ABSOLUTE, DELTA = 'absolute', 'deltas'
TWICE, LESS_STATE = 'deltas of deltas', 'deltas of deltas (less the state)'
DOUBLE = (TWICE, LESS_STATE)
NEGATED = 'absolute, with the other sign'
KINDS = (ABSOLUTE, DELTA, *DOUBLE, NEGATED)
_GO_WITH = {  # What actions of a kind are like.
  ABSOLUTE: 'the state',
  DELTA: 'the change of the state',
  TWICE: 'the change of the change of the state',
  LESS_STATE: 'the change of the state less the state',
  NEGATED: 'the state turned round',
}
UNCLEAR, STILL = 'unclear', 'never changing'
LAGS = (0, 1, 2, -1)  # Steps by which an action is late, the usual first.
_LEAST = 0.5  # Correlation below which nothing is said.
# Below it no difference was taken twice: a robot that is slow to follow goes
# with the change of its change, too (of Meta-World's actions 0.78).
_SURE = 0.9
_FEWEST = 32  # Steps.
_REACH = 3  # Steps that candidates look back and ahead.


class Kind(NamedTuple):
  """What one dimension of the action is.

  `correlation` with its candidate, which is `lag` steps later than usual: an
  absolute action at 0 is the state of its own step, a delta at 0 the change to
  the next. `state` is the dimension of what is felt.
  """

  name: str
  correlation: float = 0.0
  lag: int = 0
  state: int = 0


class Correlations:
  """Sums over steps of candidates against actions; nothing else is kept."""

  def __init__(self):
    self._count, self._sums = 0, None

  def add(self, state_TP: np.ndarray, action_TA: np.ndarray) -> None:
    """Takes the steps of an episode that have all candidates, all finite."""
    x_TKLP, y_TA = candidates(state_TP), action_TA[_REACH:-_REACH]
    if not len(y_TA):
      return
    if self._sums is None:
      # About the first step, as sums of squares lose what is far from 0.
      self._zero = x_TKLP[0], y_TA[0]
      self._sums = [np.float64(0)] * 5
    x_TKLP, y_TA = x_TKLP - self._zero[0], y_TA - self._zero[1]
    self._count += len(y_TA)
    parts = (
      x_TKLP.sum(0),
      np.square(x_TKLP).sum(0),
      y_TA.sum(0),
      np.square(y_TA).sum(0),
      np.tensordot(x_TKLP, y_TA, (0, 0)),
    )
    self._sums = [a + b for a, b in zip(self._sums, parts, strict=True)]

  def result(self) -> np.ndarray | None:
    """[K, L, P, A] in -1..1, NaN of what never changes; None of few steps."""
    if self._count < _FEWEST:
      return None
    x, xx, y, yy, xy = (each / self._count for each in self._sums)
    spread_KLP, spread_A = (
      _spread(squares, mean) for squares, mean in ((xx, x), (yy, y))
    )
    covariance = xy - x[..., None] * y
    return covariance / (spread_KLP[..., None] * spread_A)


def candidates(state_TP: np.ndarray) -> np.ndarray:
  """What an action of each kind would be at each lag: [T - 6, K, L, P].

  Of the steps from the fourth to the fourth last.
  """
  count = max(len(state_TP) - 2 * _REACH, 0)

  def at(shift):
    return state_TP[_REACH + shift : _REACH + shift + count]

  lagged = []
  for lag in LAGS:
    now, after, before = at(lag), at(lag + 1), at(lag - 1)
    change = after - now
    kinds = now, change, change - (now - before), change - now, -now
    lagged.append(np.stack(kinds, axis=1))
  return np.stack(lagged, axis=2)


def kinds(correlation_KLPA: np.ndarray) -> list[Kind]:
  """What each dimension of an action is.

  Where it has as many dimensions as the state they are compared one with one,
  else each with the one that fits best.
  """
  *_, states, actions = correlation_KLPA.shape
  chosen = []
  for a in range(actions):
    own = range(a, a + 1) if states == actions else range(states)
    each_KLP = correlation_KLPA[..., own, a]
    if np.isnan(each_KLP).all():
      chosen.append(Kind(STILL))
      continue
    unsure_KLP = np.isin(KINDS, DOUBLE)[:, None, None] & (each_KLP < _SURE)
    each_KLP = np.where(unsure_KLP, -1, each_KLP)
    best = np.unravel_index(np.nanargmax(each_KLP), each_KLP.shape)
    value = float(each_KLP[best])
    name = KINDS[best[0]] if value >= _LEAST else UNCLEAR
    chosen.append(Kind(name, value, LAGS[best[1]], own[best[2]]))
  return chosen


def lines(kinds: Sequence[Kind], names: Sequence[str] = ()) -> list[str]:
  """A line on the dimensions of each kind, which are called `names`."""
  texts = []
  for name in dict.fromkeys(kind.name for kind in kinds):
    dims = [i for i, kind in enumerate(kinds) if kind.name == name]
    each = [kinds[i] for i in dims]
    text = f'action {spans(dims, names)}: {name}'
    if name in KINDS:
      when = ' or '.join(_when(lag) for lag in sorted({k.lag for k in each}))
      low = min(kind.correlation for kind in each)
      text += f', like {_GO_WITH[name]} {when} (correlation {low:.2f} or more)'
    texts.append(text)
  return texts


def _when(lag):
  """0, 1, 2 or -1 steps from an action."""
  count = 'one step' if abs(lag) == 1 else f'{lag} steps'
  return f'{count} {"later" if lag > 0 else "before"}' if lag else 'at once'


def warnings(kinds: Sequence[Kind], names: Sequence[str] = ()) -> list[str]:
  """A line where differences were taken twice."""
  twice = [i for i, kind in enumerate(kinds) if kind.name in DOUBLE]
  if not twice:
    return []
  return [
    f'action {spans(twice, names)}: a difference was taken twice; use what was '
    'recorded as it is, or policies go astray'
  ]


def spans(numbers: Sequence[int], names: Sequence[str] = ()) -> str:
  """'[0-3, 5]' of 0, 1, 2, 3 and 5; what the ends are called in brackets."""
  parts, numbers = [], list(numbers)
  for number in numbers:
    if parts and parts[-1][-1] == number - 1:
      parts[-1] = parts[-1][0], number
    else:
      parts.append((number,))
  text = f'[{", ".join("-".join(map(str, part)) for part in parts)}]'
  if names:
    called = (' to '.join(names[i] for i in part) for part in parts)
    text += f' ({", ".join(called)})'
  return text


def _spread(squares, mean):
  """The deviation, NaN where there is none but rounding."""
  variance = squares - mean**2
  return np.sqrt(np.where(variance > 1e-10 * squares, variance, np.nan))
