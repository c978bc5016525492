"""CLIP: its loss, the global batch, and what transformers makes of it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import target, vision
from rpt_jax.training import sharding
from rpt_jax.vision import byte_tokens, layout, tokens, vit
from rpt_jax.vision.families import clip as family
from rpt_jax.vision.pretraining import clip
from tests.vision.pretraining import test_image_door

SIZE = 16
TINY = dict(width=16, depth=1, num_heads=2, projection=12, batch_size=8)
TINY |= dict(text_width=24, text_depth=1, text_num_heads=2, text_length=24)
SAID = ['a small red ring', '  a\tred   ring ', '打开 the box', '', 'x' * 99]


@functools.cache
def towers():
  """(shapes, parameters moved off their defaults)."""
  model = clip.model(clip.Settings(**TINY), SIZE)
  params, rng = model.init(jax.random.key(0)), np.random.default_rng(0)
  return model, jax.tree.map(
    lambda x: x + 0.05 * rng.normal(size=x.shape).astype('f4'), params
  )


def pairs(count=5):
  rng = np.random.default_rng(1)
  image = rng.integers(256, size=(count, SIZE, SIZE, 3), dtype=np.uint8)
  return image, byte_tokens.ids(SAID[:count], TINY['text_length'])


def test_loss_of_pairs_that_are_told_apart_is_none():
  eye = jnp.eye(4, 6)
  loss, right = clip.contrast(eye, eye, jnp.float32(100.0))
  assert loss < 1e-6 and right == 1
  loss, right = clip.contrast(eye, jnp.roll(eye, 1, 0), jnp.float32(100.0))
  assert loss > 99 and right == 0


def test_the_scale_is_learned_and_at_most_a_hundred():
  model, params = towers()
  for log, scale in ((2.0, np.exp(2.0)), (9.0, 100.0)):
    own = params | {'scale': jnp.float32(log)}
    expected = jax.jit(model.embed)(own, *pairs())[2]
    np.testing.assert_allclose(expected, scale, rtol=1e-5)
    assert (_gradient()(own, *pairs())[1]['scale'] != 0) == (log < 9)
  np.testing.assert_allclose(np.exp(clip.START), 1 / 0.07, rtol=1e-6)


def test_eight_devices_compare_the_pairs_of_all_of_them():
  model, params = towers()
  image, ids = (np.concatenate([x, x[::-1]])[:8] for x in pairs())
  image = np.roll(image, 1, 2)  # A pair is not there twice.
  ends = []
  for count in (1, 8):
    sizes = {'data': count, 'fsdp': 1, 'tensor': 1}
    mesh = sharding.make_mesh(sizes, jax.devices()[:count])
    batch = sharding.shard_batch({'image': image, 'ids': ids}, mesh, 8)
    whole = jax.device_put(params, sharding.replicated(mesh))
    ends.append(jax.device_get(_gradient()(whole, **batch)))
  (one, one_grads), (eight, eight_grads) = ends
  np.testing.assert_allclose(one, eight, rtol=1e-5)
  for a, b in zip(*map(jax.tree.leaves, (one_grads, eight_grads)), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5)
  # Of one device's own pair alone there would be nothing to tell apart.
  assert one > 0.5


@functools.cache
def _gradient():
  """Jitted (params, image, ids) -> (loss, gradients) of the towers."""
  model = towers()[0]
  return jax.jit(
    jax.value_and_grad(
      lambda params, image, ids: model.loss(params, image, ids)[0]
    )
  )


def captioned():
  """The stored frames of the door's test, smaller."""
  stored = test_image_door.stored()
  parts = tuple(x[:, ::2, ::2] for x in stored.parts)
  return dataclasses.replace(stored, parts=parts)


def test_what_has_no_caption_is_not_looked_at():
  stored = captioned()
  batch_at = clip.batch_at(clip.Settings(**TINY), stored, 0)
  nothing = byte_tokens.ids([''], TINY['text_length'])[0]
  for step in range(6):
    assert (batch_at(step)['ids'] != nothing).any(-1).all()


def test_bytes_are_tokens_as_the_saved_tokenizer_has_them(tmp_path):
  model, params = towers()
  clip.save(model, params, tmp_path)
  length = TINY['text_length']
  ours = byte_tokens.ids(SAID, length)
  np.testing.assert_array_equal(ours, tokens.load(tmp_path)(SAID))
  spaced = byte_tokens.ids(['a red ring'], length)[0]
  np.testing.assert_array_equal(ours[1], spaced)
  assert ours[3].tolist() == [256] + [257] * (length - 1)
  assert ours[4, -1] == 257 and (ours[4, 1:-1] == ord('x')).all()


def test_transformers_loads_it_and_agrees_on_loss_and_gradients(tmp_path):
  torch = pytest.importorskip('torch')
  transformers = pytest.importorskip('transformers')
  model, params = towers()
  clip.save(model, params, tmp_path)
  theirs = transformers.CLIPModel.from_pretrained(tmp_path)
  image, ids = pairs()
  pixels = np.asarray(vit.preprocess(image)).transpose(0, 3, 1, 2)
  output = theirs(
    input_ids=torch.from_numpy(ids).long(),
    pixel_values=torch.from_numpy(pixels.copy()),
    return_loss=True,
  )
  output.loss.backward()
  with target.rounding_to('float32'):
    loss, grads = _gradient()(params, image, ids)
    seen, said, _ = jax.jit(model.embed)(params, image, ids)
  np.testing.assert_allclose(seen, output.image_embeds.detach(), atol=2e-5)
  np.testing.assert_allclose(said, output.text_embeds.detach(), atol=2e-5)
  np.testing.assert_allclose(loss, output.loss.item(), rtol=1e-4)
  expected = {n: p.grad.numpy() for n, p in theirs.named_parameters()}
  actual = layout.export(grads['image'], family.table('vision_model.'))
  actual |= layout.export(grads['text'], family.text_table('text_model.'))
  actual['logit_scale'] = np.asarray(grads['scale'])
  assert actual.keys() == expected.keys()
  for name, x in actual.items():
    most = np.abs(expected[name]).max() + 1e-3
    np.testing.assert_allclose(
      x, expected[name], atol=2e-3 * most, err_msg=name
    )


def test_both_towers_are_loaded_here_too(tmp_path):
  model, params = towers()
  clip.save(model, params, tmp_path)
  image, ids = pairs()
  seen, said, _ = jax.jit(model.embed)(params, image, ids)
  eyes = vision.load(tmp_path, output='projected')
  latent_NE = np.asarray(jax.jit(eyes.encode)(image))
  np.testing.assert_allclose(
    latent_NE / np.linalg.norm(latent_NE, axis=1, keepdims=True),
    seen,
    atol=1e-4,
  )
  words = vision.load_text(tmp_path)
  said_NE = np.asarray(jax.jit(words.apply)(words.params, ids))
  np.testing.assert_allclose(
    said_NE / np.linalg.norm(said_NE, axis=1, keepdims=True), said, atol=1e-4
  )
