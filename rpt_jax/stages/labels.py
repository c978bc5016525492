"""Integer labels of held-out frames, which units are judged by.

Of an environment: its physical state, velocity and action in bins. Of a
recorded dataset, over all of its episodes: 50 k-means clusters of standardised
actions, 20 of their rate of change, 20 equal parts of the clip, and the
instruction.
"""

import numpy as np

from rpt_jax.episodes import streams
from rpt_jax.stages import domains
from rpt_jax.units import quality

ACTIONS = 50  # Clusters of a dataset's actions.


def heldout(config, inputs, name: str):
  """(clip of each held-out frame [N], {label: [N] integers}) of a domain."""
  if name in config.envs:
    fields = ('state', 'action')
    clips = domains.labels(config, inputs, name, 'heldout', fields)
    state, action = clips.arrays['state'], clips.arrays['action']
    velocity = quality.velocity(state, clips.clip_N)
    values = {'state': state, 'velocity': velocity, 'action': action}
    return clips.clip_N, {k: quality.bins(v) for k, v in values.items()}
  return _recorded(config, inputs, name)


def _recorded(config, inputs, name):
  parts = [
    domains.labels(config, inputs, name, split, ('action',))
    for split in ('pretrain', 'heldout')
  ]
  clips = streams.concatenate(parts)
  action_NA, clip_N = clips.arrays['action'], clips.clip_N
  found = {'phase': phase(clips.lengths)}
  if action_NA.shape[1]:
    action_NA = quality.standardise(action_NA)
    velocity_NA = quality.velocity(action_NA, clip_N)
    found['action'] = quality.kmeans_bins(action_NA, ACTIONS)
    found['velocity'] = quality.kmeans_bins(velocity_NA)
  mine = slice(parts[0].lengths.sum(), None)
  found = {k: x[mine] for k, x in found.items()}
  told = domains.instructions(config, inputs, name, 'heldout')
  if told.any():
    found['instruction'] = told
  return parts[1].clip_N, found


def phase(lengths) -> np.ndarray:
  """Which of `quality.BINS` equal parts of its clip each frame lies in: [N]."""
  parts = [np.arange(n) * quality.BINS // n for n in lengths]
  return np.concatenate(parts).astype(np.int64)
