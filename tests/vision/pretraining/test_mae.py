"""Masked autoencoding: the loss sees removed patches and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.vision import masking, vit
from rpt_jax.vision.pretraining import mae

MODEL = mae.Autoencoder(
  image_size=32, patch=8, width=16, depth=1, num_heads=2, decoder_width=16
)
predict = jax.jit(MODEL.predict)
loss_and_gradient = jax.jit(jax.value_and_grad(MODEL.loss, has_aux=True))


@pytest.fixture(scope='module')
def setup():
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
  return MODEL.init(jax.random.key(0)), image


@pytest.mark.parametrize('patches, ratio, kept', [(16, 0.75, 4), (64, 0.9, 6)])
def test_masking_is_exact_and_inverts(patches, ratio, kept):
  hidden = masking.random_masking(jax.random.key(0), 50, patches, ratio)
  assert hidden.keep.shape == (50, kept)
  assert (hidden.removed.sum(1) == patches - kept).all()
  everything = np.arange(patches)
  for keep, restore, removed in zip(*map(np.asarray, hidden), strict=True):
    order = np.argsort(restore)
    assert sorted(restore) == everything.tolist()
    np.testing.assert_array_equal(order[:kept], keep)
    np.testing.assert_array_equal(order[restore], everything)
    np.testing.assert_array_equal(removed[keep], 0)
  assert len(np.unique(hidden.keep, axis=0)) > 40
  frequency = np.bincount(np.asarray(hidden.keep).ravel(), minlength=patches)
  assert frequency.max() < 6 * kept * 50 / patches


def test_masking_must_keep_and_remove():
  for ratio in (0.0, 0.99):
    with pytest.raises(ValueError, match='mask_ratio'):
      masking.random_masking(jax.random.key(0), 2, 16, ratio)


def test_loss_against_numpy(setup):
  params, image = setup
  key = jax.random.key(3)
  (loss, metrics), _ = loss_and_gradient(params, image, key)
  hidden = MODEL.mask(key, 6)
  x = np.asarray(image, np.float64) / 127.5 - 1
  predicted = np.asarray(predict(params, jnp.float32(x), hidden))
  total = count = 0
  for n in range(6):
    for p in range(16):
      if hidden.removed[n, p]:
        row, column = p // 4 * 8, p % 4 * 8
        pixels = x[n, row : row + 8, column : column + 8].ravel()
        target = (pixels - pixels.mean()) / np.sqrt(pixels.var(ddof=1) + 1e-6)
        total += ((predicted[n, p] - target) ** 2).mean()
        count += 1
  assert count == 6 * 12
  np.testing.assert_allclose(loss, total / count, rtol=1e-4)
  assert metrics['loss'] == loss


def test_visible_patches_do_not_enter_the_error():
  rng = np.random.default_rng(0)
  prediction, target = rng.normal(size=(2, 2, 16, 5))
  removed = masking.random_masking(jax.random.key(0), 2, 16, 0.75).removed
  visible = (1 - np.asarray(removed))[..., None]
  loss = mae.masked_error(prediction, target, removed)
  changed = mae.masked_error(prediction, target + 100 * visible, removed)
  assert changed == loss
  moved = mae.masked_error(prediction, target + 0.1, removed)
  assert abs(moved - loss) > 1e-3


def test_removed_pixels_do_not_enter_the_prediction(setup):
  params, image = setup
  hidden = MODEL.mask(jax.random.key(1), 6)
  x = vit.preprocess(image)
  patches = vit.patchify(x, 8) + 5 * hidden.removed[..., None]
  found = predict(params, vit.unpatchify(patches, 8), hidden)
  np.testing.assert_array_equal(found, predict(params, x, hidden))


def test_tokens_go_back_to_their_places():
  hidden = masking.random_masking(jax.random.key(0), 3, 16, 0.75)
  x_NKD = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
  mask_D = np.arange(5, dtype=np.float32)
  expected = np.tile(mask_D, (3, 16, 1))
  for n, keep in enumerate(np.asarray(hidden.keep)):
    expected[n, keep] = x_NKD[n]
  found = masking.fill_in(x_NKD, hidden, mask_D)
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_training_lowers_the_loss(setup):
  params, _ = setup
  ramp = np.linspace(0, 255, 32, dtype=np.uint8)
  image = np.broadcast_to(ramp[:, None, None], (6, 32, 32, 3))
  key = jax.random.key(0)
  losses = []
  for i in range(60):
    (loss, _), gradient = loss_and_gradient(
      params, image, jax.random.fold_in(key, i)
    )
    params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient)
    losses.append(loss)
  assert np.mean(losses[-5:]) < 0.6 * losses[0]


def test_reconstruction_keeps_what_was_visible(setup):
  params, image = setup
  key = jax.random.key(4)
  pictures = mae.reconstruct(MODEL, params, image, key)
  removed = np.asarray(MODEL.mask(key, 6).removed, bool)
  patches = {k: vit.patchify(v, 8) for k, v in pictures.items()}
  for name in ('masked', 'output'):
    assert pictures[name].dtype == np.uint8
    np.testing.assert_array_equal(
      patches[name][~removed], patches['original'][~removed]
    )
  assert set(np.unique(patches['masked'][removed])) == {128}
  assert (patches['output'][removed] != patches['original'][removed]).any()
