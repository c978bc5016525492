"""Text towers against transformers: same file, same ids, same vectors."""

import json

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

import families  # noqa: E402

from rpt_jax import vision  # noqa: E402

IDS = np.array(
  [
    [48, 5, 9, 11, 49, 1, 1, 1, 1, 1, 1, 1],
    [48, 7, 49, 49, 49, 49, 49, 49, 49, 49, 49, 49],
    [48, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 49],
  ]
)


def ours(folder, ids=IDS, **settings):
  model = vision.load_text(folder, dtype='float32', **settings)
  found = np.asarray(jax.jit(model.apply)(model.params, ids))
  assert found.shape == (len(ids), model.dim)
  return found


def theirs(model, ids=IDS):
  features = getattr(model, 'get_text_features', model)
  with torch.no_grad():
    out = features(torch.from_numpy(ids))
  vector = getattr(out, 'text_embeds', None)
  return (out.pooler_output if vector is None else vector).numpy()


@pytest.mark.parametrize(
  'name', ['clip', 'clip_text', 'siglip', 'siglip_text', 'siglip2']
)
def test_vectors_agree(name, tmp_path):
  model = families.build(name)
  folder = families.save(model, tmp_path)
  found = ours(folder)
  np.testing.assert_allclose(found, theirs(model), atol=1e-5)
  assert np.abs(found[0] - found[1]).max() > 0.01
  near = vision.load_text(folder, dtype='bfloat16')
  near = np.asarray(jax.jit(near.apply)(near.params, IDS))
  assert 0 < np.linalg.norm(near - found) < 1e-2 * np.linalg.norm(found)


def test_the_end_token_of_old_files(tmp_path):
  model = families.build('clip_text')
  folder = families.save(model, tmp_path)
  path = folder / 'config.json'
  config = json.loads(path.read_text())
  path.write_text(json.dumps(config | {'eos_token_id': 2}))
  model.text_model.eos_token_id = 2
  ids = IDS.copy()
  ids[0, 2] = 2  # Not the end: the largest id is.
  np.testing.assert_allclose(ours(folder, ids), theirs(model, ids), atol=1e-5)


def test_clip_is_causal_and_stops_at_the_end(tmp_path):
  folder = families.save(families.build('clip_text'), tmp_path)
  changed = IDS.copy()
  changed[0, 5:] = 30
  found, again = ours(folder), ours(folder, changed)
  np.testing.assert_array_equal(found[0], again[0])


def test_what_has_no_text_is_refused(tmp_path):
  folder = families.save(families.build('vit'), tmp_path)
  with pytest.raises(ValueError, match="'vit' has no text tower"):
    vision.load_text(folder)


def test_too_long_a_text_is_refused(tmp_path):
  folder = families.save(families.build('clip_text'), tmp_path)
  with pytest.raises(ValueError, match='found 13 tokens, expected at most 12'):
    ours(folder, np.zeros((1, 13), int))
