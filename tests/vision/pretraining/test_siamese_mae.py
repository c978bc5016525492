"""Siamese MAE: pairs in time, what is hidden, what the decoder looks at."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rpt_jax.episodes import frames
from rpt_jax.vision import vit
from rpt_jax.vision.pretraining import mae
from rpt_jax.vision.pretraining import siamese_mae as siamese

SIZE = 16
TINY = siamese.Settings(
  patch=4, width=16, depth=1, num_heads=2, decoder_width=16, decoder_depth=1,
  decoder_num_heads=2, mask_ratio=0.8, reach=3, batch_size=8, steps=120,
  learning_rate=3e-3,
)  # fmt: skip
MODEL = siamese.model(TINY, SIZE)
judged, predict = jax.jit(MODEL.loss), jax.jit(MODEL.predict)
LENGTHS = np.array([1, 12, 2, 30, 1, 5])


def clips_of(image, lengths):
  about = np.ones(len(lengths)), np.full(len(lengths), '')
  return frames.Frames((image,), lengths, *about)


def numbered():
  """Frames whose pixels say which they are."""
  number = np.arange(LENGTHS.sum(), dtype=np.uint8)[:, None, None, None]
  return clips_of(np.broadcast_to(number, (len(number), 16, 16, 3)), LENGTHS)


@pytest.fixture(scope='module')
def setup():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (4, 2, SIZE, SIZE, 3), dtype=np.uint8)
  return MODEL.init(jax.random.key(0)), image


@pytest.mark.parametrize('reach', [1, 3, 10])
def test_the_later_frame_is_within_reach_and_of_the_same_clip(reach):
  c, clips = dataclasses.replace(TINY, reach=reach), numbered()
  batch_at, clip_N = siamese.batch_at(c, clips, 5), clips.clips.clip_N
  pairs = np.concatenate(
    [batch_at(i)['image'][:, :, 0, 0, 0] for i in range(150)]
  ).astype(int)
  now, later = pairs.T
  assert (clip_N[now] == clip_N[later]).all()
  assert ((later - now >= 1) & (later - now <= reach)).all()
  size = len(clips)
  expected = {
    (a, b)
    for a in range(size)
    for b in range(a + 1, min(a + reach, size - 1) + 1)
    if clip_N[a] == clip_N[b]
  }
  drawn = set(map(tuple, pairs.tolist()))
  assert drawn <= expected and len(drawn) > 0.8 * len(expected)


def test_the_loss_is_of_hidden_patches_of_the_later_frame(setup):
  params, image = setup
  key = jax.random.key(3)
  loss, _ = judged(params, image, key)
  masking = MODEL.shapes.mask(key, 4)
  pair = vit.preprocess(image)
  error = predict(params, pair, masking) - mae.normalised_patches(pair[:, 1], 4)
  removed = np.asarray(masking.removed, bool)
  assert removed.sum() == 4 * 13
  np.testing.assert_allclose(loss, np.square(error)[removed].mean(), rtol=1e-5)


def test_hidden_patches_are_not_seen_and_the_earlier_frame_is(setup):
  params, image = setup
  masking = MODEL.shapes.mask(jax.random.key(1), 4)
  pair = vit.preprocess(image)
  before = predict(params, pair, masking)
  patches = vit.patchify(pair[:, 1], 4) + 5 * masking.removed[..., None]
  other = jnp.stack([pair[:, 0], vit.unpatchify(patches, 4)], axis=1)
  np.testing.assert_array_equal(predict(params, other, masking), before)
  swapped = jnp.stack([pair[::-1, 0], pair[:, 1]], axis=1)
  assert np.abs(predict(params, swapped, masking) - before).max() > 1e-3


def test_it_copies_what_only_the_earlier_frame_shows():
  """Patches of still clips are striped either way: none tells another."""
  rng = np.random.default_rng(0)
  down = np.tile([[0.0], [255.0]], (2, 4))
  both = np.stack([down, down.T])[rng.integers(0, 2, (256, 16))]
  patches = np.repeat(both.reshape(256, 16, 16), 3, axis=-1)
  still = vit.unpatchify(jnp.float32(patches), 4).astype(np.uint8)
  image = jnp.repeat(still[:, None], 2, axis=1)
  tx = optax.adam(1e-2)

  @jax.jit
  def learn(params):
    def step(carry, i):
      params, moments = carry
      key = jax.random.fold_in(jax.random.key(1), i)
      rows = jax.random.choice(key, 256, (16,))
      slope, _ = jax.grad(MODEL.loss, has_aux=True)(params, image[rows], key)
      updates, moments = tx.update(slope, moments)
      return (optax.apply_updates(params, updates), moments), None

    start = params, tx.init(params)
    return jax.lax.scan(step, start, jnp.arange(150))[0][0]

  params = learn(MODEL.init(jax.random.key(0)))
  of_others = jnp.stack([image[1:, 0], image[:-1, 1]], axis=1)
  own, blind = (
    judged(params, pair[:255], jax.random.key(0))[0]
    for pair in (image, of_others)
  )
  print(own, blind)
  assert own < 0.5 * blind
