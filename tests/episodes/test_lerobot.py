"""LeRobot folders: real v2.1 episodes, and both versions as documented."""

import pathlib
import pickle

import numpy as np
import pytest

from rpt_jax import episodes

G1 = pathlib.Path(__file__).parents[2].parent / 'shared/data/g1_lerobot_v21'
needs_g1 = pytest.mark.skipif(not G1.exists(), reason=f'no {G1}')


@needs_g1
def test_real_episodes_agree_in_length_and_content():
  source = episodes.open(G1)
  assert len(source) == 60 and source.fps == 10
  assert source.lengths.sum() == 7135
  assert source.observations == ('state', 'image')
  clips = source.read_all(['state', 'action'])
  np.testing.assert_array_equal(clips.lengths, source.lengths)
  assert clips.arrays['action'].shape == (7135, 26)
  assert clips.arrays['action'].dtype == np.float32
  episode = pickle.loads(pickle.dumps(source))[7]
  assert episode.observation['image'].shape == (141, 120, 160, 3)
  assert episode.is_last.nonzero()[0].tolist() == [140]
  first = clips.offsets[7]
  np.testing.assert_array_equal(
    episode.observation['state'], clips.arrays['state'][first : first + 141]
  )
  assert source.metadata(7)['instruction'].startswith('Pick up the yellow')
