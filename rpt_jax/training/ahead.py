"""Batches, read before a step asks for them."""

from collections.abc import Callable, Iterator

from rpt_jax.types import PyTree

_AHEAD = 2  # Batches that are computed and not used yet, at most.


def batches(
  batch_at: Callable[[int], PyTree], start: int, stop: int
) -> Iterator[PyTree]:
  """Yields `batch_at(start)`, ..., `batch_at(stop - 1)`, read ahead of use.

  One thread of grain computes a few batches in advance and puts them on the
  devices; as `batch_at` is pure, the result is that of a plain loop.
  """
  import grain  # With it come orbax and array_record, which a typo need not.

  steps = grain.MapDataset.range(start, stop).map(batch_at)
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
  yield from steps.to_iter_dataset(options)
