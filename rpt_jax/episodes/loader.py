"""Batches as pure functions of (seed, step): no state, resume anywhere.

Indices are shuffled, not samples, and a batch is gathered whole;
`training/ahead.py` reads ahead of the training loop.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from rpt_jax.episodes.windows import Table, Windows, gather, rows

# Samples whose permutation is listed, in 8 bytes each; of more it is computed.
LISTED = 1 << 24


class Order:
  """An endless order over `size` samples: a new permutation every epoch.

  `order(step)` -> int64 indices: the `rows` of batch `step` that this process
  is to load (all, unless said). Batches are consecutive runs of the order
  (they may span two epochs), the same for every number of processes; each
  index occurs once in an epoch.
  """

  def __init__(
    self,
    size: int,
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
  ):
    if size < 1 or batch_size < 1 or seed < 0:
      raise ValueError(
        f'{size} samples in batches of {batch_size}, seed {seed}: expected at '
        'least one of each, and a seed of at least 0'
      )
    self.size, self.batch_size, self.seed = size, batch_size, seed
    self._rows = np.arange(batch_size) if rows is None else rows
    self._epoch = functools.lru_cache(maxsize=2)(self._permutation)

  def __call__(self, step: int) -> np.ndarray:
    return self.at(step * self.batch_size + self._rows)

  def at(self, positions: np.ndarray) -> np.ndarray:
    """The samples at any positions of the endless order: int64 indices."""
    epochs, places = np.divmod(positions, self.size)
    picks = np.empty_like(places)
    for epoch in np.unique(epochs):
      in_epoch = epochs == epoch
      picks[in_epoch] = self._epoch(int(epoch))(places[in_epoch])
    return picks

  def _permutation(self, epoch):
    """places -> samples, each once."""
    seed = np.random.SeedSequence([self.seed, epoch])
    if self.size <= LISTED:
      return np.random.default_rng(seed).permutation(self.size).__getitem__
    import grain  # With it come orbax and array_record, which a typo need not.

    (seed,) = seed.generate_state(1).tolist()
    shuffled = grain.MapDataset.range(self.size).shuffle(seed=seed)
    return lambda places: np.array([shuffled[i] for i in places.tolist()])


class Balanced:
  """An endless order over sets that lie end to end, each as often as another.

  `order(step)` is that of `Order`: rows of a batch take turns over the sets
  that are not empty, and each set comes in an endless order of its own, so
  that of a small one there are more epochs.
  """

  def __init__(
    self,
    sizes: Sequence[int],
    batch_size: int,
    seed: int,
    rows: np.ndarray | None = None,
  ):
    starts = np.cumsum([0, *sizes])
    self._sets = [
      (start, Order(size, batch_size, seed))
      for start, size in zip(starts, sizes, strict=False)
      if size
    ]
    if not self._sets:
      raise ValueError(f'sets of {list(sizes)} samples: expected one at least')
    self.batch_size = batch_size
    self._rows = np.arange(batch_size) if rows is None else rows

  def __call__(self, step: int) -> np.ndarray:
    positions = step * self.batch_size + self._rows
    turns, which = np.divmod(positions, len(self._sets))
    picks = np.empty_like(positions)
    for i, (start, order) in enumerate(self._sets):
      picks[which == i] = start + order.at(turns[which == i])
    return picks


def window_batches(
  arrays: dict[str, np.ndarray],
  table: Windows | Table,
  context: int,
  order: Order,
) -> Callable[[int], dict[str, np.ndarray]]:
  """Returns batch_at(step): windows of the arrays, and 'valid' [B, context].

  `arrays` are clips end to end [N, ...]; each gives [B, context, ...], whose
  rows outside their clip repeat its nearest row and are not valid.
  """

  def batch_at(step: int) -> dict[str, np.ndarray]:
    rows_BT, valid_BT = rows(table.take(order(step)), context)
    return {**gather(arrays, rows_BT), 'valid': valid_BT}

  return batch_at
