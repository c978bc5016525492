"""Episodes read ahead of their use, by worker processes or threads.

In order, at most `ahead` of them in memory. An episode that cannot be decoded
comes as its error, so that the reader of many decides how many are too many.
"""

import collections
import concurrent.futures
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from rpt_jax.episodes import CorruptEpisode


def read_ahead(
  source,
  fields: Sequence[str],
  indices: Sequence[int],
  *,
  workers: int = 0,
  ahead: int = 4,
) -> Iterator[tuple[int, dict[str, np.ndarray] | CorruptEpisode]]:
  """Yields (index, {field: [T, ...]} or CorruptEpisode) for every index.

  `workers` processes decode, each opening its own files; 0 decodes in threads
  of this one. Raises RuntimeError where a worker died.
  """
  if workers:
    # Spawned, as a fork would copy the locks of JAX's threads.
    pool = concurrent.futures.ProcessPoolExecutor(
      workers, multiprocessing.get_context('spawn')
    )
  else:
    pool = concurrent.futures.ThreadPoolExecutor(2)
  waiting = collections.deque()
  try:
    for index in indices:
      waiting.append((index, pool.submit(_read, source, fields, index)))
      if len(waiting) > ahead:
        yield _result(*waiting.popleft())
    while waiting:
      yield _result(*waiting.popleft())
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def _read(source, fields, index):
  try:
    return source.read(index, fields)
  except CorruptEpisode as error:
    return error


def _result(index, future):
  try:
    return index, future.result()
  except concurrent.futures.process.BrokenProcessPool as error:
    raise RuntimeError(
      f'a process decoding episode {index} died; is there enough memory? '
      'Lower the number of workers'
    ) from error


class Budget:
  """How many undecodable episodes a run bears: `share` of `total`."""

  def __init__(self, total: int, share: float, label: str):
    self.skipped: dict[int, str] = {}
    self._total, self._share, self._label = total, share, label

  def skip(self, index: int, error: Exception) -> None:
    """Counts and names one; ValueError where they are too many."""
    self.skipped[index] = str(error)
    print(f'{self._label}: episode {index} skipped: {error}', flush=True)
    if len(self.skipped) > self._share * self._total:
      raise ValueError(
        f'{self._label}: {len(self.skipped)} of {self._total} episodes cannot '
        f'be decoded, more than the budget of {self._share:.1%}; the last: '
        f'{error}. Mend the dataset, or raise config.encode.error_budget'
      )


def batches(
  episodes: Iterable[dict[str, np.ndarray]], size: int
) -> Iterator[tuple[dict[str, np.ndarray], int]]:
  """Rows of many episodes as batches of `size`, and how many rows are real.

  The last batch repeats its last row to keep the shape static.
  """
  rest, count = {}, 0
  for arrays in episodes:
    if count:
      arrays = {k: np.concatenate([rest[k], x]) for k, x in arrays.items()}
    count = len(next(iter(arrays.values())))
    full = count - count % size
    for start in range(0, full, size):
      yield {k: x[start : start + size] for k, x in arrays.items()}, size
    rest = {k: x[full:] for k, x in arrays.items()}
    count -= full
  if count:
    rows = np.minimum(np.arange(size), count - 1)
    yield {k: x[rows] for k, x in rest.items()}, count
