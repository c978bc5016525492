"""A dataset without a camera, from opening to a policy that acts."""

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.domains import recorded
from rpt_jax.episodes import listing
from rpt_jax.learning import checks
from rpt_jax.policy import Policy
from rpt_jax.stages import pipeline
from tests.learning import tiny


@pytest.fixture
def config(tmp_path, monkeypatch):
  monkeypatch.setattr(listing, 'CACHE', tmp_path / 'datasets')
  monkeypatch.setattr(recorded, 'CACHE', tmp_path / 'statistics')
  (tmp_path / 'felt').mkdir()
  rng = np.random.default_rng(0)
  for i in range(6):
    state = np.cumsum(rng.normal(size=(9 + i, 3)), 0)
    arrays = {'state': state, 'action': state[:, :2] / 3}
    np.savez(tmp_path / f'felt/{i}.npz', **arrays)
  config = tiny.recorded(tmp_path / 'felt')
  config.domains.squares.cameras = ()
  config.domains.squares.mapping = {'state': 'state', 'action': 'action'}
  config.encoder, config.image_model = 'state', None
  config.pretrain.streams = ('proprio', 'action')
  return config


@pytest.mark.slow
def test_a_policy_of_what_is_felt(config, tmp_path):
  source = episodes.open(tmp_path / 'felt')
  assert set(source.streams) == {'state', 'action'}
  pipeline.run(checks.experiment(config), tmp_path / 'run')
  policy = Policy.load(tmp_path / 'run/evaluate/squares/policy')
  assert policy.observed == ('proprio',)
  policy.reset()
  action = policy.act({'proprio': np.ones((1, 3), np.float32)})
  assert action.shape == (1, 2) and np.isfinite(action).all()


def test_an_image_model_has_nothing_to_look_at(config):
  config.encoder = 'random'
  with pytest.raises(
    ValueError, match=r"config.encoder: found 'random'.*'state"
  ):
    checks.experiment(config)
