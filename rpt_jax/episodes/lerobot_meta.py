"""What the `meta/` folder of a LeRobot dataset says, checked.

Converters write dialects: names as lists or dictionaries, channels first or
last, splits as text or lists. What one of them means is taken; what nobody can
mean is refused by file and field.
"""

import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing, parquet, videos
from rpt_jax.episodes.columns import Column, column
from rpt_jax.episodes.errors import no_split

INFO = 'meta/info.json'
_MOST_STEPS = 10**8  # Of an episode.
_MEND = 'copy the dataset again'
_MOST_FPS = 10_000
_TEXTS = ('string', 'language')
_ABOUTS = ('info', 'video_info')  # Of a camera.


def read_info(root: pathlib.Path) -> dict[str, Any]:
  """`meta/info.json`; ValueError naming the field that cannot be meant."""
  path = root / INFO
  keys = 'codebase_version', 'fps', 'features', 'data_path'
  info = files.read_json(path, *keys, mend=_MEND)
  version = str(info['codebase_version'])
  if not version.startswith(('v2.', 'v3.')):
    raise ValueError(
      f'{path}: codebase_version is {version}, expected v2.x or v3.x; '
      'convert it with the scripts that come with lerobot'
    )
  fps = info['fps']
  if not (type(fps) in (int, float) and 0 < fps < _MOST_FPS):
    _refuse(path, 'fps', fps, f'a number above 0 and below {_MOST_FPS}')
  for name in ('chunks_size', 'total_episodes'):
    count = info.get(name, 1)
    if type(count) is not int or count < 1:
      _refuse(path, name, count, 'a whole number above 0')
  features = info['features']
  if not isinstance(features, dict) or not features:
    _refuse(path, 'features', features, 'an object of columns')
  for name, feature in features.items():
    _check_feature(path, f'features.{name}', feature)
  templates = {'data_path'}
  if any(feature['dtype'] == 'video' for feature in features.values()):
    templates.add('video_path')
  for name in sorted(templates):
    if not isinstance(info.get(name), str):
      _refuse(path, name, info.get(name), "a file's name with {fields}")
  return info


def _check_feature(path, where, feature):
  if not isinstance(feature, dict) or not isinstance(feature.get('dtype'), str):
    _refuse(path, where, feature, 'an object with a dtype and a shape')
  shape = feature.get('shape') or []
  if not isinstance(shape, list) or any(
    type(size) is not int or size < 1 for size in shape
  ):
    _refuse(path, f'{where}.shape', shape, 'a list of sizes')
  if feature['dtype'] in ('video', 'image'):
    if len(shape) != 3:
      _refuse(path, f'{where}.shape', shape, 'height, width, channels')
  for name in _ABOUTS:
    if not isinstance(feature.get(name) or {}, dict):
      _refuse(path, f'{where}.{name}', feature[name], 'an object')


def column_of(feature: Mapping[str, Any], size) -> Column:
  """What a step of a feature holds; frames are `size` (H, W) where given."""
  dtype, shape = feature['dtype'], tuple(feature.get('shape') or ())
  if dtype in ('video', 'image'):
    names = _axes(feature.get('names'))
    first = names[:1] and names[0].startswith('channel')
    last = names[-1:] and names[-1].startswith('channel')
    seen = column(shape, np.dtype(np.uint8)).shape
    if first or not last and seen == (*shape[1:], 3):
      shape = shape[1:]
    return Column('image', (*(size or shape[:2]), 3), np.dtype(np.uint8))
  if dtype in _TEXTS:
    return Column('text')
  return column(shape, np.dtype(dtype))


def _axes(names):
  """Names of axes, which some writers keep in a dictionary."""
  if isinstance(names, dict):
    names = names.get('axes') or next(iter(names.values()), [])
  return [str(name) for name in names] if isinstance(names, list) else []


def left_out(features: Mapping[str, Any]) -> dict[str, str]:
  """{column: why it cannot be read}."""
  reasons = {}
  for name, feature in features.items():
    dtype = feature['dtype']
    if dtype == 'video' and _shows_depth(feature):
      reasons[name] = (
        'depth in a video, which is not read; keep it as PNG of 16 bits'
      )
    elif dtype not in ('video', 'image', *_TEXTS) and not _is_number(dtype):
      reasons[name] = f'{dtype}, expected numbers, text, images or a video'
  return reasons


def _is_number(dtype):
  try:
    return np.dtype(dtype).kind in 'biuf'
  except TypeError:
    return False


def _shows_depth(feature):
  """Whether a camera says of itself that its numbers are distances."""
  for about in (feature.get(name) or {} for name in _ABOUTS):
    flags = about.get('video.is_depth_map'), about.get('is_depth_map')
    if any(str(flag).lower() == 'true' for flag in flags):
      return True
    if videos.DEPTH.fullmatch(str(about.get('video.pix_fmt'))):
      return True
  return False


class Episodes:
  """What meta says of every episode, by columns: there may be 10^6 of them.

  A column is an array, a list, or an Arrow array of what is no number.
  """

  def __init__(self, columns):
    self.columns, self.total = columns, len(columns['length'])

  def row(self, i) -> dict[str, Any]:
    """All that is known of one; what is missing is None."""
    return {name: _plain(values[i]) for name, values in self.columns.items()}


def _plain(x):
  if hasattr(x, 'as_py'):
    return x.as_py()
  x = x.item() if isinstance(x, np.generic) else x
  return None if x != x else x


def episodes(root: pathlib.Path, info: Mapping[str, Any]) -> Episodes:
  """All episodes in order, with `first`, the row in its file of each."""
  if info['codebase_version'].startswith('v3'):
    columns = _counted(*_episodes_v3(root), info)
    return Episodes(columns | {'first': _first_rows(columns)})
  columns = _counted(*_episodes_v2(root), info)
  return Episodes(columns | {'first': np.zeros_like(columns['length'])})


def _episodes_v2(root):
  path = files.inside(root, 'meta/episodes.jsonl')
  rows = _lines(path)
  names = 'episode_index', 'length', 'tasks'
  return {name: [row.get(name) for row in rows] for name in names}, path


def _lines(path):
  """The objects of a file of JSON lines."""
  try:
    # Lines end with \n alone: texts may hold what Unicode ends them with.
    lines = files.regular(path).read_text('utf-8-sig').split('\n')
    rows = [json.loads(line) for line in lines if line.strip()]
  except (OSError, ValueError, RecursionError) as error:
    raise ValueError(f'{path}: cannot be read ({error}); {_MEND}') from error
  if not all(isinstance(row, dict) for row in rows):
    raise ValueError(f'{path}: a line is no object; copy the dataset again')
  return rows


def _episodes_v3(root):
  folder, tables = root / 'meta' / 'episodes', []
  read = parquet.library()
  for path in sorted(listing.visible(folder, '.parquet')):
    files.regular(files.inside(root, path.relative_to(root).as_posix()))
    try:
      tables.append(parquet.whole(path, but=('stats/',)))
    except (OSError, ValueError) as error:
      raise ValueError(f'{path}: cannot be read ({error}); {_MEND}') from error
  if not tables:
    return {'length': [], 'episode_index': []}, folder
  table = read.pa.concat_tables(tables, promote_options='default')
  for name in ('length', 'episode_index'):
    if name not in table.column_names:
      raise ValueError(f'{folder}: no column {name!r}; copy the dataset again')
  if not _ascends(table['episode_index']):
    table = table.sort_by('episode_index')
  # Texts and lists stay where Arrow has them: of each a Python object would
  # take ten times the memory.
  columns = {
    name: values.to_numpy(zero_copy_only=False)
    if read.pa.types.is_primitive(values.type)
    else values.combine_chunks()
    for name, values in zip(table.column_names, table.columns, strict=True)
  }
  return columns, folder


def _ascends(number):
  """Whether a column is in order, so that nothing need be moved."""
  number_E = number.to_numpy(zero_copy_only=False)
  return number_E.dtype.kind in 'iu' and (number_E[1:] > number_E[:-1]).all()


def _first_rows(columns):
  """Where in its file each episode begins: they follow each other there."""
  length = columns['length']
  places = [
    columns.get(f'data/{name}_index', np.zeros_like(length))
    for name in ('chunk', 'file')
  ]
  order = np.lexsort((np.arange(len(length)), *places))
  first = np.cumsum(length[order]) - length[order]
  new = np.any([np.diff(x[order], prepend=np.nan) != 0 for x in places], 0)
  begins = np.flatnonzero(new)
  first -= np.repeat(first[begins], np.diff(begins, append=len(order)))
  return first[np.argsort(order)]


def _counted(columns, path, info):
  """The columns, if each episode has a length and none is missing."""
  length, number = columns['length'], columns['episode_index']
  expected = info.get('total_episodes', len(length))
  for values, low in ((length, 1), (number, 0)):
    if any(
      not np.issubdtype(type(x), np.integer) or not low <= x < _MOST_STEPS
      for x in values
    ):
      raise ValueError(
        f'{path}: an episode has no number, or no length from 1 to '
        f'{_MOST_STEPS}; copy the dataset again'
      )
  if len(length) != expected or not len(length):
    raise ValueError(
      f'{path}: {len(length)} episodes, meta/info.json counts {expected}; copy '
      'the dataset again'
    )
  each, count = np.unique(np.array(number, np.int64), return_counts=True)
  if (count > 1).any():
    raise ValueError(
      f'{path}: episode {each[count.argmax()]} is there twice, expected each '
      'once; copy the dataset again'
    )
  numbers = {
    'length': np.array(length, np.int64),
    'episode_index': np.array(number, np.int64),
  }
  return columns | numbers


def tasks(root: pathlib.Path) -> dict[int, str]:
  """{task_index: what is to be done}; none where the dataset has no table."""
  path = root / 'meta/tasks.jsonl'
  if path.exists():
    rows = _lines(files.inside(root, 'meta/tasks.jsonl'))
    return {
      int(number): str(row.get('task') or '')
      for row in rows
      if str(number := row.get('task_index')).isdecimal()
    }
  path = root / 'meta/tasks.parquet'
  if not path.exists():
    return {}
  files.regular(files.inside(root, 'meta/tasks.parquet'))
  try:
    table = parquet.whole(path)
    names = sorted({*table.column_names} - {'task_index'})
    names = ['task'] if 'task' in names else names
    if len(names) != 1:
      raise ValueError(f'found the columns {table.column_names}')
    numbers = table['task_index'].to_pylist()
  except (OSError, ValueError, KeyError) as error:
    raise ValueError(
      f'{path}: cannot be read ({error}), expected a task_index and a text; '
      'copy the dataset again'
    ) from error
  return dict(zip(numbers, map(str, table[names[0]].to_pylist()), strict=True))


def chosen(info: Mapping[str, Any], split: str, total: int, path) -> np.ndarray:
  """Which episodes a split has: [episodes]; 'all' has all.

  A split is text as `0:40`, `0:80%` or `0:2,5:8`, or a list of numbers.
  """
  if split == 'all':
    return np.arange(total)
  splits = info.get('splits') or {}
  if not isinstance(splits, dict) or split not in splits:
    raise no_split(path, split, splits if isinstance(splits, dict) else ())
  value = splits[split]
  parts = value.split(',') if isinstance(value, str) else value
  try:
    numbers = [_range(part, total) for part in parts]
  except (TypeError, ValueError):
    numbers = [range(-1, 0)]
  episodes_E = np.concatenate([np.array(part, np.int64) for part in numbers])
  if not len(episodes_E) or episodes_E.min() < 0 or episodes_E.max() >= total:
    where = f'{pathlib.Path(path) / INFO}'
    some = f'episodes of {total}, as in 0:{total} or 0:80%'
    _refuse(where, f'splits.{split}', value, some)
  return episodes_E


def _range(part, total):
  if type(part) is int:
    return range(part, part + 1)
  if not re.fullmatch(r'\s*\d*%?\s*:\s*\d*%?\s*', part):
    raise ValueError(part)
  start, stop = (_place(end.strip(), total) for end in part.split(':'))
  start, stop = start or 0, total if stop is None else stop
  if not start <= stop <= total:
    raise ValueError(part)
  return range(start, stop)


def _place(end, total):
  if end.endswith('%'):
    return math.floor(int(end[:-1]) * total / 100)
  return int(end) if end else None


def _refuse(path, field, value, expected):
  raise ValueError(
    f'{path}: {field}: found {str(value)[:200]!r}, expected {expected}'
  )
