"""RLDS datasets kept as ArrayRecord, written and read without TensorFlow.

A dataset is a TFDS folder (`dataset_info.json`, `features.json`, shards), so
`tfds.builder_from_directory(folder).as_data_source(split)` opens it too. One
record is one episode. Frames are PNG (`rpt_jax.episodes.png`).
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from rpt_jax.episodes import png
from rpt_jax.episodes.windows import Clips
from rpt_jax.types import Episode

_STEP_FIELDS = Episode._fields[1:]
_VERSION = '1.0.0'
_MAX_SHARD_BYTES = 1 << 28  # before compression


def write(
  directory: str | os.PathLike,
  name: str,
  splits: Mapping[str, Iterable[Episode]],
  *,
  description: str = '',
  metadata: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> None:
  """Writes splits of episodes to `directory`, all or nothing.

  Equal episodes give equal bytes. `name` becomes TFDS's ('CartPole-v1' is
  written 'cartpole_v1').
  `metadata[split][i]` (ints, floats, strings; the same keys everywhere) goes
  to `episode_metadata` of episode i, beside its `index`. An existing dataset
  in `directory` is replaced.

  Raises ValueError for an empty split, fields that do not fit the first
  episode's, lengths that disagree, or floats that are not finite.
  """
  directory = pathlib.Path(directory)
  partial = directory.with_name(f'.{directory.name}.partial-{os.getpid()}')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    _write_folder(partial, _slug(name), splits, description, metadata)
    _replace(partial, directory)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def open_source(
  path_or_name: str | os.PathLike, *, split: str, **mapping: str
) -> 'RldsSource':
  """Opens one split of a TFDS/ArrayRecord dataset as a source of episodes.

  `path_or_name` is a dataset folder, or a name TFDS finds in its data folder.
  `mapping` names where a field of the episode is found among the steps, as
  in `image='observation/image_0', action='action'`; keys that are no field
  of an Episode become observations, and without such keys everything below
  `observation/` is taken.

  Raises ValueError for an unknown dataset, split or field, a missing shard,
  and a shard holding fewer records than `dataset_info.json` counts.
  """
  return RldsSource(path_or_name, split, mapping)


class RldsSource:
  """Random access to the episodes of one split: `len(source)`, `source[i]`."""

  def __init__(self, path_or_name, split: str, mapping: Mapping[str, str]):
    self._builder = _find_builder(path_or_name)
    self.directory = str(self._builder.data_dir)
    self.split = split
    _check_split(self._builder, split)
    self._records = self._builder.as_data_source(
      split,
      deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES,
    )
    self._parser = tfds.core.example_parser.ExampleParserNp(
      self._builder.info.features.get_serialized_info()
    )
    steps = _flatten(self._builder.info.features['steps'].feature)
    self._images = {
      k for k, f in steps.items() if isinstance(f, tfds.features.Image)
    }
    self._observations, self._fields = _resolve(mapping, steps, self.directory)

  def __len__(self) -> int:
    return len(self._records)

  def __iter__(self) -> Iterator[Episode]:
    return (self[i] for i in range(len(self)))

  def __getitem__(self, index: int) -> Episode:
    steps = _flatten(self._record(index)['steps'])
    observation = {
      name: self._decode(steps, path)
      for name, path in self._observations.items()
    }
    found = {
      field: np.asarray(steps[path])
      for field, path in self._fields.items()
      if path in steps
    }
    return _complete(observation, found)

  def metadata(self, index: int) -> dict[str, Any]:
    """`episode_metadata` of one episode: its index and what was given."""
    values = self._record(index).get('episode_metadata', {})
    return {
      k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()
    }

  def read_all(self, fields: Sequence[str] | None = None) -> Clips:
    """Reads the split into memory, one array per field, clips end to end.

    `fields` are observations ('image', 'state', ...) and steps' fields
    ('action', 'reward', ...); None reads all. Arrays are [N, ...] with N the
    steps of all episodes, in order.
    """
    known = (*self._observations, *_STEP_FIELDS)
    fields = known if fields is None else tuple(fields)
    for field in fields:
      if field not in known:
        raise ValueError(
          f'{self.directory}: field {field!r} not found; it has {known}'
        )
    with concurrent.futures.ThreadPoolExecutor() as pool:
      episodes = list(pool.map(self.__getitem__, range(len(self))))
    rows = [{**e.observation, **e._asdict()} for e in episodes]
    arrays = {k: np.concatenate([r[k] for r in rows]) for k in fields}
    return Clips(arrays, np.array([e.length for e in episodes], np.int32))

  def _record(self, index):
    if not 0 <= index < len(self):
      raise IndexError(f'episode {index} of {len(self)} in {self.directory}')
    try:
      return self._parser.parse_example(self._records[index])
    except Exception as error:
      raise ValueError(
        f'{self.directory}: record {index} of split {self.split!r} cannot be '
        f'read ({error}); write the dataset again'
      ) from error

  def _decode(self, steps, path):
    values = steps[path]
    return png.decode(list(values)) if path in self._images else values


def _complete(observation, found) -> Episode:
  """Fills what a dataset leaves out; ends come from the record's extent."""
  length = len(next(iter(observation.values())))
  edge = np.zeros(length, bool)
  first, last = edge.copy(), edge.copy()
  first[0], last[-1] = True, True
  terminal = found.get('is_terminal', edge).astype(bool)
  discount = found.get('discount', ~terminal)
  return Episode(
    observation=observation,
    action=found.get('action', np.zeros((length, 0), np.float32)),
    reward=found.get('reward', edge).astype(np.float32),
    discount=discount.astype(np.float32),
    is_first=first,
    is_last=last,
    is_terminal=terminal,
  )


def _write_folder(folder, name, splits, description, metadata):
  features, infos = None, []
  for split, episodes in splits.items():
    extra = metadata[split] if metadata else None
    template = tfds.core.ShardedFileTemplate(
      data_dir=folder,
      dataset_name=name,
      split=split,
      filetype_suffix='array_record',
    )
    shards = _Shards(template)
    for index, episode in enumerate(episodes):
      row = {'index': index, **(extra[index] if extra else {})}
      if features is None:
        features = _features(episode, row)
      shards.add(_serialize(features, episode, row, f'{split}[{index}]'))
    infos.append(shards.close())
  identity = tfds.core.dataset_info.DatasetIdentity(
    name=name, version=_VERSION, data_dir=str(folder), module_name=''
  )
  info = tfds.core.DatasetInfo(
    builder=identity, features=features, description=description
  )
  info.set_file_format('array_record')
  info.set_splits(tfds.core.splits.SplitDict(infos))
  info.write_to_directory(folder)


class _Shards:
  """Shards of one split, named once their number is known."""

  def __init__(self, template):
    self._template = template
    self._writer = None
    self._lengths, self._sizes = [], []

  def add(self, record: bytes):
    if self._writer is None or self._sizes[-1] > _MAX_SHARD_BYTES:
      self._open_next()
    self._writer.write(record)
    self._lengths[-1] += 1
    self._sizes[-1] += len(record)

  def close(self) -> tfds.core.SplitInfo:
    if self._writer is None:
      raise ValueError(f'split {self._template.split!r} holds no episode')
    self._writer.close()
    total = len(self._lengths)
    for shard in range(total):
      final = self._template.sharded_filepath(
        shard_index=shard, num_shards=total
      )
      os.replace(self._path(shard), final)
    return tfds.core.SplitInfo(
      name=self._template.split,
      shard_lengths=self._lengths,
      num_bytes=sum(self._sizes),
      filename_template=self._template,
    )

  def _open_next(self):
    if self._writer is not None:
      self._writer.close()
    path = self._path(len(self._lengths))
    self._writer = array_record_module.ArrayRecordWriter(path, 'group_size:1')
    self._lengths.append(0)
    self._sizes.append(0)

  def _path(self, shard):
    folder = pathlib.Path(self._template.data_dir)
    return str(folder / f'{self._template.split}-{shard}.part')


def _features(episode: Episode, row):
  """TFDS features that fit this episode and its metadata."""

  def feature(x):
    if x.dtype == np.uint8 and x.ndim == 4:
      return tfds.features.Image(shape=x.shape[1:], encoding_format='png')
    return tfds.features.Tensor(shape=x.shape[1:], dtype=x.dtype)

  def scalar(value):
    if isinstance(value, str):
      return tfds.features.Text()
    whole = isinstance(value, int | np.integer)
    dtype = np.dtype(np.int64 if whole else np.float32)
    return tfds.features.Scalar(dtype)

  fields = episode._asdict()
  observation = fields.pop('observation')
  return tfds.features.FeaturesDict(
    {
      'steps': tfds.features.Dataset(
        {
          'observation': {k: feature(v) for k, v in observation.items()},
          **{k: feature(v) for k, v in fields.items()},
        }
      ),
      'episode_metadata': {k: scalar(v) for k, v in row.items()},
    }
  )


def _serialize(features, episode, row, label) -> bytes:
  """One record; protobuf maps have no order unless asked for one."""
  steps = _flatten(episode._asdict())
  _check_steps(features, steps, label)
  encoded = {
    path: png.encode(x) if x.dtype == np.uint8 and x.ndim == 4 else x
    for path, x in steps.items()
  }
  example = {f'steps/{path}': x for path, x in encoded.items()}
  example |= {f'episode_metadata/{k}': v for k, v in row.items()}
  serializer = tfds.core.example_serializer.ExampleSerializer(
    features.get_serialized_info()
  )
  return serializer.get_tf_example(example).SerializeToString(
    deterministic=True
  )


def _check_steps(features, steps, label):
  expected = _flatten(features['steps'].feature)
  if set(steps) != set(expected):
    raise ValueError(
      f'{label}: found fields {sorted(steps)}, expected those of the first '
      f'episode, {sorted(expected)}'
    )
  length = len(steps['reward'])
  for path, x in steps.items():
    spec = expected[path]
    shape = (length, *spec.shape)
    if not length or x.shape != shape or x.dtype != spec.np_dtype:
      raise ValueError(
        f'{label}: {path} is {x.dtype}{list(x.shape)}, expected '
        f'{np.dtype(spec.np_dtype)}{list(shape)} and at least one step'
      )
    if x.dtype.kind == 'f' and not np.isfinite(x).all():
      raise ValueError(f'{label}: {path} holds a value that is not finite')


def _find_builder(path_or_name):
  path = pathlib.Path(path_or_name).expanduser()
  try:
    if (path / 'dataset_info.json').exists():
      return tfds.builder_from_directory(str(path))
    return tfds.builder(str(path_or_name))
  except Exception as error:
    raise ValueError(
      f'{path_or_name}: neither a folder with a dataset_info.json nor a '
      f'dataset TFDS knows ({type(error).__name__}); give the folder that '
      'holds dataset_info.json'
    ) from error


def _check_split(builder, split):
  splits = builder.info.splits
  if split not in splits:
    raise ValueError(
      f'{builder.data_dir}: no split {split!r}; it has {sorted(splits)}'
    )
  info = splits[split]
  for path, expected in zip(info.filepaths, info.shard_lengths, strict=True):
    found = _num_records(path)
    if found != expected:
      raise ValueError(
        f'{path}: {found} records, dataset_info.json counts {expected}; the '
        'shard is truncated or missing, write or copy the dataset again'
      )


def _num_records(path) -> int:
  if not pathlib.Path(path).exists():
    return 0
  try:
    reader = array_record_module.ArrayRecordReader(str(path))
    return reader.num_records()
  except (RuntimeError, ValueError):
    return 0


def _resolve(mapping, steps, directory):
  """Paths of observations and of other fields among the steps."""
  for name, path in mapping.items():
    if path not in steps:
      raise ValueError(
        f'{directory}: {name}={path!r} is not among its steps; it has '
        f'{sorted(steps)}'
      )
  observations = {k: v for k, v in mapping.items() if k not in _STEP_FIELDS}
  if not observations:
    prefix = 'observation/'
    observations = {
      p.removeprefix(prefix): p for p in sorted(steps) if p.startswith(prefix)
    }
  if not observations:
    raise ValueError(
      f"{directory}: no field below 'observation/' among {sorted(steps)}; "
      "name one, as in image='path/to/image'"
    )
  fields = {k: mapping.get(k, k) for k in _STEP_FIELDS}
  return observations, fields


def _slug(name):
  slug = re.sub(r'\W+', '_', name.lower()).strip('_')
  if not slug[:1].isalpha():
    raise ValueError(
      f'name: found {name!r}, expected one that starts with a letter'
    )
  return slug


def _replace(partial, directory):
  """Puts a finished folder in place of what was there."""
  old = partial.with_name(partial.name + '.old')
  if directory.exists():
    os.replace(directory, old)
  os.replace(partial, directory)
  shutil.rmtree(old, ignore_errors=True)


def _flatten(tree, prefix=''):
  """Nested dictionaries (or TFDS features) as {'a/b': leaf}."""
  flat = {}
  for key, value in tree.items():
    path = f'{prefix}{key}'
    if hasattr(value, 'items'):
      flat |= _flatten(value, f'{path}/')
    else:
      flat[path] = value
  return flat
