"""RLDS datasets as ArrayRecord, written without TensorFlow.

A dataset is a TFDS folder (`dataset_info.json`, `features.json`, shards), so
`tfds.builder_from_directory(folder).as_data_source(split)` opens it too. One
record is one episode. Frames are PNG (`png`).
"""

import contextlib
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rpt_jax import files
from rpt_jax.episodes.rlds import png, records
from rpt_jax.episodes.rlds.reader import LENGTHS
from rpt_jax.episodes.rlds.steps import flatten
from rpt_jax.types import Episode

_VERSION = '1.0.0'
_OWN = re.compile(
  r'.*\.array_record-\d+-of-\d+|(dataset_info|features|metadata)\.json|'
  r'.*\.labels\.txt|' + re.escape(LENGTHS)
)
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
  with replacing(directory) as partial:
    _write_folder(partial, _slug(name), splits, description, metadata)


@contextlib.contextmanager
def replacing(directory: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A folder to fill, which then takes the place of `directory`, or none.

  Raises ValueError where `directory` is there and is neither empty nor a
  dataset, as it would be deleted.
  """
  directory = pathlib.Path(directory)
  is_empty = directory.is_dir() and not any(directory.iterdir())
  is_dataset = (directory / 'dataset_info.json').is_file()
  if directory.exists() and not (is_empty or is_dataset):
    raise ValueError(
      f'{directory}: found something that is no dataset, expected an empty '
      'folder or a dataset to replace; move it away or give another folder'
    )
  partial = directory.with_name(f'.{directory.name}.partial')
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  try:
    yield partial

    def is_own(name):
      return (partial / name).exists() or bool(_OWN.fullmatch(name))

    files.take_place(partial, directory, is_own)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _write_folder(folder, name, splits, description, metadata):
  features, infos, lengths = None, [], {}
  for split, episodes in splits.items():
    extra = metadata[split] if metadata else None
    template = tfds.core.ShardedFileTemplate(
      data_dir=folder,
      dataset_name=name,
      split=split,
      filetype_suffix='array_record',
    )
    shards = _Shards(template)
    lengths[split] = []
    for index, episode in enumerate(episodes):
      row = {'index': index, **(extra[index] if extra else {})}
      if features is None:
        features = _features(episode, row)
      shards.add(_serialize(features, episode, row, f'{split}[{index}]'))
      lengths[split].append(episode.length)
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
  files.write_json(folder / LENGTHS, lengths)


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
    self._writer = records.Writer(path)
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
  steps = flatten(episode._asdict())
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
  expected = flatten(features['steps'].feature)
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


def _slug(name):
  slug = re.sub(r'\W+', '_', name.lower()).strip('_')
  if not slug[:1].isalpha():
    raise ValueError(
      f'name: found {name!r}, expected one that starts with a letter'
    )
  return slug
