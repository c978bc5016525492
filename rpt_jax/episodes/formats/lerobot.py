"""LeRobot datasets v2 and v3: Parquet tables and videos, without PyTorch.

v2 keeps an episode in a Parquet file and a video a camera; v3 keeps many in
one, and says in `meta/episodes/` where each begins. Both are read by row
numbers and time stamps (https://huggingface.co/docs/lerobot, dataset v3).
"""

import contextlib
import functools
import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import (
  decode,
  lerobot_meta,
  lerobot_names,
  parquet,
  videos,
)
from rpt_jax.episodes.columns import (
  FIELDS,
  LANGUAGE,
  Column,
  fields_of,
  short_names,
  sole_image,
)
from rpt_jax.episodes.errors import CorruptEpisode, blaming
from rpt_jax.episodes.source import reopen

MARK = 'a folder with a meta/info.json'
_TIME, _TASK_INDEX, _TASK = 'timestamp', 'task_index', 'task'
_FRAME_INDEX = 'frame_index'


def sniff(path: pathlib.Path) -> float:
  """Sure of LeRobot's own file."""
  return float((path / lerobot_meta.INFO).is_file())


def open(path: pathlib.Path, split: str, size: tuple[int, int] | None):
  """The episodes of a folder; frames are made `size` as they are decoded."""
  return LeRobotStore(path, split, size)


class LeRobotStore:
  """Episodes of a folder with a `meta/info.json`; see `source`."""

  def __init__(
    self,
    path: str | os.PathLike,
    split: str = 'all',
    size: tuple[int, int] | None = None,
  ):
    self._arguments = (str(path), split, size)
    self._root = pathlib.Path(path)
    self._info = lerobot_meta.read_info(self._root)
    self._features = self._info['features']
    self._is_v3 = self._info['codebase_version'].startswith('v3')
    self._size = size
    self.name, self.path = self._root.name, str(path)
    self.fps = float(self._info['fps'])
    self._episodes = lerobot_meta.episodes(self._root, self._info)
    self._chosen = lerobot_meta.chosen(
      self._info, split, self._episodes.total, path
    )
    self.lengths = self._episodes.columns['length'][self._chosen]
    self._tables = parquet.Tables()
    self._tasks = lerobot_meta.tasks(self._root)
    self.left_out = lerobot_meta.left_out(self._features)
    self.columns = {
      # What is no video is scaled when it is read, by `Source`.
      name: lerobot_meta.column_of(
        feature, size if self._is_video(name) else None
      )
      for name, feature in self._features.items()
      if name not in self.left_out
    }
    self.labels = {
      name: lerobot_names.labels(self._features[name])
      for name, column in self.columns.items()
      if column.kind == 'values'
    }
    for name in self._depths():
      shape = self.columns[name].shape[:2]
      self.columns[name] = Column('values', (*shape, 1), np.dtype(np.uint16))
    if _TASK_INDEX in self.columns and self._tasks:
      self.columns[_TASK] = Column('text')
    self.defaults = _defaults(self.columns)

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one episode; cameras are decoded only if asked for."""
    cameras = [c for c in columns if self._is_video(c)]
    rows = [c for c in columns if c not in cameras and c != _TASK]
    rows += [_TIME] * bool(cameras) + [_TASK_INDEX] * (_TASK in columns)
    arrays = self._rows(index, [*dict.fromkeys(rows)])
    for key in cameras:
      arrays[key] = self._video(index, key, arrays[_TIME])
    if _TASK in columns:
      numbers = arrays[_TASK_INDEX].reshape(-1).tolist()
      texts = [self._tasks.get(number, '') for number in numbers]
      arrays[_TASK] = np.array(texts, object)
    return {c: arrays[c] for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """The episode's number in the dataset and what is to be done in it.

    Where that changes, `instruction` is what it begins with; the column `task`
    has it for every step.
    """
    episode = self._episodes.row(self._chosen[index])
    tasks = episode.get('tasks') or []
    tasks = [tasks] if isinstance(tasks, str) else list(tasks)
    tasks = [t if isinstance(t, str) else self._tasks.get(t, '') for t in tasks]
    texts = [n for n, column in self.columns.items() if column.kind == 'text']
    words = next((n for n in (_TASK, *LANGUAGE) if n in texts), None)
    if words and len([*filter(None, tasks)]) != 1:
      tasks = [*dict.fromkeys(self.read(index, [words])[words])]
    return {
      'index': int(episode['episode_index']),
      'instruction': tasks[0] if tasks else '',
      'tasks': tasks,
    }

  def _is_video(self, column):
    return self._features.get(column, {}).get('dtype') == 'video'

  def _depths(self):
    """Cameras kept as images whose first frame has more than 8 bits."""
    for name, feature in self._features.items():
      if feature['dtype'] == 'image' and name in self.columns:
        # Said when it is read.
        with contextlib.suppress(ValueError, OSError, KeyError):
          if self._first_is_depth(name):
            yield name

  def _first_is_depth(self, name):
    episode = self._episodes.row(self._chosen[0])
    path = self._file('data_path', episode, 'data')
    table = self._tables.rows(path, [name], int(episode['first']), 1)
    data = decode.encoded(table[name].to_pylist()[0], self._root)
    with decode.opened(data) as image:
      return decode.is_depth(image)

  def _rows(self, index, columns):
    if not columns:
      return {}
    episode = self._episodes.row(self._chosen[index])
    path = self._file('data_path', episode, 'data')
    number, length = int(episode['episode_index']), int(episode['length'])
    order = {_FRAME_INDEX} & self._features.keys()
    wanted = [*columns, *({'episode_index'} | order).difference(columns)]
    table = self._tables.rows(path, wanted, int(episode['first']), length)
    own = table['episode_index'].to_numpy()
    if len(own) != length or (own != number).any():
      # Its rows are not where they would be if all were in order.
      table = self._tables.of_episode(path, wanted, number)
    if table.num_rows != length:
      raise CorruptEpisode(
        f'{path}: {table.num_rows} rows of episode {number}, '
        f'meta/episodes counts {length}; copy the dataset again'
      )
    with blaming(path, f'episode {number}'):
      table = _in_order(table) if order else table
      return {c: self._array(table[c], c) for c in columns}

  def _array(self, values, name):
    column = self.columns[name]
    if column.kind == 'text':
      return np.array(values.to_pylist(), object)
    if self._features[name]['dtype'] == 'image':
      read = decode.image if column.kind == 'image' else decode.depth
      return decode.stack(
        values.to_pylist(), read, lambda x: decode.encoded(x, self._root)
      )
    values = values.combine_chunks()
    shape = tuple(self._features[name].get('shape') or ())
    is_list = values.type.num_fields > 0  # One number may be no list of one.
    return parquet.dense(values, shape if is_list else ()).reshape(
      len(values), *shape
    )

  def _video(self, index, key, timestamps):
    episode = self._episodes.row(self._chosen[index])
    prefix = f'videos/{key}'
    path = self._file('video_path', episode, prefix, video_key=key)
    times = timestamps.reshape(-1).astype(np.float64)
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
      raise CorruptEpisode(
        f'{path}: episode {episode["episode_index"]}: {_TIME} does not ascend, '
        'expected when each frame is shown; copy the dataset again'
      )
    start = episode.get(f'{prefix}/from_timestamp')
    if start is None and self._is_v3:
      raise CorruptEpisode(
        f'{self._root / "meta/episodes"}: episode {episode["episode_index"]} '
        f'has no {prefix}/from_timestamp, expected where in its video it '
        'begins; copy the dataset again'
      )
    times += float(start or 0.0)
    return videos.frames_at(path, times, 0.5 / self.fps, self._size, True)

  def _file(self, template, episode, prefix, **keys):
    """A file of an episode: v2 fills in its number, v3 looks it up."""
    number = int(episode['episode_index'])
    fields = keys | {
      'episode_index': number,
      'episode_chunk': number // int(self._info.get('chunks_size', 1000)),
      'chunk_index': episode.get(f'{prefix}/chunk_index'),
      'file_index': episode.get(f'{prefix}/file_index'),
    }
    named = self._info[template]
    # Others would tell episodes of one file apart, which lie in one place.
    used = tuple(x for x in fields.items() if f'{{{x[0]}' in str(named))
    path = _place(self._root, named, used)
    if not path.is_file():
      raise CorruptEpisode(
        f'{path}: missing, it holds episode {number}; copy the dataset again'
      )
    return path


@functools.lru_cache(maxsize=1024)
def _place(root, template, fields):
  """Where a template leads, which episodes of one file ask for in turn."""
  name = files.fill(template, root / lerobot_meta.INFO, **dict(fields))
  return files.inside(root, name)


def _in_order(table):
  """The rows as their steps follow each other; ValueError for one twice."""
  step_T = table[_FRAME_INDEX].to_numpy()
  order = np.argsort(step_T, kind='stable')
  if len(twice := np.flatnonzero(np.diff(step_T[order]) <= 0)):
    raise ValueError(
      f'{_FRAME_INDEX} {step_T[order][twice[0]]} is there twice, expected each '
      'once; copy the dataset again'
    )
  return table if (np.diff(order) == 1).all() else table.take(order)


def _defaults(columns):
  prefix = 'observation.'
  seen = [k for k in columns if k.startswith(prefix)]
  streams = sole_image(short_names(seen, '.'), columns)
  fields = fields_of(FIELDS, columns)
  return {**streams, **fields}
