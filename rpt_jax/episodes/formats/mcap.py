"""MCAP files and bags of ROS 2, whose topics are brought to one rate.

A bag is an episode: a folder with a `metadata.yaml` and the `.mcap` or `.db3`
files it names, or such a file alone (https://mcap.dev/spec,
https://github.com/ros2/rosbag2). A step has of every topic the last message
that was there by then, so nothing of what came later. Times are those of
recording: every message has one, all by one clock, while the stamps in headers
may be zero, simulated, or of a computer whose clock is another.
"""

import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax.episodes import decode, listing
from rpt_jax.episodes.errors import CorruptEpisode, blaming
from rpt_jax.episodes.ros import bags, grid, messages, naming, survey
from rpt_jax.episodes.source import reopen

MARK = 'an .mcap or .db3 file, a bag of ROS 2, or a folder of them'


def sniff(path: pathlib.Path) -> float:
  """Sure of how such files begin, rather sure of what they are called."""
  try:
    if bags.is_bag(path):
      return 1.0
    return 0.5 * any(listing.visible(path, *bags.SUFFIXES))
  except (OSError, ValueError):
    return 0.0


def open(
  path: pathlib.Path,
  split: str,
  size: tuple[int, int] | None,
  fps: float | None = None,
):
  """The bags at or below a path at `fps` steps a second.

  None is the rate of the slowest camera, else of the slowest default stream.
  """
  return BagStore(path, split, size, fps)


class BagStore:
  """Bags as episodes; see `source`. A split is a folder of its own.

  An episode lasts for as long as all its cameras and steady topics do
  (`grid.steady`), whatever is asked for: lengths must not depend on that. Its
  first step is half a period of the slowest after the beginning, so that a
  frame that comes a little late is seen once, as all others. A topic that is
  asked for and silent within is a CorruptEpisode. A text lasts until the next,
  and the first counts from the beginning. `left_out` says why a topic cannot be
  read.
  """

  def __init__(
    self,
    path: str | os.PathLike,
    split: str = 'all',
    size: tuple[int, int] | None = None,
    fps: float | None = None,
  ):
    self._arguments = (str(path), split, size, fps)
    if fps is not None and not 0 < fps < np.inf:
      raise ValueError(f'{path}: found fps={fps}, expected a number above 0')
    root = pathlib.Path(path)
    self.name, self.path, self._size = root.stem, str(path), size
    self._bags = listing.of_split(root, split, bags.below, MARK)
    about = listing.kept(
      path, f'mcap 1 {split}', lambda: survey.about(self._bags)
    )
    self.left_out, self._abouts = about['left_out'], about['bags']
    self._entries = {
      name: messages.Entry(*entry) for name, entry in about['columns'].items()
    }
    self.columns = {k: e.column(size) for k, e in self._entries.items()}
    self._runs = [self._steady(about['topics']) for about in self._abouts]
    self.defaults = naming.defaults(self._entries, grid.usual(self._runs))
    rate = self._slowest()
    self.fps, self._delay = fps or float(f'{rate:.5g}'), 0.5 / rate
    self._spans = [self._span(i) for i in range(len(self._bags))]
    self.lengths = np.array([steps for _, steps, _ in self._spans], np.int64)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one bag; no message is decoded that no step shows."""
    bag, steps = self._bags[index], self._steps(index)
    by_topic = {}
    for column in columns:
      by_topic.setdefault(self._entries[column].topic, []).append(column)
    with blaming(bag.path):
      topics, _ = bags.topics(bag)
    used, orders = {}, {}
    for name, own in by_topic.items():
      is_text = self.columns[own[0]].kind == 'text'
      with blaming(bag.path, name):
        which = _shown(topics.get(name), steps, is_text)
      which, orders[name] = np.unique(which, return_inverse=True)
      used[name] = topics[name].places[which]
    values = {column: {} for column in columns}
    with blaming(bag.path):
      for name, i, data in bags.messages(bag, used):
        with blaming(bag.path, name):
          message = bags.decoded(topics[name], data)
          for column in by_topic[name]:
            values[column][i] = self._value(column, message)
    arrays = {}
    for column, x in values.items():
      topic = self._entries[column].topic
      with blaming(bag.path, column):
        arrays[column] = _stacked([x[i] for i in orders[topic]])
    return arrays

  def metadata(self, index: int) -> dict[str, Any]:
    """The bag, what is to be done in it, and how it was brought to its rate.

    'start' is the time of the first step, in seconds since 1970;
    'oldest_sample' how many seconds the oldest message of the default streams
    came before a step that shows it; 'truncated' whether a file has no end.
    """
    bag, about = self._bags[index], self._abouts[index]
    metadata = {'index': index, 'file': str(bag.path), 'instruction': ''}
    if not self.lengths[index]:
      return metadata
    steps = self._steps(index)
    with blaming(bag.path):
      topics, _ = bags.topics(bag)
      names = self._of_streams() & topics.keys()
      ages = [grid.age(topics[name].times, steps).max() for name in names]
      instruction = self._instruction(bag, topics, steps)
    return {
      **metadata,
      'instruction': instruction,
      'start': float(steps[0] / grid.SECOND),
      'oldest_sample': float(max(ages, default=0.0)),
      'truncated': about['truncated'],
    }

  def _cameras(self) -> set[str]:
    entries = self._entries.values()
    return {e.topic for e in entries if e.type in messages.IMAGES}

  def _of_streams(self) -> set[str]:
    """The topics of the default streams."""
    columns = '+'.join(self.defaults.values()).split('+')
    return {self._entries[c].topic for c in columns if c in self._entries}

  def _steady(self, topics) -> dict[str, grid.Run]:
    """The topics of a bag that say how long its episode is."""
    numbers = {e.topic for e in self._entries.values() if e.kind != 'text'}
    runs = {k: grid.Run(*run) for k, run in topics.items() if k in numbers}
    return {k: runs[k] for k in grid.steady(runs, self._cameras())}

  def _slowest(self) -> float:
    """Messages a second of the slowest camera, stream, or steady topic."""
    usual = grid.usual(self._runs)
    names = self._cameras() & usual or self._of_streams() & usual or usual
    if not names:
      faults = [each['fault'] for each in self._abouts if each['fault']]
      others = '; '.join(f'{k}: {v}' for k, v in self.left_out.items())
      why = (
        f'{self.path}: found no topic of frames or numbers that comes once a '
        f'second or more often and can be read: {others or "no other topic"}; '
        'choose bags with a camera or joints'
      )
      raise ValueError(faults[0] if faults else why)
    return grid.slowest(self._runs, names)

  def _span(self, index) -> tuple[int, int, str]:
    """When a bag begins, its steps, and what is wrong with it."""
    fault = self._abouts[index]['fault']
    if not fault:
      try:
        return *grid.span(self._runs[index].values(), self.fps), ''
      except ValueError as error:
        fault = f'{self._bags[index].path}: {error}'
    return 0, 0, fault

  def _steps(self, index) -> np.ndarray:
    start, steps, fault = self._spans[index]
    if fault:
      raise CorruptEpisode(fault)
    return grid.times(start, steps, self.fps, self._delay)

  def _value(self, column, message):
    x = messages.value(self._entries[column], message)
    if self.columns[column].kind == 'image' and self._size is not None:
      return decode.resize(x[None], self._size)[0]
    return x

  def _instruction(self, bag, topics, steps) -> str:
    """The text that holds at the first step, or else the first there is."""
    for name in naming.language(self._entries):
      topic = topics.get(name)
      if topic and len(topic.times):
        which = _shown(topic, steps[:1], True)
        ((*_, data),) = bags.messages(bag, {name: topic.places[which]})
        return bags.decoded(topic, data)['data']
    return ''


def _shown(topic, steps, is_text) -> np.ndarray:
  """[T]: the message that each step shows."""
  if topic is None or topic.fault or not len(topic.times):
    why = topic.fault if topic else ''
    raise ValueError(why or 'has no messages, expected some in every episode')
  if is_text:
    return grid.shown(topic.times, steps).clip(0)
  grid.check(topic.times, steps)
  return grid.shown(topic.times, steps)


def _stacked(parts) -> np.ndarray:
  if isinstance(parts[0], str):
    return np.array(parts, object)
  shapes = {x.shape for x in parts}
  if len(shapes) > 1:
    raise ValueError(
      f'found frames of {sorted(shapes)}, expected one shape; open it with '
      'size=(height, width)'
    )
  return np.stack(parts)
