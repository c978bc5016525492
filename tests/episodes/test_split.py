"""Splits depend on an episode's content, not on its place."""

import numpy as np
import pytest

from rpt_jax.episodes import CorruptEpisode, split
from rpt_jax.episodes.columns import Column


def test_shares_are_kept_and_nothing_moves():
  fractions = {'train': 0.8, 'heldout': 0.2, 'never': 0.0}
  found = [split.assign(str(i), fractions) for i in range(4000)]
  assert 0.17 < found.count('heldout') / 4000 < 0.23
  assert found.count('never') == 0
  assert found == [split.assign(str(i), fractions) for i in range(4000)]


def test_shares_must_sum_to_one():
  with pytest.raises(ValueError, match='sum to 1'):
    split.assign('a', {'train': 0.5})


class Videos:
  """Clips of files, without any numbers; clip 3 cannot be read."""

  path = 'videos'

  def __init__(self, clips=4, files=40, streams=()):
    self._clips, self._files = clips, files
    self.streams = {k: Column('values') for k in streams}

  def __len__(self):
    return self._clips * self._files

  def metadata(self, index):
    return {'file': f'{index // self._clips}.mp4'}

  def read(self, index, fields):
    if fields and index == 3:
      raise CorruptEpisode('clip 3')
    return {k: np.full(2, index // 2) for k in fields}


def test_clips_of_a_video_are_held_out_together():
  train, heldout = split.hold_out(Videos(), 0.25)
  files = [{i // 4 for i in part} for part in (train, heldout)]
  assert not files[0] & files[1]
  assert len(train) + len(heldout) == 160 and 4 <= len(files[1]) <= 18


def test_copies_stay_on_one_side_and_one_bad_episode_stops_nothing():
  train, heldout = split.hold_out(Videos(streams=['action']), 0.25)
  pairs = [
    {i // 2 for i in part if i not in (2, 3)} for part in (train, heldout)
  ]
  assert not pairs[0] & pairs[1]


def test_the_last_episodes_in_order():
  train, heldout = split.hold_out(Videos(4, 15), 0.25, 'ordered')
  assert train.tolist() == list(range(45))
  assert heldout.tolist() == list(range(45, 60))
  with pytest.raises(ValueError, match='empty'):
    split.hold_out(Videos(1, 3), 0.01, 'ordered')
  with pytest.raises(ValueError, match='order'):
    split.hold_out(Videos(), 0.25, 'random')
