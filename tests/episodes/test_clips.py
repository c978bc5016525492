"""Batches of rollouts become episodes that end where validity does."""

import numpy as np
import pytest

from rpt_jax.episodes import clips


def record():
  valid = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], bool)
  terminated = np.array([[0, 0, 1, 0], [0, 0, 0, 0]], bool)
  return {
    'state': np.arange(16, dtype=np.float32).reshape(2, 4, 2),
    'action': np.arange(8, dtype=np.int32).reshape(2, 4),
    'reward': np.ones((2, 4), np.float32),
    'valid': valid,
    'terminated': terminated,
  }


def test_episodes_are_cut_and_marked():
  short, long = clips.from_rollout(record())
  assert (short.length, long.length) == (3, 4)
  assert short.action.tolist() == [0, 1, 2]
  assert long.observation['state'][0].tolist() == [8, 9]
  assert short.is_terminal.tolist() == [False, False, True]
  assert short.discount.tolist() == [1, 1, 0]
  assert long.is_last.tolist() == [False, False, False, True]
  assert not long.is_terminal.any() and long.discount.all()


def test_validity_must_be_a_prefix():
  broken = record()
  broken['valid'][0] = [1, 0, 1, 0]
  with pytest.raises(ValueError, match='valid'):
    clips.from_rollout(broken)
  broken['valid'][0] = False
  with pytest.raises(ValueError, match='valid'):
    clips.from_rollout(broken)
