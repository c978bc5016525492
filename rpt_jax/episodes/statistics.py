"""What a dataset's streams range over.

Moments are merged episode by episode (Chan et al. 1979), so that no dataset
need fit in memory; quantiles come from a sample of rows. Results are cached
under a hash of the dataset's files, with where they come from.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rpt_jax import files
from rpt_jax.episodes import listing
from rpt_jax.episodes.errors import CorruptEpisode

VERSION = 1
_SAMPLE = 200_000  # Rows that quantiles are taken from.


class Statistics(NamedTuple):
  """Of one stream over its steps: count and [A] float64 arrays."""

  count: int
  mean: np.ndarray
  std: np.ndarray
  min: np.ndarray
  max: np.ndarray
  q01: np.ndarray
  q99: np.ndarray


class Table(NamedTuple):
  """Statistics of streams by name, and where they come from."""

  streams: dict[str, Statistics]
  provenance: dict[str, Any]


def compute(
  source,
  fields: Sequence[str] = ('state', 'action'),
  episodes: Sequence[int] | None = None,
) -> Table:
  """Reads the streams of some episodes (None: all), no frame decoded.

  Episodes that cannot be read are left out and named in the provenance.
  Raises ValueError where none can be read, or a stream has no numbers.
  """
  indices = _chosen(source, episodes)
  parts, skipped = {field: Moments() for field in fields}, {}
  for index in map(int, indices):
    try:
      arrays = source.read(index, fields)
    except CorruptEpisode as error:
      skipped[str(index)] = str(error)
      continue
    for field, x in arrays.items():
      parts[field].add(_rows(x, field, source))
  if len(skipped) == len(indices):
    first = next(iter(skipped.values()), 'there is none')
    raise ValueError(
      f'{source.path}: none of its episodes can be read; the first: {first}'
    )
  provenance = {
    'version': VERSION,
    'dataset': source.path,
    'dataset_hash': content_hash(source.path),
    'fields': list(fields),
    'episodes': len(indices) - len(skipped),
    'episodes_hash': _digest(json.dumps(indices.tolist())),
    'skipped': skipped,
  }
  return Table({k: p.result() for k, p in parts.items()}, provenance)


def cached(
  directory: str | os.PathLike,
  source,
  fields: Sequence[str] = ('state', 'action'),
  episodes: Sequence[int] | None = None,
) -> Table:
  """`compute`, kept as `<directory>/<hash>.json`.

  The hash is of the dataset's content, the columns the streams are made of,
  the episodes and this version: a change of any computes anew.
  """
  indices = _chosen(source, episodes)
  key = [VERSION, content_hash(source.path), source.columns_of(fields)]
  key = _digest(json.dumps([*key, list(fields), indices.tolist()]))
  path = pathlib.Path(directory) / f'{key}.json'
  if path.exists():
    return load(path)
  table = compute(source, fields, episodes)
  save(path, table)
  return table


def _chosen(source, episodes):
  """Indices of episodes, None: all; a list of as many takes five times this."""
  if episodes is None:
    return np.arange(len(source))
  return np.asarray(episodes, np.int64)


def save(path: str | os.PathLike, table: Table) -> None:
  """Writes a table as JSON, whole or not at all."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  streams = {
    name: {k: np.asarray(v).tolist() for k, v in one._asdict().items()}
    for name, one in table.streams.items()
  }
  files.write_json(path, {**table.provenance, 'streams': streams})


def load(path: str | os.PathLike) -> Table:
  """Reads a table; ValueError where it is not one of this version."""
  try:
    provenance = files.read_json(path, 'streams')
    streams = {
      name: Statistics(
        count=one.pop('count'),
        **{k: np.array(v, np.float64) for k, v in one.items()},
      )
      for name, one in provenance.pop('streams').items()
    }
  except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
    raise ValueError(
      f'{path}: found no table of statistics; delete it if it is there, and it '
      'is made again'
    ) from error
  if provenance.get('version') != VERSION:
    raise ValueError(
      f'{path}: version {provenance.get("version")}, expected {VERSION}; '
      'delete it'
    )
  return Table(streams, provenance)


def content_hash(path: str | os.PathLike) -> str:
  """A cheap hash of a dataset: names and sizes of files, bytes of small ones.

  Files below 1 MiB (info, episode tables, short shards) are hashed whole, of
  others the first and last 64 KiB; times of change are not looked at, so a
  copy has the hash of its original. A change in the middle of a large file
  that keeps its size is not seen: record checksums guard that. It is kept
  (`listing.kept`): no file is opened again until one changes.
  """
  return listing.kept(path, 'content', lambda: _content_hash(path))


def _content_hash(path):
  root = pathlib.Path(path)
  files = [root] if root.is_file() else sorted(root.rglob('*'))
  digest = hashlib.blake2b(digest_size=16)
  for file in files:
    if file.is_file():
      name = file.relative_to(root).as_posix() if file != root else file.name
      digest.update(f'{name} {file.stat().st_size};'.encode())
      digest.update(_ends(file))
  return digest.hexdigest()


class Moments:
  """Count, mean, squared deviations and bounds of rows seen so far."""

  def __init__(self):
    self.count, self._mean, self._squares = 0, 0.0, 0.0
    self._low, self._high = np.inf, -np.inf
    self.sample = Reservoir()

  def add(self, x_NA: np.ndarray) -> None:
    """Merges rows, at least one, all finite."""
    count, mean = len(x_NA), x_NA.mean(0)
    total, delta = self.count + count, mean - self._mean
    within = ((x_NA - mean) ** 2).sum(0)
    between = delta**2 * (self.count * count / total)
    self._squares = self._squares + within + between
    self._mean = self._mean + delta * (count / total)
    self.count = total
    self._low = np.minimum(self._low, x_NA.min(0))
    self._high = np.maximum(self._high, x_NA.max(0))
    self.sample.add(x_NA)

  def result(self) -> Statistics:
    """Of all rows so far; quantiles are of a sample of them."""
    q01, q99 = np.quantile(self.sample.rows(), (0.01, 0.99), axis=0)
    std = np.sqrt(self._squares / self.count)
    bounds = self._low, self._high
    return Statistics(self.count, self._mean, std, *bounds, q01, q99)


class Reservoir:
  """All rows while they are few, then every second, fourth, ... of them."""

  def __init__(self):
    self._rows, self._every, self._seen, self._kept = None, 1, 0, 0

  def add(self, x_NA: np.ndarray) -> None:
    """Takes its share of rows that follow those before."""
    part = x_NA[-self._seen % self._every :: self._every]
    self._seen += len(x_NA)
    if self._rows is None:
      self._rows = np.empty((_SAMPLE, *x_NA.shape[1:]), x_NA.dtype)
    while self._kept + len(part) > _SAMPLE:
      part = np.concatenate([self.rows(), part])[::2]
      self._kept, self._every = 0, 2 * self._every
    self._rows[self._kept : self._kept + len(part)] = part
    self._kept += len(part)

  def rows(self) -> np.ndarray:
    """The rows kept, in order: [n, A]."""
    return self._rows[: self._kept]


def _rows(x, field, source):
  if x.dtype.kind not in 'biuf' or x.dtype == np.uint8 and x.ndim == 4:
    raise ValueError(
      f'{source.path}: {field} is {x.dtype}{list(x.shape)}, expected numbers '
      '[T, A]'
    )
  return x.reshape(len(x), -1).astype(np.float64)


def _ends(file):
  size = file.stat().st_size
  if size < 1 << 20:
    return file.read_bytes()
  with open(file, 'rb') as stream:
    head = stream.read(1 << 16)
    stream.seek(-(1 << 16), os.SEEK_END)
    return head + stream.read()


def _digest(text):
  return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
