"""Streams of episodes cached on disk: ArrayRecord shards and a manifest.

A record is one episode, the safetensors bytes of {stream: [T, ...]}. A shard
appears whole or not at all, its counts and sha256 (its entry) beside it;
`seal` gathers the entries into `manifest.json`, without which there is nothing
to read. So a killed writer goes on with the shards that are not there.
"""

import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from safetensors import numpy as safetensors

from rpt_jax import files
from rpt_jax.episodes.formats import records
from rpt_jax.episodes.windows import Clips
from rpt_jax.types import Array

MANIFEST = 'manifest.json'
_ENTRY = 'file', 'bytes', 'sha256', 'episodes', 'lengths', 'skipped'


class Shard(NamedTuple):
  """Shard `index` of `total`, for episodes `start` to `stop` (excluded)."""

  index: int
  total: int
  start: int
  stop: int

  @property
  def name(self) -> str:
    return f'{self.index:05d}-of-{self.total:05d}.array_record'


def plan(lengths: Sequence[int], frames: int) -> list[Shard]:
  """Cuts episodes into shards of at least `frames` frames (the last: fewer)."""
  starts, count = [0], 0
  for episode, length in enumerate(lengths):
    if count >= frames:
      starts.append(episode)
      count = 0
    count += length
  stops = (*starts[1:], len(lengths))
  total = len(starts)
  return [
    Shard(i, total, *ends)
    for i, ends in enumerate(zip(starts, stops, strict=True))
  ]


def write_shard(
  directory: pathlib.Path,
  shard: Shard,
  episodes: dict[int, dict[str, Array]],
  skipped: dict[int, str],
) -> None:
  """Writes {episode: {stream: [T, ...]}}, and why others are left out.

  Raises OSError where it cannot be written.
  """
  directory.mkdir(parents=True, exist_ok=True)
  path = directory / shard.name
  partial = path.with_name(f'.{path.name}.partial')
  with records.Writer(partial) as writer:
    for arrays in episodes.values():
      flat = {k: np.ascontiguousarray(x) for k, x in arrays.items()}
      writer.write(safetensors.save(flat))
  lengths = [len(next(iter(x.values()))) for x in episodes.values()]
  entry = {
    'file': path.name,
    'bytes': partial.stat().st_size,
    'sha256': _sha256(partial),
    'episodes': list(episodes),
    'lengths': lengths,
    'skipped': {str(k): why for k, why in skipped.items()},
  }
  os.replace(partial, path)
  files.write_json(_entry(path), entry)


def read_entry(directory: pathlib.Path, shard: Shard) -> dict | None:
  """What is known of a finished shard; None where it must be written.

  That is where shard or entry are missing, are of other episodes, or the
  shard's bytes are not those its entry counted and hashed.
  """
  path = directory / shard.name
  if not (path.exists() and _entry(path).exists()):
    return None
  try:
    entry = files.read_json(_entry(path), *_ENTRY, most=files.MANIFEST)
    _check_entry(entry)
    seen = {*entry['episodes'], *map(int, entry['skipped'])}
  except (TypeError, ValueError):  # Cut off, or altered.
    return None
  intact = (
    entry['file'] == shard.name
    and seen == set(range(shard.start, shard.stop))
    and path.stat().st_size == entry['bytes']
    and _sha256(path) == entry['sha256']
  )
  return entry if intact else None


def finished(directory: pathlib.Path, shards: Sequence[Shard]) -> list[dict]:
  """The entries of all shards; ValueError naming those not finished."""
  entries = [read_entry(directory, shard) for shard in shards]
  missing = [s.name for s, e in zip(shards, entries, strict=True) if e is None]
  if missing:
    raise ValueError(f'{directory}: shards {missing} were never finished')
  return entries


def seal(directory: pathlib.Path, entries: Sequence[dict]) -> None:
  """Gathers entries into `manifest.json`; a killed seal is done again."""
  files.write_json(directory / MANIFEST, {'shards': entries})
  for entry in entries:
    _entry(directory / entry['file']).unlink(missing_ok=True)


def manifest(directory: pathlib.Path) -> dict:
  """The manifest; ValueError where the streams were never finished."""
  path = directory / MANIFEST
  if not path.exists():
    raise ValueError(f'{path}: no such file; these streams were never finished')
  whole = files.read_json(path, 'shards', most=files.MANIFEST)
  with files.reading(path):
    for entry in whole['shards']:
      _check_entry(entry)
  return whole


def _check_entry(entry):
  """Raises ValueError or TypeError for what is no entry of a shard."""
  missing = [key for key in _ENTRY if key not in entry]
  numbers = entry.get('bytes'), *entry['episodes'], *entry['lengths']
  whole = all(type(x) is int and x >= 0 for x in numbers)
  alike = len(entry['episodes']) == len(entry['lengths'])
  if missing or not (whole and alike and isinstance(entry['file'], str)):
    raise ValueError(f'found a shard {str(entry)[:200]}, expected {_ENTRY}')


def kept(directory: pathlib.Path) -> list[int]:
  """The episodes that are there, in order: those not skipped."""
  return [e for s in manifest(directory)['shards'] for e in s['episodes']]


def load(directory: pathlib.Path, names: Sequence[str]) -> Clips:
  """Reads the named streams of all episodes, end to end.

  Raises ValueError where there is no episode, and as `iterate` does.
  """
  parts = list(iterate(directory, names))
  if not parts:
    raise ValueError(f'{directory}: holds no episode')
  lengths = [len(part[names[0]]) for part in parts]
  arrays = {name: np.concatenate([p[name] for p in parts]) for name in names}
  return Clips(arrays, np.array(lengths, np.int32))


def iterate(
  directory: pathlib.Path, names: Sequence[str]
) -> Iterator[dict[str, np.ndarray]]:
  """The named streams {name: [T, ...]} of each episode, a shard in memory.

  Raises ValueError where a shard is missing, truncated or damaged, or holds
  no such stream.
  """
  for entry in manifest(directory)['shards']:
    path = files.inside(directory, entry['file'])
    whole = _records(path, entry)
    for record, length in zip(whole, entry['lengths'], strict=True):
      yield _episode(path, record, names, length)


def concatenate(parts: Sequence[Clips]) -> Clips:
  """The clips of all parts, in order, as one set of clips."""
  names = parts[0].arrays
  arrays = {k: np.concatenate([p.arrays[k] for p in parts]) for k in names}
  return Clips(arrays, np.concatenate([p.lengths for p in parts]))


def _records(path, entry):
  """All records of a shard; ArrayRecord opens a truncated one as empty."""
  expected = len(entry['episodes'])
  size = path.stat().st_size if path.exists() else 0
  if size != entry['bytes']:
    raise ValueError(
      f'{path}: {size} bytes, its manifest counts {entry["bytes"]}; the shard '
      'is truncated or missing, encode again'
    )
  if not expected:
    return []
  try:
    whole = records.read_all(path)
  except (RuntimeError, ValueError) as error:
    raise ValueError(f'{path}: damaged ({error}); encode again') from error
  if len(whole) != expected:
    raise ValueError(
      f'{path}: {len(whole)} records, its manifest counts {expected}; '
      'encode again'
    )
  return whole


def _episode(path, record, names, length):
  arrays = safetensors.load(record)
  missing = [name for name in names if name not in arrays]
  if missing:
    raise ValueError(
      f'{path}: no stream {", ".join(missing)}; it has {sorted(arrays)}'
    )
  steps = {name: len(arrays[name]) for name in names}
  if set(steps.values()) != {length}:
    raise ValueError(
      f'{path}: an episode has {steps} steps, its manifest counts {length}; '
      'encode again'
    )
  return {name: arrays[name] for name in names}


def _entry(path):
  return path.with_name(path.name + '.json')


def _sha256(path):
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()
