"""The stage see asks both splits for what its objective needs."""

import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.episodes import frames, windows
from rpt_jax.stages import see
from rpt_jax.vision.pretraining import mae
from tests.episodes import stored as saved
from tests.settings import variants


@pytest.mark.parametrize('short', ['pretrain', 'heldout'])
def test_frames_without_pairs_are_refused_before_training(
  short, tmp_path, monkeypatch
):
  monkeypatch.setattr(mae, 'NEEDS', ('pairs',))
  config = variants.changed('hubert_units:quicktest')
  config = settings.read(settings.Experiment, config)
  for split in ('pretrain', 'heldout'):
    folder = tmp_path / 'frames' / 'Acrobot-v1' / split
    lengths = np.array([1] * 6 if split == short else [6])
    image = np.zeros((6, 64, 64, 3), np.uint8)
    saved.save(folder, windows.Clips({'image/image': image}, lengths))
    frames.save_clips(folder, [0.0] * len(lengths), [''] * len(lengths))
  with pytest.raises(ValueError, match='needs pairs, found 6 frames in 6 clip'):
    see.run(config, {'frames': tmp_path / 'frames'}, tmp_path / 'see')
  assert not (tmp_path / 'see').exists()
