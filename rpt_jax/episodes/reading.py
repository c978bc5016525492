"""Episodes read ahead of their use, by worker processes or threads.

In order, and few of them in memory. An episode that cannot be decoded comes as
its error, so that the reader of many decides how many are too many.
"""

import collections
import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from rpt_jax.episodes import CorruptEpisode

Content = dict[str, np.ndarray] | CorruptEpisode


def read_ahead(
  source,
  fields: Sequence[str],
  indices: Sequence[int],
  *,
  workers: int = 0,
  ahead: int = 4,
) -> Iterator[tuple[int, Content]]:
  """Yields (index, {field: [T, ...]} or CorruptEpisode) for every index.

  `workers` processes decode, each opening its own files; 0 decodes in threads
  of this one, as many as there are cores: the better choice for videos, whose
  decoder needs no Python. Beside the episode in use, `ahead` of them (or as
  many as there are workers) are in memory or on their way. An episode that is
  not as long as `source.lengths` says is corrupt. Closing the generator ends
  the workers.

  Raises ChildProcessError where a worker died.
  """
  lengths = source.lengths
  pool, read = _open_pool(source, fields, workers, ahead)
  waiting = collections.deque()
  index = None
  try:
    for index in indices:
      waiting.append((index, pool.submit(read, index)))
      if len(waiting) > max(ahead, workers):
        index, future = waiting.popleft()
        yield index, _of_length(lengths[index], future.result())
    while waiting:
      index, future = waiting.popleft()
      yield index, _of_length(lengths[index], future.result())
  except concurrent.futures.BrokenExecutor as error:
    raise ChildProcessError(
      f'a process decoding episodes died near episode {index}; is there enough '
      f'memory for {workers} of them? Lower the number of workers'
    ) from error
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def _open_pool(source, fields, workers, ahead):
  """An executor, and what to submit to it with the index of an episode."""
  if not workers:
    threads = max(1, min(ahead, os.cpu_count() or 1))
    read = functools.partial(_read, source, fields)
    return concurrent.futures.ThreadPoolExecutor(threads), read
  # Spawned, as a fork would copy the locks of JAX's threads.
  pool = concurrent.futures.ProcessPoolExecutor(
    workers,
    multiprocessing.get_context('spawn'),
    initializer=_start_worker,
    initargs=(source, tuple(fields)),
  )
  return pool, _read_in_worker


def _start_worker(source, fields):
  global _read_here  # A worker is told once what to read from.
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for its parent.
  _read_here = functools.partial(_read, source, fields)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  """A killed parent closes no pool; its workers would wait for ever."""
  multiprocessing.parent_process().join()
  os._exit(1)


def _read_in_worker(index):
  return _read_here(index)


def _read(source, fields, index):
  try:
    return source.read(index, fields)
  except CorruptEpisode as error:
    return error


def _of_length(expected, content: Content) -> Content:
  if isinstance(content, CorruptEpisode):
    return content
  steps = {k: len(x) for k, x in content.items()}
  if set(steps.values()) != {int(expected)}:
    return CorruptEpisode(
      f'found {sorted({*steps.values()})} steps, expected {expected} as its '
      'dataset says; copy it again'
    )
  return content


class Budget:
  """How many undecodable episodes a run bears: `share` of `total`.

  `skipped` are those an earlier, killed run came across.
  """

  def __init__(
    self,
    total: int,
    share: float,
    label: str,
    skipped: Mapping[int, str] | None = None,
  ):
    self.skipped = dict(skipped or {})
    self._total, self._share, self._label = total, share, label

  def skip(self, index: int, error: Exception) -> None:
    """Counts and names one; ValueError where they are too many."""
    self.skipped[index] = str(error)
    print(f'{self._label}: episode {index} skipped: {error}', flush=True)
    self.check()

  def check(self) -> None:
    """ValueError where there are too many."""
    count = len(self.skipped)
    if count <= self._share * self._total + 1e-9:
      return
    index, why = list(self.skipped.items())[-1]
    raise ValueError(
      f'{self._label}: {count} of {self._total} episodes cannot be decoded, '
      f'more than the budget of {self._share:.1%}; the last, episode {index}: '
      f'{why}. Mend the dataset, or raise error_budget in the config'
    )


def batches(
  episodes: Iterable[dict[str, np.ndarray]], size: int
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
  """Rows of many episodes as batches of `size`, and how many rows are real.

  The last batch repeats its last row to keep the shape static; so does the
  last one before frames of another size.
  """
  rest, count = {}, 0
  for arrays in episodes:
    if count and _row_shapes(arrays) != _row_shapes(rest):
      yield _padded(rest, count, size), count
      count = 0
    if count:
      arrays = {k: np.concatenate([rest[k], x]) for k, x in arrays.items()}
    count = len(next(iter(arrays.values())))
    full = count - count % size
    for start in range(0, full, size):
      yield {k: x[start : start + size] for k, x in arrays.items()}, size
    # A copy, as a view would keep the whole episode.
    rest = {k: x[full:].copy() for k, x in arrays.items()}
    count -= full
  if count:
    yield _padded(rest, count, size), count


def _row_shapes(arrays):
  return {k: x.shape[1:] for k, x in arrays.items()}


def _padded(arrays, count, size):
  rows = np.minimum(np.arange(size), count - 1)
  return {k: x[rows] for k, x in arrays.items()}
