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
from rpt_jax.episodes import store
from rpt_jax.results import Quantize
from rpt_jax.units import quality

ACTIONS = 50  # Clusters of a dataset's actions.


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
  clips = store.concatenate(parts)
  labels = {Quantize.PHASE: phase(clips.lengths)}
  if fields:
    action_NA = quality.standardise(np.asarray(clips.arrays['action']))
    velocity_NA = quality.velocity(action_NA, clips.lengths)
    labels[Quantize.ACTION] = quality.kmeans_bins(action_NA, ACTIONS)
    labels[Quantize.VELOCITY] = quality.kmeans_bins(velocity_NA)
  heldout = slice(parts[0].lengths.sum(), None)
  labels = {k: x[heldout] for k, x in labels.items()}
  instruction_N = domains.instructions(domain, inputs, 'heldout')
  if instruction_N.any():
    labels[Quantize.INSTRUCTION] = instruction_N
  return parts[1].clip_N, labels


def phase(lengths) -> np.ndarray:
  """Which of `quality.BINS` equal parts of its clip each frame lies in: [N]."""
  parts = [np.arange(n) * quality.BINS // n for n in lengths]
  return np.concatenate(parts).astype(np.int64)
