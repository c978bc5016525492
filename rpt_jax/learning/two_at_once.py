"""Cells worked at two at a time where a cell alone leaves a CPU half idle."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax


def each(work: Callable, cells: Iterable) -> Iterator:
  """`work(cell)` of every cell, in their order; what follows is begun early.

  The programs of a cell are a few milliseconds a step and keep 1.3 of two
  cores busy. Each is compiled and run as it is alone, so that its bits do not
  depend on its neighbour. The first cell has no neighbour: it reads what all
  share. Accelerators, which one program fills, and several processes, which
  must meet in the same order, take one cell at a time.
  """
  cells = iter(cells)
  yield from map(work, itertools.islice(cells, 1))
  if jax.default_backend() != 'cpu' or jax.process_count() > 1:
    yield from map(work, cells)
    return
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    yield from pool.map(work, cells)
