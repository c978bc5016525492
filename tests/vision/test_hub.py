"""Identifiers of Hugging Face, from a cache, without a network."""

import shutil

import jax
import numpy as np
import pytest

from rpt_jax import vision
from rpt_jax.vision import hub
from rpt_jax.vision.pretraining import mae

constants = pytest.importorskip('huggingface_hub.constants')
MODEL = mae.Autoencoder(32, 8, 16, 1, 2, decoder_width=16)


@pytest.fixture
def cache(tmp_path, monkeypatch):
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
  return tmp_path


def test_a_cached_model_needs_no_network(cache):
  commit = 'a' * 40
  repository = cache / 'models--some-lab--mae.small'
  folder = repository / 'snapshots' / commit
  mae.save(MODEL, jax.device_get(MODEL.init(jax.random.key(0))), folder)
  (repository / 'refs').mkdir()
  (repository / 'refs' / 'main').write_text(commit)
  found = vision.load('some-lab/mae.small')
  shutil.copytree(folder, cache / 'plain')
  expected = vision.load(cache / 'plain')
  jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)


def test_what_is_not_cached_is_named(cache):
  with pytest.raises(ValueError, match='some-lab/other: no such folder, and'):
    hub.download('some-lab/other')
