"""What policies learn from: streams and actions, and whose turn is which.

Seeds differ in the demonstrations they get; all cells of a seed see the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.domains import Domain
from rpt_jax.episodes import windows
from rpt_jax.learning import streams
from rpt_jax.learning.texts import Texts
from rpt_jax.types import ACTION, Array


class Demos(NamedTuple):
  """Demonstrations of a domain, of all of its split or of some.

  `data` are the arrays, padded, and 'table', the windows of one step each;
  policies see those that end there. `episodes` says which of the split's
  `total` they are.
  """

  data: dict
  table: windows.Windows
  episodes: np.ndarray
  total: int


def load(
  domains: Sequence[Domain],
  inputs: Mapping[str, Path],
  names: Sequence[str],
  most: int,
  seed: int,
  seeds: int,
  texts: Texts | None = None,
) -> dict[str, Demos]:
  """Per domain the streams `names` and the actions, as recorded.

  `texts` says how instructions are read.

  Nothing is read but what some seed learns from, at `most` so many each. Arrays
  of all domains are padded alike, to at least the longest's rows. Raises
  ValueError where fewer than `most` could be read.
  """
  clips, episodes, totals = {}, {}, {}
  for d in domains:
    whole = streams.read(d, inputs, d.demos, (*names, ACTION), texts)
    totals[d.name] = len(whole.lengths)
    if totals[d.name] < most:
      raise ValueError(
        f'config.finetune.demos: found {most}, but of {d.name} only '
        f'{totals[d.name]} demonstrations could be read; ask for fewer, or '
        'mend the dataset'
      )
    orders = [_order(totals[d.name], seed, each) for each in range(seeds)]
    episodes[d.name] = np.unique([order[:most] for order in orders])
    clips[d.name] = _only(whole, episodes[d.name])
  # A power of two, so that other demonstrations share what is compiled.
  size = 1 << int(max(c.lengths.sum() for c in clips.values()) - 1).bit_length()
  demos = {}
  for name, c in clips.items():
    table = windows.windows(c.lengths, 1)
    padded = jax.tree.map(
      lambda x: _pad_rows(x, size), c.arrays | {'table': table}
    )
    data = jax.tree.map(jnp.asarray, padded)
    demos[name] = Demos(data, table, episodes[name], totals[name])
  return demos


def _order(total, seed, each):
  """The demonstrations as one of the seeds gets them, one after the other."""
  return np.random.default_rng([seed, each]).permutation(total)


def _only(clips, episodes):
  """Some of the clips, in memory."""
  starts, lengths = clips.offsets[episodes], clips.lengths[episodes]
  rows = np.concatenate(
    [np.arange(n) + start for start, n in zip(starts, lengths, strict=True)]
  )
  return windows.Clips({k: x[rows] for k, x in clips.arrays.items()}, lengths)


def picks(
  demos: Demos, num_demos: int, size: int, seed: int, seeds: int, first: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Windows of each seed's first demonstrations: [S, N], and their count [S].

  Every seed draws its own order of the demonstrations; fewer demonstrations
  are a part of more. Those before the `first` are left out. Rows beyond the
  count repeat and are never drawn.
  """
  episode_N, picks_SN, counts = demos.episodes[demos.table.clip], [], []
  for each in range(seeds):
    chosen = _order(demos.total, seed, each)[first:num_demos]
    own = np.flatnonzero(np.isin(episode_N, chosen))
    picks_SN.append(np.resize(own, size))
    counts.append(len(own))
  return np.stack(picks_SN), np.array(counts)


def draw(key: Array, step: Array, picks_N: Array, count: Array, size: int):
  """The windows [size] of a training step: a function of key and step."""
  place = jax.random.randint(jax.random.fold_in(key, step), (size,), 0, count)
  return picks_N[place]


def batch(
  data: dict, picks_B: Array, names: Sequence[str], context: int, chunk: int
) -> dict:
  """Windows ending at the steps picked, and the actions of their chunks.

  `data` holds 'table', 'action' [N, A] and the inputs `names`, trees of arrays.
  Discrete targets are [B, S, 1], continuous ones [B, S, A].
  """
  table = data['table'].take(picks_B)
  first_B, steps = table.first - (context - 1), context + chunk - 1
  rows_BS, valid_BS = windows.future(first_B, table, steps)
  rows_BT = rows_BS[:, :context]
  seen = {name: windows.gather(data[name], rows_BT) for name in names}
  return {
    'inputs': streams.in_windows(seen),
    'targets': {ACTION: windows.gather(data[ACTION], rows_BS)},
    'valid': valid_BS[:, :context],
    'target_valid': valid_BS,
  }


def _pad_rows(x, size):
  return np.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1))
