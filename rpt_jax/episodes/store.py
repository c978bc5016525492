"""Streams of episodes on disk: flat arrays in shards, and a manifest.

A shard of a stream is a `.npy` [rows, ...] of some episodes end to end, which
is read at random. Beside the arrays of a shard lies its entry, which is written
last: what is in it, and sizes and sha256 of its files. `seal` gathers the
entries into `manifest.json`, without which there is nothing to read. So a
killed writer goes on with the shards that have no entry.

Why flat files (`python -m tests.benchmarks windows`, windows of 16 steps of 384
f16, a second of one core of an AMD EPYC 7003): 217,000 from here, 29,000 by
PyTorch's DataLoader from memory, 17,000 by TensorStore (zarr3, sharded).
Through a mount that answers after 20 ms: 1,400 in the first 20 seconds, 47
where reads are not announced, 1,100 by TensorStore.
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import stack
from rpt_jax.episodes.windows import Clips
from rpt_jax.types import Array

MANIFEST = 'manifest.json'
FORMAT = 2  # What is stored otherwise is made again.
_ENTRY = 'shard', 'streams', 'episodes', 'lengths', 'skipped'


class Shard(NamedTuple):
  """Shard `index` of `total`, for episodes `start` to `stop` (excluded)."""

  index: int
  total: int
  start: int
  stop: int

  @property
  def name(self) -> str:
    """Which of how many it is, as in '00002-of-00016'."""
    return f'{self.index:05d}-of-{self.total:05d}'

  def file(self, stream: str) -> str:
    """The file of one of its streams; 'latent/wrist' is 'latent.wrist'."""
    return f'{self.name}.{stream.replace("/", ".")}.npy'


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
  episodes: Mapping[int, Mapping[str, Array]],
  skipped: Mapping[int, str],
) -> None:
  """Writes {episode: {stream: [T, ...]}}, and why others are left out.

  Raises OSError where it cannot be written.
  """
  arrays = {
    name: np.concatenate([streams[name] for streams in episodes.values()])
    for name in next(iter(episodes.values()), {})
  }
  lengths = {e: len(next(iter(x.values()))) for e, x in episodes.items()}
  write_arrays(directory, shard, arrays, lengths, skipped)


def write_arrays(
  directory: pathlib.Path,
  shard: Shard,
  arrays: Mapping[str, Array],
  lengths: Mapping[int, int],
  skipped: Mapping[int, str],
) -> None:
  """Writes {stream: [rows, ...]} of episodes end to end; {episode: length}.

  Raises OSError where it cannot be written.
  """
  names = [shard.file(name) for name in arrays]
  if len({*names}) < len(names):
    raise ValueError(f'{directory}: streams {[*arrays]} would share one file')
  directory.mkdir(parents=True, exist_ok=True)
  streams = {}
  for name, x in arrays.items():
    path = directory / shard.file(name)
    files.write_array(path, np.ascontiguousarray(x))
    streams[name] = {
      'file': path.name,
      'bytes': path.stat().st_size,
      'sha256': files.sha256(path),
    }
  entry = {
    'shard': shard.name,
    'streams': streams,
    'episodes': list(lengths),
    'lengths': list(lengths.values()),
    'skipped': {str(k): why for k, why in skipped.items()},
  }
  files.write_json(_entry(directory, shard.name), entry)


def read_entry(
  directory: pathlib.Path, shard: Shard, intact: bool = True
) -> dict | None:
  """What is known of a finished shard; None where it must be written.

  That is where an entry or a file is missing or of other episodes, or has
  another size; with `intact`, also where its bytes are not those that were
  hashed.
  """
  path = _entry(directory, shard.name)
  if not path.exists():
    return None
  try:
    entry = files.read_json(path, *_ENTRY, most=files.MANIFEST)
    _check_entry(entry)
    seen = {*entry['episodes'], *map(int, entry['skipped'])}
  except (TypeError, ValueError):  # Cut off, or altered.
    return None
  whole = entry['shard'] == shard.name
  whole &= seen == set(range(shard.start, shard.stop))
  for name, about in entry['streams'].items():
    file = directory / shard.file(name)
    whole = whole and about['file'] == file.name and file.is_file()
    whole = whole and file.stat().st_size == about['bytes']
    whole = whole and not (intact and files.sha256(file) != about['sha256'])
  return entry if whole else None


def finished(directory: pathlib.Path, shards: Sequence[Shard]) -> list[dict]:
  """The entries of all shards; ValueError naming those not finished.

  Whoever wrote a shard has hashed it: here sizes are looked at.
  """
  entries = [read_entry(directory, shard, intact=False) for shard in shards]
  missing = [s.name for s, e in zip(shards, entries, strict=True) if e is None]
  if missing:
    raise ValueError(f'{directory}: shards {missing} were never finished')
  return entries


def seal(directory: pathlib.Path, entries: Sequence[dict]) -> None:
  """Gathers entries into `manifest.json`; a killed seal is done again."""
  files.write_json(directory / MANIFEST, {'shards': entries})
  for entry in entries:
    _entry(directory, entry['shard']).unlink(missing_ok=True)


def manifest(directory: pathlib.Path) -> dict:
  """The manifest; ValueError where the streams were never finished."""
  path = directory / MANIFEST
  if not path.exists():
    raise ValueError(f'{path}: no such file; these streams were never finished')
  about = path.stat()
  return _manifest(path, about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=64)
def _manifest(path, *_):
  whole = files.read_json(path, 'shards', most=files.MANIFEST)
  with files.reading(path):
    for entry in whole['shards']:
      _check_entry(entry)
  return whole


def _check_entry(entry):
  """Raises ValueError or TypeError for what is no entry of a shard."""
  missing = [key for key in _ENTRY if key not in entry]
  if missing or not isinstance(entry['shard'], str):
    raise _no_entry(entry)
  about = [(x['file'], x['bytes']) for x in entry['streams'].values()]
  numbers = *(size for _, size in about), *entry['episodes'], *entry['lengths']
  whole = all(type(x) is int and x >= 0 for x in numbers)
  alike = len(entry['episodes']) == len(entry['lengths'])
  named = all(isinstance(file, str) for file, _ in about)
  if not (whole and alike and named):
    raise _no_entry(entry)


def _no_entry(entry) -> ValueError:
  return ValueError(
    f'found a shard {str(entry)[:200]}, expected {_ENTRY}; run the stage again'
  )


def kept(directory: pathlib.Path) -> list[int]:
  """The episodes that are there, in order: those not skipped."""
  return [e for s in manifest(directory)['shards'] for e in s['episodes']]


def streams(directory: pathlib.Path) -> tuple[str, ...]:
  """The streams that are there, in the order of their names."""
  shards = manifest(directory)['shards']
  return tuple(sorted(next((s['streams'] for s in shards if s['streams']), ())))


def steps(entries: Sequence[Mapping]) -> int:
  """How many steps the episodes of some shards have."""
  return sum(sum(entry['lengths']) for entry in entries)


def load(directory: pathlib.Path, names: Sequence[str]) -> Clips:
  """The named streams of all episodes, not read yet: {name: `stack.Stack`}.

  Raises ValueError where there is no episode, and where a file is missing, of
  another size than its manifest counts or of other steps, or there is no such
  stream.
  """
  shards = [s for s in manifest(directory)['shards'] if s['episodes']]
  if not shards:
    raise ValueError(f'{directory}: holds no episode')
  lengths = np.concatenate([s['lengths'] for s in shards]).astype(np.int32)
  arrays = {
    name: stack.Stack([_file(directory, shard, name) for shard in shards])
    for name in names
  }
  return Clips(arrays, lengths)


def concatenate(parts: Sequence[Clips]) -> Clips:
  """The clips of all parts, in order, as one set of clips."""
  names = parts[0].arrays
  arrays = {k: stack.end_to_end([p.arrays[k] for p in parts]) for k in names}
  return Clips(arrays, np.concatenate([p.lengths for p in parts]))


def _file(directory, entry, name):
  """A stream of a shard."""
  if name not in entry['streams']:
    raise ValueError(
      f'{directory}: no stream {name!r}; it has {sorted(entry["streams"])}'
    )
  about = entry['streams'][name]
  path = files.inside(directory, about['file'])
  size = path.stat().st_size if path.is_file() else 0
  if size != about['bytes']:
    raise ValueError(
      f'{path}: {size} bytes, its manifest counts {about["bytes"]}; the shard '
      'is truncated or missing, encode again'
    )
  with files.reading(path):
    x = stack.File(path)
  if len(x) != sum(entry['lengths']):
    raise ValueError(
      f'{path}: {len(x)} steps, its manifest counts {sum(entry["lengths"])}; '
      'encode again'
    )
  return x


def _entry(directory, shard_name):
  return directory / f'{shard_name}.json'
