"""Integer labels of held-out frames, which units are judged by.

Where the true state is known: it, its velocity and the action in bins. Of any
other domain, over all of its episodes: 50 k-means clusters of standardised
actions, 20 of their rate of change, 20 equal parts of the clip, and the
instruction.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rpt_jax import domains
from rpt_jax.domains import Domain
from rpt_jax.episodes import stack, store, windows
from rpt_jax.results import Quantize
from rpt_jax.units import quality

ACTIONS = 50  # Clusters of a dataset's actions.
_CLUSTERED = 200_000  # Frames at most, of many, that clusters are of.


def heldout(domain: Domain, inputs: Mapping[str, Path]):
  """(clip of each held-out frame [N], {label: [N] integers}) of a domain."""
  if domain.state_dim:
    fields = ('state', 'action')
    clips = domains.labels(domain, inputs, 'heldout', fields)
    state, action = (np.asarray(clips.arrays[k]) for k in fields)
    velocity = quality.velocity(state, clips.lengths)
    values = {
      Quantize.STATE: state,
      Quantize.VELOCITY: velocity,
      Quantize.ACTION: action,
    }
    return clips.clip_N, {k: quality.bins(v) for k, v in values.items()}
  return _without_state(domain, inputs)


def _without_state(domain, inputs):
  """Clusters are of both splits; actions have no width where there are none."""
  fields = tuple(field for field in domain.fields if field == 'action')
  parts = [
    domains.labels(domain, inputs, split, fields)
    for split in ('pretrain', 'heldout')
  ]
  labels = {Quantize.PHASE: phase(parts[1].lengths)}
  if fields:
    labels |= _of_actions(store.concatenate(parts), len(parts[1].clip_N))
  instruction_N = domains.instructions(domain, inputs, 'heldout')
  if instruction_N.any():
    labels[Quantize.INSTRUCTION] = instruction_N
  return parts[1].clip_N, labels


def _of_actions(clips, heldout):
  """Clusters of actions and of their rates, for the last `heldout` frames."""
  action_NA, count = clips.arrays['action'], int(clips.lengths.sum())
  shown_M = windows.spread(count, _CLUSTERED)
  rows = {'own': np.arange(count - heldout, count), 'of': shown_M}
  of_MA = action_NA[shown_M]
  scaled_NA = stack.mapped(action_NA, lambda x: quality.standardise(x, of_MA))
  action = {k: scaled_NA[row] for k, row in rows.items()}
  velocity = {
    k: quality.velocity(scaled_NA, clips.lengths, row)
    for k, row in rows.items()
  }
  return {
    name: quality.kmeans_bins(value['own'], bins, of_MP=value['of'])
    for name, value, bins in (
      (Quantize.ACTION, action, ACTIONS),
      (Quantize.VELOCITY, velocity, quality.BINS),
    )
  }


def phase(lengths) -> np.ndarray:
  """Which of `quality.BINS` equal parts of its clip each frame lies in: [N]."""
  parts = [np.arange(n) * quality.BINS // n for n in lengths]
  return np.concatenate(parts).astype(np.int64)
