"""LeRobot datasets v2 and v3: Parquet tables and videos, without PyTorch.

v2 keeps an episode in a Parquet file and a video a camera; v3 keeps many in
one, and says in `meta/episodes/` where each begins. Both are read by row
numbers and time stamps (https://huggingface.co/docs/lerobot, dataset v3).
"""

import functools
import json
import os
import pathlib
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import decode, parquet
from rpt_jax.episodes.errors import CorruptEpisode
from rpt_jax.episodes.source import (
  Column,
  reopen,
  short_names,
  sole_image,
)

MARK = 'a folder with a meta/info.json'
_INFO = 'meta/info.json'
_MOST_STEPS = 10**8  # Of an episode.
_FIELDS = {
  'action': 'action',
  'reward': 'next.reward',
  'is_terminal': 'next.done',
}


def sniff(path: pathlib.Path) -> float:
  """Sure of LeRobot's own file."""
  return float((path / _INFO).is_file())


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
    self._info = _read_info(self._root)
    self._size = size
    self.name, self.path = self._root.name, str(path)
    self.fps = float(self._info['fps'])
    if not 0 < self.fps < 10_000:
      raise ValueError(f'{self._root / _INFO}: fps is {self.fps}')
    self.columns = {
      k: _column(f, size) for k, f in self._info['features'].items()
    }
    self.defaults = _defaults(self.columns)
    is_v3 = self._info['codebase_version'].startswith('v3')
    load = _episodes_v3 if is_v3 else _episodes_v2
    self._episodes = load(self._root, self._info)
    self._chosen = np.arange(self._episodes.total)[
      _slice(self._info, split, self._episodes.total, path)
    ]
    self.lengths = self._episodes.columns['length'][self._chosen]
    self._tables = parquet.Tables()

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one episode; cameras are decoded only if asked for."""
    videos = [c for c in columns if self._is_video(c)]
    rows = [c for c in columns if c not in videos]
    arrays = self._rows(index, rows + ['timestamp'] * bool(videos))
    for key in videos:
      arrays[key] = self._video(index, key, arrays['timestamp'])
    return {c: arrays[c] for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """The episode's number in the dataset and what it was told to do."""
    episode = self._episodes.row(self._chosen[index])
    tasks = list(episode.get('tasks') or [])
    return {
      'index': int(episode['episode_index']),
      'instruction': tasks[0] if tasks else '',
      'tasks': tasks,
    }

  def _is_video(self, column):
    return self._info['features'][column]['dtype'] == 'video'

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
      return {c: self._array(table[c], self.columns[c]) for c in columns}
    except (OSError, ValueError) as error:
      raise CorruptEpisode(f'{path}: episode {number}: {error}') from error

  def _array(self, values, column):
    if column.kind == 'text':
      return np.array(values.to_pylist(), object)
    if column.kind == 'image':
      return np.stack([self._image(x) for x in values.to_pylist()])
    return _dense(values).reshape(len(values), *column.shape)

  def _image(self, value):
    data = value['bytes']
    if not data:
      data = files.regular(files.inside(self._root, value['path'])).read_bytes()
    return decode.image(data)

  def _video(self, index, key, timestamps):
    episode = self._episodes.row(self._chosen[index])
    prefix = f'videos/{key}'
    path = self._file('video_path', episode, prefix, video_key=key)
    start = float(episode.get(f'{prefix}/from_timestamp') or 0.0)
    times = start + timestamps.reshape(-1).astype(np.float64)
    return decode.frames_at(path, times, 0.5 / self.fps, self._size)

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
  name = files.fill(template, root / _INFO, **dict(fields))
  return files.inside(root, name)


def _read_info(root):
  path = root / _INFO
  info = files.read_json(
    path, 'codebase_version', 'fps', 'features', 'data_path'
  )
  version = str(info['codebase_version'])
  if not version.startswith(('v2.', 'v3.')):
    raise ValueError(
      f'{path}: codebase_version is {version}, expected v2.x or v3.x; '
      'convert it with the scripts that come with lerobot'
    )
  return info


def _column(feature, size) -> Column:
  dtype, shape = feature['dtype'], tuple(feature.get('shape') or ())
  if dtype in ('video', 'image'):
    names = feature.get('names') or []
    channels_first = (names or ['height'])[0] in ('channel', 'channels')
    height, width = shape[1:] if channels_first else shape[:2]
    return Column('image', (*(size or (height, width)), 3), np.dtype(np.uint8))
  if dtype == 'string':
    return Column('text')
  return Column('values', shape, np.dtype(dtype))


def _defaults(columns):
  prefix = 'observation.'
  seen = [k for k in columns if k.startswith(prefix)]
  streams = sole_image(short_names(seen, '.'), columns)
  fields = {k: c for k, c in _FIELDS.items() if c in columns}
  return {**streams, **fields}


class _Episodes:
  """What meta says of every episode, by columns: there may be 10^6 of them."""

  def __init__(self, columns):
    self.columns, self.total = columns, len(columns['length'])

  def row(self, i) -> dict[str, Any]:
    """All that is known of one; what is missing is None."""
    return {name: _plain(column[i]) for name, column in self.columns.items()}


def _plain(x):
  x = x.item() if isinstance(x, np.generic) else x
  return None if x != x else x


def _episodes_v2(root, info):
  path = files.inside(root, 'meta/episodes.jsonl')
  try:
    lines = files.regular(path).read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    names = 'episode_index', 'length', 'tasks'
    columns = {name: [row.get(name) for row in rows] for name in names}
  except (OSError, AttributeError, json.JSONDecodeError) as error:
    raise ValueError(f'{path}: cannot be read: {error}') from error
  columns = _counted(columns, path, info)
  return _Episodes(columns | {'first': np.zeros_like(columns['length'])})


def _episodes_v3(root, info):
  folder, tables = root / 'meta' / 'episodes', []
  read = parquet.library()
  for path in sorted(folder.rglob('*.parquet')):
    files.regular(files.inside(root, path.relative_to(root).as_posix()))
    names = read.parquet.read_schema(path).names
    columns = [c for c in names if not c.startswith('stats/')]
    tables.append(read.parquet.read_table(path, columns=columns))
  if not tables:
    return _counted({'length': [], 'episode_index': []}, folder, info)
  table = read.pa.concat_tables(tables, promote_options='default')
  table = table.sort_by('episode_index')
  columns = {
    name: column.to_pylist()
    if read.pa.types.is_nested(column.type)
    else column.to_numpy(zero_copy_only=False)
    for name, column in zip(table.column_names, table.columns, strict=True)
  }
  columns = _counted(columns, folder, info)
  return _Episodes(columns | {'first': _first_rows(columns)})


def _first_rows(columns):
  """Where in its file each episode begins: they follow each other there."""
  length = columns['length']
  first, stop = np.zeros_like(length), {}
  chunk, file = (
    columns.get(f'data/{name}_index', np.zeros_like(length))
    for name in ('chunk', 'file')
  )
  for i, place in enumerate(zip(chunk.tolist(), file.tolist(), strict=True)):
    first[i] = stop.get(place, 0)
    stop[place] = first[i] + length[i]
  return first


def _counted(columns, path, info):
  """The columns, if each episode has a length and none is missing."""
  length, number = columns['length'], columns['episode_index']
  expected = info.get('total_episodes', len(length))
  if any(
    not np.issubdtype(type(x), np.integer) or not 0 < x < _MOST_STEPS
    for x in length
  ):
    raise ValueError(
      f'{path}: an episode has no length from 1 to {_MOST_STEPS}; copy the '
      'dataset again'
    )
  if len(length) != expected or not len(length):
    raise ValueError(
      f'{path}: {len(length)} episodes, meta/info.json counts {expected}; copy '
      'the dataset again'
    )
  numbers = {
    'length': np.array(length, np.int64),
    'episode_index': np.array(number, np.int64),
  }
  return columns | numbers


def _slice(info, split, total, path):
  if split == 'all':
    return slice(None)
  splits = info.get('splits') or {}
  if split not in splits:
    raise ValueError(
      f"{path}: no split {split!r}; it has {sorted(splits)} and 'all'"
    )
  start, stop = splits[split].split(':')
  return slice(int(start or 0), int(stop or total))


def _dense(values) -> np.ndarray:
  """A column of numbers, or of lists of them at any depth, as one array."""
  values = values.combine_chunks()
  while hasattr(values, 'flatten') and values.type.num_fields:
    values = values.flatten()
  return values.to_numpy(zero_copy_only=False)
