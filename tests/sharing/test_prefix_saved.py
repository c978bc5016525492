"""A model with a sentence before its steps, saved, loaded and read."""

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax.models import sequence
from rpt_jax.models.heads import HeadSpec, linear
from rpt_jax.models.trunks import transformer
from rpt_jax.pretrained import Pretrained
from rpt_jax.types import StreamSpec

B, T, D, L = 2, 4, 3, 5
TEXT = StreamSpec('text', 'prefix', vocab=11, levels=L)
FRONT = StreamSpec('latent/front', 'continuous', dim=D)
WORDS = np.array([[3, 0, 9, -1, -1], [1, 2, 2, 4, 8]], np.int32)


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """(a model, the same after being saved and loaded, its folder)."""
  heads = (
    HeadSpec(StreamSpec('next', 'continuous', dim=D), linear.Settings()),
  )
  model = sequence.SequenceModel(
    (TEXT, FRONT), heads, transformer.Settings(1, 2), 8, T
  )
  params = jax.device_get(sequence.init(model, jax.random.key(0)))
  rng = np.random.default_rng(0)
  scales = {'latent/front': tuple(rng.uniform(1, 2, (2, D)).astype('f4'))}
  folder = tmp_path_factory.mktemp('shared') / 'trunk'
  trunk = Pretrained(model, params, scales)
  trunk.save_pretrained(folder)
  return trunk, rpt_jax.from_pretrained(folder), folder


def _latents():
  return np.random.default_rng(1).normal(size=(B, T, D)).astype('f4')


def test_it_comes_back_bit_for_bit(shared):
  trunk, loaded, folder = shared
  assert loaded.model == trunk.model
  assert loaded.model.streams[0] == TEXT
  jax.tree.map(np.testing.assert_array_equal, loaded.params, trunk.params)
  inputs = {'text': WORDS, 'latent/front': _latents()}
  np.testing.assert_array_equal(loaded.features(inputs), trunk.features(inputs))
  card = (folder / 'README.md').read_text()
  assert '| text | prefix | 5 tokens of 11, once |' in card


def test_features_read_the_text_and_do_without(shared):
  trunk, loaded, _ = shared
  x_BTD = _latents()
  mean_D, std_D = trunk.scales['latent/front']
  seen = {'text': WORDS, 'latent/front': (x_BTD - mean_D) / std_D}
  apply = sequence.bind(trunk.model, trunk.params)
  expected = apply(seen, np.ones((B, T), bool))['features']
  inputs = {'text': WORDS, 'latent/front': x_BTD}
  features_BTD = loaded.features(inputs)
  assert features_BTD.shape == (B, T, 8)
  # The first of the inputs tells nothing of T; jax.jit would sort them.
  output = loaded.apply(loaded.params, inputs)
  np.testing.assert_allclose(output['features'], expected, atol=1e-5)
  np.testing.assert_allclose(features_BTD, expected, atol=1e-5)
  without = loaded.features({'latent/front': x_BTD})
  silent = {'text': np.full((B, L), -1), 'latent/front': x_BTD}
  np.testing.assert_array_equal(without, loaded.features(silent))
  assert np.abs(without - features_BTD).max() > 1e-3


def test_a_text_alone_has_no_steps(shared):
  with pytest.raises(ValueError, match=r"of \['latent/front'\] at least one"):
    shared[1].features({'text': WORDS})
