"""SORNet: what is said of an object does not hang on who else is asked for."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.episodes import frames
from rpt_jax.models import transformer
from rpt_jax.vision import relations, scene_tables, vit
from rpt_jax.vision.pretraining import sornet

SIZE, PATCH, COUNT = 16, 8, 4
TEXTS = (
  'view: red cube.',
  'view: blue ball.',
  'scene: red cube, blue ball. red cube is on blue ball',
  'scene: blue ball. blue ball is in the drawer',
  'push the cube',
)


def stored(texts=TEXTS):
  rng = np.random.default_rng(0)
  lengths = np.full(len(texts), 3)
  image = rng.integers(256, size=(lengths.sum(), SIZE, SIZE, 3), dtype=np.uint8)
  return frames.Frames(
    (image,), lengths, np.ones(len(texts)), np.array(texts, np.str_)
  )


@functools.cache
def asked():
  """(model, parameters, frames, views of four objects)."""
  c = sornet.Settings(
    patch=PATCH, width=16, depth=2, num_heads=2, readout=8, batch_size=4
  )
  model, rng = sornet.model(c, SIZE), np.random.default_rng(1)
  image = rng.integers(256, size=(2, SIZE, SIZE, 3), dtype=np.uint8)
  views = rng.integers(256, size=(2, COUNT, SIZE, SIZE, 3), dtype=np.uint8)
  return model, model.init(jax.random.key(0)), image, views


def test_other_queries_and_their_order_change_not_a_bit():
  model, params, image, views = asked()
  ask = jax.jit(model.asked)
  whole = np.asarray(ask(params, image, views))
  assert np.ptp(whole, axis=1).max() > 1e-3  # Objects do differ.
  order = np.array([2, 0, 3, 1])
  again = np.asarray(ask(params, image, views[:, order]))
  assert (again == whole[:, order]).all()
  for count in (1, 3):
    fewer = np.asarray(ask(params, image, views[:, :count]))
    assert (fewer == whole[:, :count]).all()
  other = views.copy()
  other[:, 1:] = 255 - other[:, 1:]
  changed = np.asarray(ask(params, image, other))
  assert (changed[:, 0] == whole[:, 0]).all()
  assert (changed[:, 1:] != whole[:, 1:]).any()


def test_a_query_is_not_seen_by_the_frame_nor_by_another():
  """Nor where all are asked for at once, as they are trained."""
  model, params, image, views = asked()
  tokens, whole = jax.jit(_tokens)(params['encoder'], image, views)
  bare = jax.jit(lambda p, x: model.encoder.apply({'params': p}, x).tokens)
  alone = bare(params['encoder'], vit.preprocess(image))
  np.testing.assert_allclose(tokens, alone, atol=2e-5)
  one_by_one = jax.jit(model.asked)(params, image, views)
  np.testing.assert_allclose(whole, one_by_one, atol=2e-5)


def _tokens(params, image, views):
  """(tokens of the frame, embeddings of the objects)."""
  model = asked()[0]
  image, query = model._seen(image, views)
  x = model.encoder.apply({'params': params}, image, None, query).tokens
  return x[:, :-COUNT], x[:, -COUNT:]


def test_attention_is_that_of_a_mask_written_out():
  """One block in NumPy: a query sees the frame and itself, nothing sees it."""
  rng = np.random.default_rng(0)
  q, k, v = rng.normal(size=(3, 1, 7, 1, 4))
  mask = vit._query_mask(7, 2)
  actual = transformer.attention(
    *(jnp.asarray(x, jnp.float32) for x in (q, k, v)), mask, 'float32'
  )
  for row in range(7):
    keys = [*range(5), row] if row >= 5 else [*range(5)]
    score = np.exp(q[0, row, 0] @ k[0, keys, 0].T / 2)
    expected = score @ v[0, keys, 0] / score.sum()
    np.testing.assert_allclose(actual[0, row, 0], expected, atol=1e-5)


def test_the_loss_is_cross_entropy_of_what_is_there():
  torch = pytest.importorskip('torch')
  rng = np.random.default_rng(0)
  one, two = rng.normal(size=(2, 3, 2)), rng.normal(size=(2, 3, 3, 4))
  present = np.array([[True, True, True], [True, True, False]])
  true_one, true_two = rng.random(one.shape) < 0.5, rng.random(two.shape) < 0.5

  class Model:
    def objects(self, *_):
      return None

    def read(self, *_):
      return jnp.asarray(one), jnp.asarray(two)

  batch = {'image': 0, 'views': 0, 'present': present}
  batch |= {'one': true_one, 'two': true_two}
  loss, metrics = sornet.loss(None, Model(), None, batch, None)
  bce = torch.nn.functional.binary_cross_entropy_with_logits
  pairs = [(0, i, j) for i in range(3) for j in range(3) if i != j]
  pairs += [(1, 0, 1), (1, 1, 0)]
  b, i, j = (list(x) for x in zip(*pairs, strict=True))
  logits = [(one[present], true_one[present])]
  logits += [(two[b, i, j], true_two[b, i, j])]
  expected = [
    bce(torch.tensor(x[:, r]), torch.tensor(t[:, r], dtype=torch.float64))
    for x, t in logits
    for r in range(x.shape[1])
  ]
  np.testing.assert_allclose(loss, np.mean(expected), rtol=1e-5)
  right = [((x > 0) == t).mean(0) for x, t in logits]
  np.testing.assert_allclose(
    metrics['accuracy'], np.concatenate(right).mean(), rtol=1e-5
  )


def test_sentences_say_what_scenes_are():
  scene = relations.read(TEXTS[2])
  assert scene.names == ('red cube', 'blue ball') and scene.kind == 'scene'
  assert scene.two_NNR.sum() == 1 and scene.two_NNR[0, 1, 0]
  assert relations.write(scene) == TEXTS[2]
  assert relations.read(TEXTS[3]).one_NU.tolist() == [[False, True]]
  for text in ('', 'push', 'scene: a, a.', 'scene: a, b. a is under b', '-'):
    assert relations.read(text) is None
  assert (
    relations.f1(np.array([1, 1, 0], bool), np.array([1, 0, 1], bool)) == 0.5
  )
  assert np.isnan(relations.f1(np.zeros(2, bool), np.zeros(2, bool)))


def test_a_table_holds_scenes_and_views():
  table = scene_tables.tabulate(stored())
  assert table.clip_C.tolist() == [2, 3]
  assert table.object_CQ.tolist() == [[1, 0], [0, -1]]  # By name.
  assert table.view_OV.tolist() == [[3, 4, 5], [0, 1, 2]]
  assert table.two_CQQR[0, 0, 1, 0] and table.two_CQQR.sum() == 1
  assert table.one_CQU[1, 0, 1] and table.one_CQU.sum() == 1
  batch = table.batch(stored(), np.array([0, 1]), np.zeros((2, 3)))
  assert batch['present'].tolist() == [[True, True], [True, False]]
  pixels = stored().take(np.arange(15))
  np.testing.assert_array_equal(batch['image'][1], pixels[9])
  np.testing.assert_array_equal(batch['views'][0, 0], pixels[0])
  with pytest.raises(ValueError, match="found 'blue ball' in a scene and no"):
    scene_tables.tabulate(stored(TEXTS[:1] + TEXTS[2:]))


def test_the_control_shows_queries_nothing():
  model, params, image, views = asked()
  control = dataclasses.replace(model, attends=False)
  first = control.objects(params, image, views)
  again = control.objects(params, image[::-1], views)
  dim = model.encoder.width
  np.testing.assert_allclose(first[..., dim:], again[..., dim:], atol=1e-6)
  np.testing.assert_allclose(first[:, 0, :dim], again[::-1, 0, :dim], atol=1e-5)
