"""A published text tower in the place of tokens, from config to policy."""

import jax
import numpy as np
import pytest

import rpt_jax
from rpt_jax import vision
from rpt_jax.learning import checks
from rpt_jax.vision import sentences, tokens
from rpt_jax.vision.pretraining import clip
from tests.vision.pretraining import test_clip

SAID = ['go left', 'go right now', '  ']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """One of CLIP, as `configs/clip.py` saves it."""
  path = tmp_path_factory.mktemp('tower') / 'clip'
  clip.save(*test_clip.towers(), path)
  return path


def test_vectors_are_the_towers(folder):
  tower = sentences.Tower(str(folder))
  vectors, cut = tower.tokens(SAID)
  model = vision.load_text(folder)
  ids = tokens.load(folder)(SAID)
  expected = np.asarray(jax.jit(model.apply)(model.params, ids))[:2]
  expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
  np.testing.assert_allclose(vectors[:2, 0], expected, atol=1e-6)
  assert vectors.shape == (3, 1, tower.dim) and not cut
  assert not vectors[2].any()  # Nothing was said.


def test_too_long_is_cut_where_recorded_and_refused_where_said(folder):
  tower, length = sentences.Tower(str(folder)), test_clip.TINY['text_length']
  whole, long = 'x' * (length - 2), 'x' * (length - 1)
  assert tower.tokens([whole, long])[1] == 1
  tower.said([whole])
  with pytest.raises(ValueError, match=f'more than {length} tokens'):
    tower.said(['go', long])


@pytest.mark.slow
def test_a_policy_reads_by_it(folder, tmp_path):
  from rpt_jax.stages import evaluate, finetune, pretrain
  from tests.learning import test_texts

  test_texts.write(tmp_path / 'robot')
  config = test_texts.config(
    tmp_path / 'robot', pretrain__text_encoder=str(folder), pretrain__steps=3
  )
  c = checks.experiment(config)
  inputs = test_texts.inputs_of(c, tmp_path)
  for stage in (pretrain, finetune, evaluate):
    stage.run(c, inputs, inputs[stage.__name__.rpartition('.')[2]])
  saved = inputs['evaluate'] / 'robot/policy'
  policy = rpt_jax.from_pretrained(saved).policy()
  assert policy.words.path == str(saved / sentences.FOLDER)
  policy.reset(3, instruction=list(test_texts.SAID))
  action_B = policy.act({'latent': np.zeros((3, 3), np.float32)})[:, 0]
  np.testing.assert_allclose(action_B, [1, -1, 0], atol=0.4)
  policy.save(tmp_path / 'again')
  assert (tmp_path / 'again' / sentences.FOLDER / 'config.json').exists()


def test_what_is_no_tower_is_refused_before_any_work(folder, tmp_path):
  from tests.learning import test_texts

  test_texts.write(tmp_path / 'robot')
  for values, match in (
    ({'text_encoder': str(tmp_path)}, 'text_encoder: .*config.json'),
    (
      {'text_encoder': str(folder), 'streams': ('latent',)},
      "text_encoder: .* where no run reads 'text'",
    ),
  ):
    values = {f'pretrain__{k}': v for k, v in values.items()}
    with pytest.raises(ValueError, match=match):
      checks.experiment(test_texts.config(tmp_path / 'robot', **values))
