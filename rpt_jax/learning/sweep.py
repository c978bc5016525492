"""Every frame of a split through a function, once, into the stream store.

Episodes are decoded ahead while the device computes; a batch is split over the
devices of this process, shards over processes. No more than a shard of what is
made is in memory, and a killed sweep goes on at its next shard.
"""

import collections
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rpt_jax.episodes import CorruptEpisode, reading, store
from rpt_jax.training import distributed
from rpt_jax.types import Array


class View(NamedTuple):
  """What is looked at, and the stream that is made of it.

  `fields` {argument: field of a step}; what is made of several views of one
  stream lies side by side.
  """

  fields: Mapping[str, str]
  stream: str


class Sweep(NamedTuple):
  """How a split is gone through; `make` is {argument: [B, ...]} -> [B, ...].

  `checked` says what is wrong with what was made of an episode, '' where
  nothing is.
  """

  views: tuple[View, ...]
  make: Callable[[dict[str, np.ndarray]], Array]
  batch_size: int
  shard_frames: int
  error_budget: float  # Share of undecodable episodes borne.
  workers: int = 0
  ahead: int = 4
  checked: Callable[[dict[str, np.ndarray]], str] = lambda arrays: ''


def split(source: Any, sweep: Sweep, folder: Path) -> list[dict]:
  """Writes the shards of a split that are not there yet, then the manifest.

  Returns the entries of all shards. Raises ValueError where too many episodes
  cannot be decoded, and for what `checked` finds wrong.
  """
  name = f'{folder.parent.name}/{folder.name}'
  if (folder / store.MANIFEST).exists():
    entries = store.manifest(folder)['shards']
  else:
    shards = store.plan(source.lengths, sweep.shard_frames)
    own_shards = shards[jax.process_index() :: jax.process_count()]
    _write_shards(source, sweep, folder, own_shards)
    distributed.wait(f'{name} written')
    entries = store.finished(folder, shards)
    _budget(source, sweep, name, entries).check()  # Of all processes.
    distributed.wait(f'{name} counted')
  if distributed.is_first():
    store.seal(folder, entries)
  distributed.wait(f'{name} sealed')
  return entries


def skipped(entries: list[dict | None]) -> dict[int, str]:
  """{episode: why} of finished shards; None stands for an unfinished one."""
  return {
    int(episode): why
    for entry in entries
    if entry is not None
    for episode, why in entry['skipped'].items()
  }


def _budget(source, sweep, name, entries):
  """What may yet be skipped, after what finished shards have skipped."""
  total, share = len(source), sweep.error_budget
  return reading.Budget(total, share, name, skipped(entries))


def _write_shards(source, sweep, folder, shards):
  """Writes those of `shards` that are not finished."""
  name = f'{folder.parent.name}/{folder.name}'
  entries = [store.read_entry(folder, shard) for shard in shards]
  todo = [s for s, e in zip(shards, entries, strict=True) if e is None]
  due = [e for shard in todo for e in range(shard.start, shard.stop)]
  budget = _budget(source, sweep, name, entries)
  progress = _Progress(name, int(source.lengths[due].sum()), len(sweep.views))
  fields = [f for view in sweep.views for f in view.fields.values()]
  reader = reading.read_ahead(
    source,
    tuple(dict.fromkeys(fields)),
    due,
    workers=sweep.workers,
    ahead=sweep.ahead,
  )
  with contextlib.closing(reader):
    decoded = progress.waiting_for(reader)
    for shard in todo:
      lengths, left_out = {}, {}
      episodes = _sound(decoded, shard, budget, lengths, left_out)
      arrays = _made(episodes, sweep, progress)
      by_episode = _by_episode(arrays, lengths, name, sweep.checked)
      store.write_shard(folder, shard, by_episode, left_out)
  progress.close()


def _sound(decoded, shard, budget, lengths, left_out):
  """The episodes of a shard that could be decoded; notes which could not."""
  for episode, content in itertools.islice(decoded, shard.stop - shard.start):
    if isinstance(content, CorruptEpisode):
      budget.skip(episode, content)
      left_out[episode] = str(content)
    else:
      lengths[episode] = len(next(iter(content.values())))
      yield content


def _made(episodes, sweep, progress):
  """{stream: [N, ...]} of all frames; two batches are on the device at once."""
  done, running = collections.defaultdict(list), collections.deque()

  def finish():
    arrays, count = running.popleft()
    parts = collections.defaultdict(list)
    for view, x in zip(sweep.views, arrays, strict=True):
      parts[view.stream].append(np.asarray(x)[:count])
    for stream, side_by_side in parts.items():
      done[stream].append(np.concatenate(side_by_side, -1))
    progress(count)

  devices = jax.local_device_count()
  size = -(-sweep.batch_size // devices) * devices
  for batch, count in reading.batches(episodes, size):
    seen = [{k: batch[f] for k, f in v.fields.items()} for v in sweep.views]
    running.append(([sweep.make(x) for x in seen], count))
    if len(running) > 1:
      finish()
  while running:
    finish()
  return {stream: np.concatenate(parts) for stream, parts in done.items()}


def _by_episode(arrays, lengths, name, checked):
  """{episode: {stream: [T, ...]}}; ValueError for one that is `checked`."""
  by_episode, start = {}, 0
  for episode, length in lengths.items():
    rows = slice(start, start + length)
    by_episode[episode] = {k: x[rows] for k, x in arrays.items()}
    if wrong := checked(by_episode[episode]):
      raise ValueError(f'{name}: episode {episode}: {wrong}')
    start += length
  return by_episode


class _Progress:
  """Prints frames done, images a second, how long decoding was waited for."""

  _EVERY = 5.0  # Seconds.

  def __init__(self, label: str, total: int, views: int):
    self._label, self._total, self._views = label, total, views
    self._done, self._printed_frames, self._waited = 0, 0, 0.0
    self._began = self._printed = time.perf_counter()

  def __call__(self, count: int):
    """`count` frames more are done."""
    self._done += count
    if time.perf_counter() - self._printed > self._EVERY:
      self._print()

  def waiting_for(self, items: Iterator) -> Iterator:
    """The same items, the time they took counted as waiting."""
    while True:
      began = time.perf_counter()
      item = next(items, None)
      self._waited += time.perf_counter() - began
      if item is None:
        return
      yield item

  def close(self):
    if self._done > self._printed_frames:
      self._print()

  def _print(self):
    self._printed, self._printed_frames = time.perf_counter(), self._done
    elapsed = max(self._printed - self._began, 1e-9)
    rate = max(self._done / elapsed, 1e-9)
    print(
      f'  {self._label} {self._done}/{self._total} frames '
      f'{rate * self._views:.0f} images/s '
      f'wait {self._waited / elapsed:.0%} '
      f'ETA {(self._total - self._done) / rate:.0f}s',
      flush=True,
    )
