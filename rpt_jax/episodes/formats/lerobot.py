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
from rpt_jax.episodes import decode, lerobot_meta, parquet, videos
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import (
  Column,
  reopen,
  short_names,
  sole_image,
)

MARK = 'a folder with a meta/info.json'
_TIME, _TASK_INDEX, _TASK = 'timestamp', 'task_index', 'task'
_FIELDS = {
  'action': 'action',
  'reward': 'next.reward',
  'is_terminal': 'next.done',
}


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
    self.left_out = {
      name: 'distances as a video, whose bits are no colour'
      for name, feature in self._features.items()
      if feature['dtype'] == 'video' and lerobot_meta.shows_depth(feature)
    }
    self.columns = {
      name: lerobot_meta.column_of(feature, size)
      for name, feature in self._features.items()
      if name not in self.left_out
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
    videos = [c for c in columns if self._is_video(c)]
    rows = [c for c in columns if c not in videos and c != _TASK]
    rows += [_TIME] * bool(videos) + [_TASK_INDEX] * (_TASK in columns)
    arrays = self._rows(index, [*dict.fromkeys(rows)])
    for key in videos:
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
    tasks = [tasks] if isinstance(tasks, str) else [str(t) for t in tasks]
    if len(tasks) != 1 and _TASK in self.columns:
      tasks = [*dict.fromkeys(self.read(index, [_TASK])[_TASK])]
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
      if feature['dtype'] == 'image':
        with contextlib.suppress(
          CorruptEpisode, OSError, KeyError
        ):  # Said when read.
          if self._first_is_depth(name):
            yield name

  def _first_is_depth(self, name):
    episode = self._episodes.row(self._chosen[0])
    path = self._file('data_path', episode, 'data')
    table = self._tables.rows(path, [name], int(episode['first']), 1)
    with decode.opened(self._bytes(table[name].to_pylist()[0])) as image:
      return decode.is_depth(image)

  def _rows(self, index, columns):
    if not columns:
      return {}
    episode = self._episodes.row(self._chosen[index])
    path = self._file('data_path', episode, 'data')
    number, length = int(episode['episode_index']), int(episode['length'])
    wanted = [*columns, *{'episode_index'}.difference(columns)]
    table = self._tables.rows(path, wanted, int(episode['first']), length)
    own = table['episode_index'].to_numpy()
    if len(own) != length or (own != number).any():
      # Its rows are not where they would be if all were in order.
      table = self._tables.of_episode(path, wanted, number)
    if table.num_rows != length:
      raise CorruptEpisode(
        f'{path}: {table.num_rows} rows of episode {number}, '
        f'meta/episodes counts {length}'
      )
    try:
      return {c: self._array(table[c], c) for c in columns}
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
      raise CorruptEpisode(f'{path}: episode {number}: {error}') from error

  def _array(self, values, name):
    column = self.columns[name]
    if column.kind == 'text':
      return np.array(values.to_pylist(), object)
    if self._features[name]['dtype'] == 'image':
      decoded = decode.image if column.kind == 'image' else decode.depth
      return np.stack([decoded(self._bytes(x)) for x in values.to_pylist()])
    values = values.combine_chunks()
    shape = tuple(self._features[name].get('shape') or ())
    is_list = values.type.num_fields > 0  # One number may be no list of one.
    return parquet.dense(values, shape if is_list else ()).reshape(
      len(values), *shape
    )

  def _bytes(self, value):
    """The encoded image of a step: itself, or the name of a file."""
    if isinstance(value, bytes):
      return value
    data, path = value.get('bytes'), value.get('path')
    if data:
      return data
    if not path:
      raise ValueError('an image has neither bytes nor a path')
    return files.regular(files.inside(self._root, path)).read_bytes()

  def _video(self, index, key, timestamps):
    episode = self._episodes.row(self._chosen[index])
    prefix = f'videos/{key}'
    path = self._file('video_path', episode, prefix, video_key=key)
    start = float(episode.get(f'{prefix}/from_timestamp') or 0.0)
    times = start + timestamps.reshape(-1).astype(np.float64)
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
      raise CorruptEpisode(f'{path}: missing, episode {number} is in it')
    return path


@functools.lru_cache(maxsize=1024)
def _place(root, template, fields):
  """Where a template leads, which episodes of one file ask for in turn."""
  name = files.fill(template, root / lerobot_meta.INFO, **dict(fields))
  return files.inside(root, name)


def _defaults(columns):
  prefix = 'observation.'
  seen = [k for k in columns if k.startswith(prefix)]
  streams = sole_image(short_names(seen, '.'), columns)
  fields = {k: c for k, c in _FIELDS.items() if c in columns}
  return {**streams, **fields}
