"""Recorded batches of rollouts as episodes."""

from collections.abc import Mapping

import numpy as np

from rpt_jax.types import Episode


def from_rollout(record: Mapping[str, np.ndarray]) -> list[Episode]:
  """Cuts a batch of rollouts into episodes at the end of their validity.

  `record` holds [N, T, ...] arrays 'action', 'reward', 'valid' (true up to
  the end of each episode) and 'terminated'; all others are observations.
  """
  record = {k: np.asarray(v) for k, v in record.items()}
  special = ('action', 'reward', 'valid', 'terminated')
  names = [k for k in record if k not in special]
  lengths = record['valid'].sum(axis=1)
  prefix = np.arange(record['valid'].shape[1]) < lengths[:, None]
  if not lengths.all() or (record['valid'] != prefix).any():
    raise ValueError(
      'valid: expected true for the first steps of every episode, at least '
      'one, then false to the end'
    )
  return [
    _episode({k: record[k][i, :length] for k in record}, names)
    for i, length in enumerate(lengths)
  ]


def _episode(steps, names):
  length = len(steps['reward'])
  ends = np.arange(length) == length - 1
  terminal = ends & steps['terminated'].astype(bool)
  return Episode(
    observation={k: steps[k] for k in names},
    action=steps['action'],
    reward=steps['reward'].astype(np.float32),
    discount=(~terminal).astype(np.float32),
    is_first=np.arange(length) == 0,
    is_last=ends,
    is_terminal=terminal,
  )
