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
from rpt_jax.episodes import decode
from rpt_jax.episodes.errors import CorruptEpisode, needs
from rpt_jax.episodes.source import (
  Column,
  reopen,
  short_names,
  sole_image,
)

_INFO = 'meta/info.json'
_MOST_STEPS = 10**8  # Of an episode.
_FIELDS = {'action': 'action', 'reward': 'next.reward'}


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
    episodes = load(self._root, self._info)
    self._episodes = episodes[_slice(self._info, split, len(episodes), path)]
    self.lengths = np.array([e['length'] for e in self._episodes], np.int64)

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
    episode = self._episodes[index]
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
    episode = self._episodes[index]
    path = self._file('data_path', episode, 'data')
    number = int(episode['episode_index'])
    table = _read_table(path, columns, number)
    if table.num_rows != episode['length']:
      raise CorruptEpisode(
        f'{path}: {table.num_rows} rows of episode {number}, '
        f'meta/episodes counts {episode["length"]}'
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
    episode = self._episodes[index]
    prefix = f'videos/{key}'
    path = self._file('video_path', episode, prefix, video_key=key)
    start = float(episode.get(f'{prefix}/from_timestamp') or 0.0)
    times = start + timestamps.reshape(-1).astype(np.float64)
    return decode.frames_at(path, times, 0.5 / self.fps, self._size)

  def _file(self, template, episode, prefix, **keys):
    """A file of an episode: v2 fills in its number, v3 looks it up."""
    number = int(episode['episode_index'])
    name = files.fill(
      self._info[template],
      self._root / _INFO,
      episode_index=number,
      episode_chunk=number // int(self._info.get('chunks_size', 1000)),
      chunk_index=episode.get(f'{prefix}/chunk_index'),
      file_index=episode.get(f'{prefix}/file_index'),
      **keys,
    )
    path = files.inside(self._root, name)
    if not path.is_file():
      raise CorruptEpisode(f'{path}: missing, episode {number} is in it')
    return path


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


def _episodes_v2(root, info):
  path = files.inside(root, 'meta/episodes.jsonl')
  try:
    lines = files.regular(path).read_text().splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
  except (OSError, json.JSONDecodeError) as error:
    raise ValueError(f'{path}: cannot be read: {error}') from error
  return _counted(rows, path, info)


def _episodes_v3(root, info):
  folder = root / 'meta' / 'episodes'
  rows = []
  for path in sorted(folder.rglob('*.parquet')):
    files.regular(files.inside(root, path.relative_to(root).as_posix()))
    names = _parquet().read_schema(path).names
    columns = [c for c in names if not c.startswith('stats/')]
    rows += _parquet().read_table(path, columns=columns).to_pylist()
  rows.sort(key=lambda row: row['episode_index'])
  return _counted(rows, folder, info)


def _counted(rows, path, info):
  expected = info.get('total_episodes', len(rows))
  lengths = [row.get('length') for row in rows]
  if any(type(x) is not int or not 0 < x < _MOST_STEPS for x in lengths):
    raise ValueError(
      f'{path}: an episode has no length from 1 to {_MOST_STEPS}; copy the '
      'dataset again'
    )
  if len(rows) != expected or not rows:
    raise ValueError(
      f'{path}: {len(rows)} episodes, meta/info.json counts {expected}; copy '
      'the dataset again'
    )
  return rows


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


def _read_table(path, columns, number):
  try:
    about = _parquet().read_metadata(path)
    declared = 8 * about.num_rows * len(columns)
    files.holds(path, 'the table', declared, os.path.getsize(path))
    return _parquet().read_table(
      path,
      columns=[*columns],
      filters=[('episode_index', '=', number)],
    )
  except (OSError, ValueError, KeyError) as error:
    raise CorruptEpisode(f'{path}: episode {number}: {error}') from error


def _dense(values) -> np.ndarray:
  """A column of numbers, or of lists of them at any depth, as one array."""
  values = values.combine_chunks()
  while hasattr(values, 'flatten') and values.type.num_fields:
    values = values.flatten()
  return values.to_numpy(zero_copy_only=False)


@functools.cache
def _parquet():
  try:
    from pyarrow import parquet
  except ImportError as error:
    raise needs('pyarrow', 'video') from error
  return parquet
