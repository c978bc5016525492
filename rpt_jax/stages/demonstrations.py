"""What policies learn from: latents and actions, and whose turn is which.

Seeds differ in the demonstrations they get; all cells of a seed see the same.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import sharing
from rpt_jax.episodes import streams, windows
from rpt_jax.stages import domains, sensorimotor
from rpt_jax.types import Array


def load(config, inputs) -> dict[str, tuple[dict, windows.Windows]]:
  """Per domain: arrays padded to the rows of the longest, and its steps.

  Of the table's windows, of one step each, policies see those that end there.
  Continuous actions come standardised, or in units of their limit.
  """
  clips = {
    name: with_actions(config, inputs, name, domains.demos_split(config, name))
    for name in domains.acting(config)
  }
  size, demos = max(c.lengths.sum() for c in clips.values()), {}
  for name, c in clips.items():
    table = windows.windows(c.lengths, 1)
    data = c.arrays | {'table': table}
    padded = jax.tree.map(lambda x: _pad_rows(x, size), data)
    demos[name] = jax.tree.map(jnp.asarray, padded), table
  return demos


def with_actions(config, inputs, name: str, split: str) -> windows.Clips:
  """What a policy of this domain sees, and the actions it is to give."""
  if sensorimotor.wanted(config):
    scales = sharing.load_scales(inputs['pretrain'] / sensorimotor.FILE)
    found = sensorimotor.recorded(config, inputs, name, split)
    return sensorimotor.standardise(found, scales)
  latent = streams.load(inputs['encode'] / name / split, ('latent',))
  known = domains.labels(config, inputs, name, split, ('action',))
  action = known.arrays['action']
  if action.ndim > 1 or action.dtype.kind == 'f':
    mean, scale = domains.action_scale(config, inputs['collect'], name)
    action = ((action - mean) / scale).astype(np.float32)
  return windows.Clips(latent.arrays | {'action': action}, latent.lengths)


def picks(table: windows.Windows, num_demos: int, size: int, config):
  """Windows of each seed's first demonstrations: [S, N], and their count [S].

  Every seed draws its own order of the demonstrations; fewer demonstrations
  are a part of more. Rows beyond the count repeat and are never drawn.
  """
  picks, counts = [], []
  for seed in range(config.finetune.seeds):
    order = np.random.default_rng([config.seed, seed])
    chosen = order.permutation(table.clip.max() + 1)[:num_demos]
    mine = np.flatnonzero(np.isin(table.clip, chosen))
    picks.append(np.resize(mine, size))
    counts.append(len(mine))
  return np.stack(picks), np.array(counts)


def draw(key: Array, step: Array, picks_N: Array, count: Array, size: int):
  """The windows [size] of a training step: a function of key and step."""
  place = jax.random.randint(jax.random.fold_in(key, step), (size,), 0, count)
  return picks_N[place]


def batch(data: dict, picks_B: Array, names: Sequence[str], context, chunk):
  """Windows ending at the steps picked, and the actions of their chunks.

  `data` holds 'table', 'action' and the inputs `names`, trees of arrays.
  """
  table = data['table'].take(picks_B)
  first_B, steps = table.first - (context - 1), context + chunk - 1
  rows_BS, valid_BS = windows.future(first_B, table, steps)
  rows_BT = rows_BS[:, :context]
  return {
    'inputs': {name: windows.gather(data[name], rows_BT) for name in names},
    'targets': {'action': windows.gather(data['action'], rows_BS)},
    'valid': valid_BS[:, :context],
    'target_valid': valid_BS,
  }


def _pad_rows(x, size):
  return np.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1))
