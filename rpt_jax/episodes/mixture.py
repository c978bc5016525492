"""Weighted mixtures of datasets: which sample comes next, for ever.

A pure function of (seed, step): nothing to save, resume anywhere, the same
samples for any number of processes. Within a dataset each of its samples
occurs once before any occurs again.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.episodes.loader import Order

CYCLE = 10_000  # Samples in which the shares are exact.


class Picks(NamedTuple):
  """Samples of one batch: which dataset [B], and which of its samples [B]."""

  dataset: np.ndarray
  row: np.ndarray


class Mixture:
  """`mixture(step)` -> Picks, in the shares of `weights`.

  `sizes` are samples per dataset. Every `CYCLE` samples hold each dataset
  round(CYCLE * share) times, at least once, spread evenly and in an order of
  their own. `rows` of every batch are loaded, as in `loader.Order`.

  Raises ValueError for weights or sizes that are not positive.
  """

  def __init__(
    self,
    sizes: Sequence[int],
    weights: Sequence[float],
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
  ):
    self.counts = deal(weights, CYCLE)
    self._orders = [
      Order(size, 1, seed) for size in _same_number(sizes, weights)
    ]
    self._rows = np.arange(batch_size) if rows is None else rows
    self.batch_size, self.seed = batch_size, seed
    self._cycle = functools.lru_cache(maxsize=2)(self._dealt)

  def __call__(self, step: int) -> Picks:
    cycles, slots = np.divmod(step * self.batch_size + self._rows, CYCLE)
    dataset = np.empty(len(slots), np.int32)
    nth = np.empty(len(slots), np.int64)
    for cycle in np.unique(cycles):
      in_cycle = cycles == cycle
      datasets, ranks = self._cycle(int(cycle))
      dataset[in_cycle] = datasets[slots[in_cycle]]
      before = cycle * self.counts[dataset[in_cycle]]
      nth[in_cycle] = before + ranks[slots[in_cycle]]
    row = np.empty(len(slots), np.int64)
    for d in np.unique(dataset):
      row[dataset == d] = self._orders[d].at(nth[dataset == d])
    return Picks(dataset, row)

  def _dealt(self, cycle):
    """([CYCLE] datasets, [CYCLE] how often each came before)."""
    rng = np.random.default_rng([self.seed, cycle])
    ranks = np.concatenate([np.arange(n) for n in self.counts])
    dataset = np.repeat(np.arange(len(self.counts)), self.counts)
    # The k-th of n samples falls at random into the k-th of n equal parts.
    places = (ranks + rng.random(CYCLE)) / self.counts[dataset]
    order = np.argsort(places, kind='stable')
    return dataset[order].astype(np.int32), ranks[order]


def deal(weights: Sequence[float], total: int) -> np.ndarray:
  """`total` dealt in shares of `weights` by largest remainder, none empty."""
  weights = np.asarray(weights, np.float64)
  if not weights.size or not np.isfinite(weights).all() or weights.min() <= 0:
    raise ValueError(f'weights: found {weights.tolist()}, expected positive')
  if len(weights) > total:
    raise ValueError(f'{len(weights)} datasets: expected at most {total}')
  exact = weights / weights.sum() * total
  counts = np.maximum(np.floor(exact), 1).astype(np.int64)
  while (rest := total - counts.sum()) != 0:
    gap = exact - counts
    if rest < 0:
      gap = np.where(counts > 1, gap, np.inf)
    counts[gap.argmax() if rest > 0 else gap.argmin()] += np.sign(rest)
  return counts


def _same_number(sizes, weights):
  if len(sizes) != len(weights):
    raise ValueError(
      f'{len(sizes)} sizes and {len(weights)} weights: expected as many'
    )
  return sizes
