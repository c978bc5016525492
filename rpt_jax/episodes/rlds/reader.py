"""TFDS folders (RLDS, Open X-Embodiment) kept as ArrayRecord, read.

One record is one episode: a serialised `tf.train.Example` whose features are
flat, slash-joined, one list over all steps. Only what is asked for is taken
from it, so actions come without decoding a frame. TensorFlow is not needed.
"""

import concurrent.futures
import contextlib
import functools
import os
import pathlib
import zlib
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from rpt_jax import files
from rpt_jax.episodes import listing
from rpt_jax.episodes.columns import (
  LANGUAGE,
  STEP_FIELDS,
  Column,
  short_names,
  sole_image,
  text,
)
from rpt_jax.episodes.errors import CorruptEpisode, no_split
from rpt_jax.episodes.rlds import allowed, chunks, records, steps, versions
from rpt_jax.episodes.source import reopen

_INFO = 'dataset_info.json'
LENGTHS = 'episode_lengths.json'  # {split: steps of each}; ours, optional
_INSTRUCTIONS = tuple(
  f'{prefix}{name}{suffix}'
  for prefix in ('', 'observation/', 'task/')
  for name in LANGUAGE
  for suffix in ('', '_2', '_3')
)


class RldsStore:
  """Episodes of one split of a TFDS folder, or of 'all'; see `source`."""

  fps = None

  def __init__(self, path_or_name: str | os.PathLike, split: str = 'all'):
    self._arguments = (str(path_or_name), split)
    builder = _find_builder(path_or_name)
    self.name, self.path = builder.name, str(builder.data_dir)
    _check_format(builder)
    self._splits = _check_splits(builder, split)
    self._records = [
      builder.as_data_source(
        s, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES
      )
      for s in self._splits
    ]
    self._shards = [_shards(builder.info.splits[s]) for s in self._splits]
    self._starts = np.cumsum([0, *(len(r) for r in self._records)])
    self.columns, self.left_out = steps.columns_of(builder)
    self._steps = steps.flatten(builder.info.features['steps'].feature)
    for name, column in self.columns.items():
      if None in column.shape:
        self.columns[name] = column._replace(shape=self._first_shape(name))
    self.defaults = _defaults(self.columns)
    self._said = [k for k in _INSTRUCTIONS if _is_said(k, self.columns.get(k))]

  def __reduce__(self):
    return reopen, (type(self), *self._arguments)

  @functools.cached_property
  def lengths(self) -> np.ndarray:
    """Steps of each episode: noted when written, else counted once."""
    noted = _noted_lengths(self.path, self._splits)
    if len(noted) == self._starts[-1]:
      return np.array(noted, np.int64)
    what = f'rlds 1 {" ".join(self._splits)}'
    return np.array(listing.kept(self.path, what, self._counts), np.int64)

  def read(self, index: int, columns: list[str]) -> dict[str, np.ndarray]:
    """The columns of one episode; frames are decoded only if asked for."""
    features = self._features(index)
    return {c: self._column(index, features, c) for c in columns}

  def metadata(self, index: int) -> dict[str, Any]:
    """`episode_metadata`, and the instruction of the first step."""
    features, prefix = self._features(index), 'episode_metadata/'
    metadata = {
      k.removeprefix(prefix): _scalar(features[k])
      for k in sorted(features)
      if k.startswith(prefix)
    }
    said = (self._column(index, features, name)[0] for name in self._said)
    said = [*map(text, said), *(metadata.get(name, '') for name in LANGUAGE)]
    said = [words for words in said if words and isinstance(words, str)]
    return metadata | ({'instruction': said[0]} if said else {})

  def _features(self, index):
    part = int(np.searchsorted(self._starts, index, 'right')) - 1
    within = index - int(self._starts[part])
    try:
      _check_shard(*self._shards[part], within)
      record = self._records[part][within]
      return tf_example_pb2.Example.FromString(record).features.feature
    except Exception as error:  # Of ArrayRecord or of protobuf.
      raise CorruptEpisode(
        f'{self.path}: record {within} of split {self._splits[part]!r} cannot '
        f'be read ({error}); write or copy the dataset again'
      ) from error

  def _column(self, index, features, name):
    key, column = f'steps/{name}', self.columns[name]
    try:
      values = steps.values_of(features[key]) if key in features else []
      return steps.decoded(values, self._steps[name], column)
    except (ValueError, OSError, IndexError, zlib.error) as error:
      raise CorruptEpisode(
        f'{self.path}: episode {index}, {name}: cannot be decoded ({error})'
      ) from error

  def _first_shape(self, name):
    """Of the first frame of a camera whose frames may be of any size."""
    for index in range(int(self._starts[-1])):
      with contextlib.suppress(CorruptEpisode):  # It is said when it is read.
        return (*self._column(index, self._features(index), name).shape[1:3], 3)
    return (1, 1, 3)

  def _counts(self):
    with concurrent.futures.ThreadPoolExecutor() as pool:
      return list(pool.map(self._count, range(int(self._starts[-1]))))

  def _count(self, index):
    try:
      return steps.count_steps(self._features(index), self.columns)
    except CorruptEpisode:
      return 0


def _defaults(columns):
  prefix = 'observation/'
  seen = [
    k
    for k, c in columns.items()
    if k.startswith(prefix) and c.kind != 'text' and not _is_said(k, c)
  ]
  streams = sole_image(short_names(sorted(seen), '/'), columns)
  fields = {k: k for k in STEP_FIELDS if k in columns}
  parts = sorted(k for k in columns if k.startswith('action/'))
  if parts and 'action' not in fields:
    numbers = [k for k in parts if columns[k].kind == 'values']
    fields['action'] = '+'.join(numbers)
  return {**streams, **fields}


def _is_said(name: str, column: Column | None) -> bool:
  """Whether it says in words, or in their codes, what is to be done."""
  if column is None or name not in _INSTRUCTIONS:
    return False
  is_code = column.kind == 'values' and np.dtype(column.dtype).kind in 'iu'
  return column.kind == 'text' or is_code and 'instruction' in name


def _scalar(feature):
  values = steps.values_of(feature)
  value = values[0] if len(values) == 1 else list(values)
  return text(value) if isinstance(value, bytes) else value


def _noted_lengths(path, splits):
  noted = pathlib.Path(path) / LENGTHS
  if not noted.exists():
    return []
  lengths = files.read_json(noted, most=files.MANIFEST)
  chosen = [lengths.get(split, []) for split in splits]
  for each in chosen:
    if not isinstance(each, list) or any(
      type(x) is not int or x < 0 for x in each
    ):
      raise ValueError(
        f'{noted}: found {str(each)[:200]}, expected the steps of each '
        'episode; delete it, and they are counted again'
      )
  return sum(chosen, [])


def open_folder(path: str | os.PathLike) -> tfds.core.DatasetBuilder:
  """TFDS's builder of a folder that runs no code of its own.

  Raises ValueError for features of other classes than TFDS's own, and where
  TFDS cannot read the folder.
  """
  allowed.check(pathlib.Path(path))
  features = pathlib.Path(path) / 'features.json'
  if not features.exists() and 'features' not in files.read_json(
    pathlib.Path(path) / _INFO, mend='copy the dataset again'
  ):
    raise ValueError(
      f'{features}: not there, and {_INFO} has no features either; write or '
      'copy the dataset again'
    )
  try:
    return tfds.builder_from_directory(str(path))
  except Exception as error:
    raise ValueError(
      f'{path}: no folder that TFDS can read ({type(error).__name__}: '
      f'{" ".join(str(error).split())}); write or copy the dataset again'
    ) from error


def _find_builder(path_or_name):
  path = pathlib.Path(path_or_name).expanduser()
  if not (path / _INFO).exists():
    path = _prepared(str(path_or_name))
  return open_folder(path)


def _prepared(name: str) -> pathlib.Path:
  """The folder of `name[/config][:version]` where TFDS keeps its datasets.

  `tfds.builder` is not asked, as it imports and fetches code by that name.
  """
  root = pathlib.Path(tfds.core.constants.DATA_DIR).expanduser()
  folder = versions.newest(root / name.replace(':', '/'))
  if not (folder / _INFO).exists():
    raise ValueError(
      f'{name}: no such file or folder, and no dataset of that name in {root}; '
      'give the path of a dataset'
    )
  return folder


def _check_format(builder):
  kind = builder.info.file_format
  if kind is None or kind.value == 'array_record':
    return
  if kind.value == 'tfrecord':
    raise ValueError(
      f'{builder.data_dir}: its records are kept as {kind.value}; convert '
      f'them once: python -m rpt_jax.main --convert={builder.data_dir}'
    )
  raise ValueError(
    f'{builder.data_dir}: its records are kept as {kind.value}, expected '
    'array_record or tfrecord; write it again with TFDS as array_record'
  )


def _check_place(folder, path):
  """Raises ValueError for a shard that is no file of the folder itself."""
  folder = pathlib.Path(folder)
  files.inside(folder, path.name)
  if path.parent.resolve() != folder.resolve():
    raise ValueError(
      f'{folder}: dataset_info.json names the shard {path}, expected one in '
      'this folder; write or copy the dataset again'
    )


def _shards(split):
  """(paths of a split's shards, the record at which each ends)."""
  return split.filepaths, np.cumsum(split.shard_lengths)


def _check_shard(paths, ends_N, index):
  """Raises ValueError where the shard of a record unpacks to far too much."""
  _checked(paths[int(np.searchsorted(ends_N, index, 'right'))])


@functools.lru_cache(maxsize=1 << 16)
def _checked(path):
  chunks.check(path)


def _check_splits(builder, split) -> list[str]:
  splits = builder.info.splits
  chosen = [s for s in splits if splits[s].shard_lengths]  # Some are empty.
  chosen = chosen if split == 'all' else [split]
  if split != 'all' and split not in splits or not chosen:
    mark = f'an episode in a split of {_INFO}'
    raise no_split(builder.data_dir, split, splits, mark)
  if not splits[chosen[0]].shard_lengths:
    raise ValueError(f'{builder.data_dir}: split {split!r} holds no episode')
  for info in (splits[name] for name in chosen):
    for path, expected in zip(info.filepaths, info.shard_lengths, strict=True):
      _check_place(builder.data_dir, pathlib.Path(path))
      count = records.count(path)
      if count != expected:
        raise ValueError(
          f'{path}: {count} records, dataset_info.json counts {expected}; the '
          'shard is truncated or missing, write or copy the dataset again'
        )
  return chosen
