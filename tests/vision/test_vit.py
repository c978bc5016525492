"""Patches, positions, the encoder and what is read from it."""

import einops
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.vision import vit

ENCODER = vit.Encoder(image_size=32, patch=8, width=16, depth=2, num_heads=2)
apply = jax.jit(ENCODER.apply)


@pytest.fixture(scope='module')
def setup():
  image = jax.random.uniform(jax.random.key(0), (3, 32, 32, 3)) * 2 - 1
  return jax.jit(ENCODER.init)(jax.random.key(1), image), image


@pytest.mark.parametrize('patch', [4, 8, 32])
def test_patchify_is_einops_and_inverts(patch):
  image = np.random.default_rng(0).normal(size=(2, 32, 32, 3))
  found = vit.patchify(image, patch)
  expected = einops.rearrange(
    image, 'n (h p) (w q) c -> n (h w) (p q c)', p=patch, q=patch
  )
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(vit.unpatchify(found, patch), image)


def test_patchify_refuses_remainders():
  with pytest.raises(ValueError, match='multiples of patch=5'):
    vit.patchify(np.zeros((1, 32, 32, 3)), 5)


def test_preprocess_spans_minus_one_to_one():
  x = vit.preprocess(np.array([0, 255], np.uint8))
  assert x.dtype == jnp.float32
  np.testing.assert_allclose(x, [-1, 1])


def test_keeping_all_is_not_masking(setup):
  params, image = setup
  whole = apply(params, image).tokens
  all_patches = jnp.broadcast_to(jnp.arange(16), (3, 16))
  kept = apply(params, image, all_patches).tokens
  np.testing.assert_allclose(kept, whole, atol=1e-6)


def test_order_of_kept_patches_only_orders_tokens(setup):
  params, image = setup
  order = jax.random.permutation(jax.random.key(2), 16)
  whole = apply(params, image).tokens
  moved = apply(params, image, jnp.tile(order, (3, 1))).tokens
  np.testing.assert_allclose(moved[:, 0], whole[:, 0], atol=2e-2)
  np.testing.assert_allclose(moved[:, 1:], whole[:, 1:][:, order], atol=2e-2)


def test_kept_patches_are_all_that_is_seen(setup):
  params, image = setup
  keep = jnp.array([[0, 5, 7]] * 3)
  blind = vit.patchify(image, 8)
  blind = jnp.zeros_like(blind).at[:, keep[0]].set(blind[:, keep[0]])
  blind = vit.unpatchify(blind, 8)
  seen = apply(params, image, keep).tokens
  again = apply(params, blind, keep).tokens
  np.testing.assert_array_equal(seen, again)


def test_readouts(setup):
  params, image = setup
  x_NTD, pooled, _ = apply(params, image)
  np.testing.assert_array_equal(pooled, x_NTD[:, 0])
  assert x_NTD.shape == (3, 17, 16)
  patches = np.asarray(x_NTD[:, 1:])
  grid = patches.reshape(3, 2, 2, 2, 2, 16).mean((2, 4)).reshape(3, 64)
  for output, expected in {
    'cls': x_NTD[:, 0],
    'mean_patch': patches.mean(1),
    'patches': patches.reshape(3, -1),
    'grid2': grid,
    'grid4': patches.reshape(3, -1),
  }.items():
    np.testing.assert_allclose(vit.readout(x_NTD, output), expected, 1e-5)
  for output in ('pooled', 'grid3', 'grid0', 'grid'):
    with pytest.raises(ValueError, match='output'):
      vit.readout(x_NTD, output)
  with pytest.raises(ValueError, match='output'):
    vit.readout(x_NTD, 'cls', num_prefix=0)


def test_frames_of_another_size_are_refused(setup):
  params, _ = setup
  with pytest.raises(ValueError, match='found 40x40, expected 32x32'):
    apply(params, jnp.zeros((1, 40, 40, 3)))
