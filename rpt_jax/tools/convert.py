"""TFDS folders kept as TFRecord, converted to ArrayRecord once.

Both containers hold the same serialised `tf.train.Example`, so records are
verified and copied, never re-encoded, and TensorFlow is not needed.
"""

import concurrent.futures
import os
import pathlib
import shutil
import time

from tensorflow_datasets.proto import tf_example_pb2

from rpt_jax import files
from rpt_jax.episodes.columns import Column
from rpt_jax.episodes.rlds import reader, records, steps, tfrecord, writer
from rpt_jax.episodes.rlds.allowed import INFO, TEMPLATE, shard_name


def run(
  directory: str | os.PathLike, destination: str | os.PathLike | None = None
) -> pathlib.Path:
  """Converts a prepared TFDS folder; returns the new one.

  `destination` is by default `directory` with '-array_record' at its end.
  Whole or nothing; what was there is replaced.

  Raises ValueError for a folder that is not TFRecord, a missing, truncated or
  corrupt shard, and counts that disagree with `dataset_info.json`.
  """
  source = pathlib.Path(directory).expanduser().resolve()
  if destination is None:
    destination = source.with_name(source.name + '-array_record')
  if pathlib.Path(destination).resolve() == source:
    raise ValueError(
      f'{source}: cannot be converted in place; give another folder with '
      '--workdir'
    )
  info = _read_info(source)
  columns, _ = steps.columns_of(reader.open_folder(source))
  with writer.replacing(destination) as folder:
    lengths = {
      split['name']: _convert_split(source, folder, info, split, columns)
      for split in info['splits']
    }
    for path in source.glob('*'):
      if path.is_file() and '.tfrecord' not in path.name:
        shutil.copy2(files.inside(source, path.name), folder / path.name)
    files.write_json(folder / INFO, _as_array_record(info))
    files.write_json(folder / reader.LENGTHS, lengths)
  return pathlib.Path(destination)


def _convert_split(source, folder, info, split, columns) -> list[int]:
  """Copies the shards of a split; steps of each of its episodes."""
  with files.reading(source / INFO):
    counts = [int(n) for n in split.get('shardLengths', ())]

  def copy(shard):
    names = [
      shard_name(source / INFO, info, split, kind, shard, len(counts))
      for kind in ('tfrecord', 'array_record')
    ]
    return _copy_shard(
      files.inside(source, names[0]), folder / names[1], counts[shard], columns
    )

  with concurrent.futures.ThreadPoolExecutor() as pool:
    parts = list(pool.map(copy, range(len(counts))))
  return sum(parts, [])


def _copy_shard(
  path, target, expected: int, columns: dict[str, Column]
) -> list[int]:
  if not path.exists():
    raise ValueError(
      f'{path}: missing; dataset_info.json counts it; copy the dataset again'
    )
  began, lengths = time.perf_counter(), []
  with records.Writer(target) as shard:
    for index, record in enumerate(tfrecord.records(path)):
      lengths.append(_count(path, index, record, columns))
      shard.write(record)
  if not len(lengths) == expected == records.count(target):
    raise ValueError(
      f'{path}: {len(lengths)} records, dataset_info.json counts {expected}; '
      'the shard is truncated, copy it again'
    )
  seconds = max(time.perf_counter() - began, 1e-9)
  rate = path.stat().st_size / 1e6 / seconds
  print(f'{target.name}: {expected} episodes, {rate:.0f} MB/s', flush=True)
  return lengths


def _count(path, index, record, columns):
  try:
    features = tf_example_pb2.Example.FromString(record).features.feature
  except Exception as error:  # protobuf's DecodeError.
    raise ValueError(
      f'{path}: record {index} is no tf.train.Example ({error})'
    ) from error
  return steps.count_steps(features, columns)


def _read_info(source):
  path = source / INFO
  if not path.exists():
    raise ValueError(f'{path}: no such file; give the folder that holds it')
  info = files.read_json(path, 'name')
  kind = info.get('fileFormat', 'tfrecord')
  if kind != 'tfrecord' or not info.get('splits'):
    is_done = kind == 'array_record'
    raise ValueError(
      f'{path}: file format {kind!r} with {len(info.get("splits", []))} '
      "splits; expected 'tfrecord' and at least one split"
      f'{"; it can be read as it is" if is_done else ""}'
    )
  return info


def _as_array_record(info):
  splits = [{'filepathTemplate': TEMPLATE, **split} for split in info['splits']]
  return {**info, 'fileFormat': 'array_record', 'splits': splits}
