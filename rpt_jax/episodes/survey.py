"""What a dataset holds, and what in it looks wrong.

Numbers are read from every episode, frames from some of them, spread evenly.
Nothing is mended: a warning says what was seen and where.
"""

import collections
import hashlib
from typing import NamedTuple

import numpy as np

from rpt_jax.episodes import action_kinds, advice, habits, stride
from rpt_jax.episodes.columns import STEP_FIELDS
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.statistics import Moments, Statistics
from rpt_jax.episodes.survey_frames import Pictures

_JUMP = 8.0  # Standard deviations of a stream's steps, and
_REACH = 0.5  # of the range between its quantiles .01 and .99.
_FEW = 3  # Distinct values of what is a switch, not a quantity.
_SATURATED = 0.2  # Share of steps at the least or the largest value.


class Stream(NamedTuple):
  """One stream: kind, dtype and shape of a step, and its numbers.

  `statistics` and `rows` (a sample [N, A]) are None for cameras without any
  readable frame; a camera's are of the mean brightness of its frames.
  """

  kind: str
  dtype: str
  shape: tuple[int, ...]
  statistics: Statistics | None
  rows: np.ndarray | None


class Survey(NamedTuple):
  """A dataset at a glance; `frames` is {camera: {episode: [F, H, W, 3]}}.

  `black` are cameras that have shown nothing; `actions` says what actions are,
  `advice` what suits them; `stride` is that of differences for units; `labels`
  {stream: what its numbers are called} where the dataset says.
  """

  name: str
  path: str
  fps: float | None
  lengths: np.ndarray
  streams: dict[str, Stream]
  instructions: dict[str, int]
  frames: dict[str, dict[int, np.ndarray]]
  corrupt: dict[int, str]
  warnings: list[str]
  black: set[str]
  actions: list[str]
  advice: list[str]
  stride: int | None
  labels: dict[str, tuple[str, ...]]


def survey(source, image_episodes: int = 8) -> Survey:
  """Reads a source: all its numbers, the frames of `image_episodes`."""
  columns = {
    name: column
    for name, column in source.streams.items()
    if column.kind != 'text'
  }
  values = [k for k, c in columns.items() if c.kind == 'values']
  cameras = [k for k, c in columns.items() if c.kind == 'image']
  numbers = _Numbers(source, values)
  pictures = Pictures(source, cameras, alone=not values)
  for index in range(len(source)):
    numbers.read(index)
  count = min(len(source), image_episodes)
  for index in np.unique(np.linspace(0, len(source) - 1, count).astype(int)):
    pictures.read(int(index))
  parts = {**numbers.moments, **pictures.moments}
  streams = {
    name: Stream(c.kind, str(c.dtype), c.shape, *_numbers_of(parts[name]))
    for name, c in columns.items()
  }
  corrupt = {**numbers.corrupt, **pictures.corrupt}
  warnings = [f'episode {i} cannot be read: {e}' for i, e in corrupt.items()]
  warnings += [f'{c} is left out: {why}' for c, why in source.left_out.items()]
  warnings += source.warnings + numbers.warnings() + pictures.warnings()
  kinds, steps = numbers.kinds(), _stride(numbers, pictures)
  names = source.labels.get('action', ())
  warnings += action_kinds.warnings(kinds, names)
  action = streams.get('action')
  return Survey(
    name=source.name,
    path=source.path,
    fps=source.fps,
    lengths=numbers.lengths(),
    streams=streams,
    instructions=dict(numbers.instructions.most_common()),
    frames=pictures.frames,
    corrupt=corrupt,
    warnings=warnings,
    black=pictures.black,
    actions=action_kinds.lines(kinds, names),
    advice=advice.lines(action.statistics if action else None, steps, names),
    stride=steps,
    labels=source.labels,
  )


def _stride(numbers, pictures):
  """The proposed stride, of frames where there are some, or of the state."""
  cameras = sum(pictures.products.values())
  for products in (cameras, numbers.products):
    if np.ndim(products):
      steps = stride.propose(stride.autocorrelation(products))
      if steps:
        return steps
  return None


class _Numbers:
  """What is gathered from the streams that are no cameras."""

  def __init__(self, source, fields):
    self._source, self._fields = source, fields
    self._labels = source.labels
    action = source.streams.get('action')
    self._discrete = action is not None and action.dtype.kind in 'biu'
    self.moments = {k: Moments() for k in fields}
    self._steps = {k: Moments() for k in fields}
    self._largest = {}  # {stream: (jump [A], episode [A], step [A])}
    self._not_finite = collections.Counter()
    self._first_seen, self._copies, self._odd = {}, [], []
    self._lengths = {}
    self.instructions = collections.Counter()
    self.corrupt, self._habits = {}, habits.Habits()
    self._correlations = action_kinds.Correlations()
    self.products = 0.0  # Of the state, as `stride` sums them.

  def read(self, index):
    try:
      arrays = self._source.read(index, self._fields, finite=False)
      self.instructions[self._source.metadata(index)['instruction']] += 1
      time_T = self._source.times(index)
    except CorruptEpisode as error:
      self.corrupt[index] = str(error)
      return
    length = int(self._source.lengths[index])
    self._lengths[index] = len(next(iter(arrays.values()), range(length)))
    if self._lengths[index] != length:
      self._odd.append(index)
    self._compare(index, arrays)
    self._habits.add(index, self._lengths[index])
    if time_T is not None:
      self._habits.timed(index, time_T)
    arrays = {
      name: x.reshape(len(x), -1).astype(np.float64)
      for name, x in arrays.items()
    }
    for name, x_TA in arrays.items():
      self._add(index, name, x_TA)
    self._relate(arrays.get('state'), arrays.get('action'))

  def _relate(self, state_TP, action_TA):
    """What the state says of itself, and of actions."""
    if state_TP is None or not np.isfinite(state_TP).all():
      return
    self.products = self.products + stride.products(state_TP)
    if action_TA is not None and np.isfinite(action_TA).all():
      self._correlations.add(state_TP, action_TA)

  def kinds(self) -> list[action_kinds.Kind]:
    """What actions are, where there are numbers enough to tell."""
    correlation_KLPA = self._correlations.result()
    if correlation_KLPA is None or self._discrete:
      return []
    return action_kinds.kinds(correlation_KLPA)

  def lengths(self) -> np.ndarray:
    return np.array(list(self._lengths.values()), np.int64)

  def warnings(self) -> list[str]:
    lines = [
      f'{name}: {count} steps are NaN or infinite'
      for name, count in self._not_finite.items()
    ]
    for first, copy in self._copies:
      lines.append(f'episode {copy} is a copy of episode {first}')
    for index in self._odd:
      lines.append(
        f'episode {index} has {self._lengths[index]} steps, its metadata says '
        f'{self._source.lengths[index]}'
      )
    std = {k: m.result().std for k, m in self._steps.items() if m.count}
    lines += self._habits.warnings(std)
    for name in self._fields:
      lines += self._warnings_of(name)
    return lines

  def _add(self, index, name, x_TA):
    finite_T = np.isfinite(x_TA).all(-1)
    if not finite_T.all():
      self._not_finite[name] += int((~finite_T).sum())
    x_TA = x_TA[finite_T]
    if not x_TA.size:
      return
    self.moments[name].add(x_TA)
    if name in ('state', 'action'):
      self._habits.moved(name, index, x_TA)
    if len(x_TA) > 1:
      steps_TA = np.diff(x_TA, axis=0)
      self._steps[name].add(steps_TA)
      self._note_largest(index, name, np.abs(steps_TA))

  def _note_largest(self, index, name, jumps_TA):
    here = (jumps_TA.max(0), np.full(jumps_TA.shape[1], index))
    here = (*here, jumps_TA.argmax(0))
    before = self._largest.get(name, here)
    larger = here[0] > before[0]
    self._largest[name] = tuple(
      np.where(larger, new, old) for new, old in zip(here, before, strict=True)
    )

  def _compare(self, index, arrays):
    names = [k for k in arrays if k not in STEP_FIELDS or k == 'action']
    if not names:
      return
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
      digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    first = self._first_seen.setdefault(digest.digest(), index)
    if first != index:
      self._copies.append((first, index))

  def _warnings_of(self, name):
    one, rows = _numbers_of(self.moments[name])
    if one is None or name in ('reward', 'discount', 'is_terminal'):
      return []
    lines = []
    if (constant := np.flatnonzero(one.max == one.min)).size:
      which = advice.few(constant, self._labels.get(name, ()))
      lines.append(f'{name}: constant dimensions {which}')
    switches = np.array([len(np.unique(x)) <= _FEW for x in rows.T])
    if name in self._largest:
      reach = _REACH * (one.q99 - one.q01)
      lines += self._jumps(name, reach, ~switches)
    if name == 'action':
      ends = (rows == one.min) | (rows == one.max)
      full = (ends.mean(0) > _SATURATED) & ~switches
      for dim in np.flatnonzero(full):
        lines.append(
          f'{self._of(name, dim)}: {ends[:, dim].mean():.0%} of steps at its '
          f'limits {one.min[dim]:.4g} and {one.max[dim]:.4g}'
        )
    return lines

  def _of(self, name, dim):
    """A dimension, with what the dataset calls it."""
    names = self._labels.get(name)
    return f'{name}[{dim}]' + (f' ({names[dim]})' if names else '')

  def _jumps(self, name, reach, counts):
    std = self._steps[name].result().std
    jump, episode, step = self._largest[name]
    return [
      f'{self._of(name, dim)}: a jump of {jump[dim]:.4g}, '
      f'{jump[dim] / std[dim]:.0f} standard deviations, after step '
      f'{step[dim]} of episode {episode[dim]}'
      for dim in np.flatnonzero(counts & (std > 0))
      if jump[dim] > max(_JUMP * std[dim], reach[dim])
    ]


def _numbers_of(moments: Moments):
  """(statistics, sampled rows), or Nones where nothing was added."""
  if not moments.count:
    return None, None
  return moments.result(), moments.sample.rows()
