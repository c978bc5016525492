"""Augmentation against dm-pix and Pillow, and what a key decides."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from rpt_jax.vision import augment
from rpt_jax.vision.augment import Augmentation

ALL = Augmentation(
  shift=3,
  crop_scale=(0.3, 1.0),
  brightness=0.2,
  contrast=0.3,
  saturation=0.3,
  hue=0.1,
  flip=True,
)
run = jax.jit(augment.augment, static_argnums=2)


@pytest.fixture
def image():
  """Colours of all kinds, grey, black and white among them."""
  x = np.random.default_rng(0).uniform(size=(24, 32, 3)).astype(np.float32)
  x[0], x[1], x[2] = 0.0, 1.0, 0.5
  x[3, :, 1] = x[3, :, 0]
  return x


@pytest.mark.parametrize(
  'name, amounts',
  [
    ('brightness', (-0.3, 0.0, 0.4)),
    ('contrast', (0.0, 0.6, 1.5)),
    ('saturation', (0.0, 0.5, 1.8)),
    ('hue', (-0.5, -0.1, 0.0, 0.3)),
  ],
)
def test_colours_are_those_of_dm_pix(image, name, amounts):
  theirs = getattr(pytest.importorskip('dm_pix'), f'adjust_{name}')
  for amount in amounts:
    expected = jnp.clip(theirs(jnp.asarray(image), amount), 0, 1)
    found = getattr(augment, name)(image, amount)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize('offset', [(0, 0), (3, -4), (-4, 4), (4, 1)])
def test_a_shift_is_padding_and_a_crop(image, offset):
  padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode='edge')
  top, left = offset[0] + 4, offset[1] + 4
  expected = padded[top : top + 24, left : left + 32]
  found = augment.shift(image, jnp.array(offset))
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
  'box', [(0, 0, 24, 32), (3, 5, 12, 16), (2.5, 0.25, 20.5, 9), (0, 8, 24, 24)]
)
def test_a_resized_crop_is_that_of_pillow(image, box):
  top, left, height, width = box
  found = augment.resized_crop(image, jnp.array(box, jnp.float32))
  planes = [
    Image.fromarray(plane).resize(
      (32, 24),
      Image.Resampling.BILINEAR,
      (left, top, left + width, top + height),
    )
    for plane in np.moveaxis(image, -1, 0)
  ]
  expected = np.stack([np.asarray(x) for x in planes], axis=-1)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_keys_decide(image):
  batch = jnp.asarray(np.stack([image] * 4))
  key = jax.random.key(0)
  first, again = run(key, batch, ALL), run(key, batch, ALL)
  np.testing.assert_array_equal(first, again)
  assert len(np.unique(np.asarray(first).reshape(4, -1), axis=0)) == 4
  other = run(jax.random.key(1), batch, ALL)
  assert (np.asarray(first != other).mean(axis=(1, 2, 3)) > 0.5).all()
  np.testing.assert_allclose(run(key, batch[:2], ALL), first[:2], atol=1e-6)


def test_windows_change_alike_or_not(image):
  window = jnp.asarray(np.stack([[image] * 3] * 2))
  key = jax.random.key(0)
  alike = np.asarray(run(key, window, ALL))
  assert alike.shape == window.shape
  np.testing.assert_array_equal(alike[:, 0], alike[:, 1])
  assert (alike[0] != alike[1]).any()
  free = Augmentation(shift=4, same_over_time=False)
  apart = np.asarray(run(key, window, free)).reshape(6, -1)
  assert len(np.unique(apart, axis=0)) > 3
  single = np.asarray(run(key, window[:, 0], ALL))
  np.testing.assert_allclose(alike[:, 0], single, atol=1e-6)


def test_ranges_and_types(image):
  batch = np.stack([image] * 8)
  found = run(jax.random.key(0), batch, ALL)
  assert found.dtype == jnp.float32
  assert 0 <= found.min() and found.max() <= 1
  levels = np.round(batch * 255).astype(np.uint8)
  found8 = run(jax.random.key(0), levels, ALL)
  assert found8.dtype == jnp.uint8
  difference = np.abs(np.asarray(found8) / 255 - np.asarray(found))
  assert np.mean(difference) < 0.004  # Hue jumps where colours are near grey.
  np.testing.assert_array_equal(
    run(jax.random.key(0), levels, Augmentation()), levels
  )


def test_what_is_drawn():
  settings = Augmentation(
    shift=2, crop_scale=(0.2, 0.5), brightness=0.1, contrast=0.2, hue=0.3
  )
  keys = jax.random.split(jax.random.key(0), 4000)
  draw = functools.partial(augment.draw, settings=settings, height=40, width=60)
  drawn = jax.tree.map(np.asarray, jax.jit(jax.vmap(draw))(keys))
  values, counts = np.unique(drawn.offset, return_counts=True)
  np.testing.assert_array_equal(values, [-2, -1, 0, 1, 2])
  assert counts.min() > 0.9 * counts.mean()
  for found, centre, reach in (
    (drawn.brightness, 0, 0.1),
    (drawn.contrast, 1, 0.2),
    (drawn.saturation, 1, 0),
    (drawn.hue, 0, 0.3),
  ):
    np.testing.assert_allclose(found.min(), centre - reach, atol=0.01)
    np.testing.assert_allclose(found.max(), centre + reach, atol=0.01)
  assert 0.4 < drawn.flip.mean() < 0.6
  top, left, height, width = drawn.box.T
  share, ratio = height * width / 2400, width / height
  assert 0.2 < share.min() < 0.21 and 0.49 < share.max() < 0.501
  assert 0.75 <= ratio.min() + 1e-5 and ratio.max() - 1e-5 <= 4 / 3
  assert top.min() >= 0 and (top + height).max() <= 40 + 1e-4
  assert left.min() >= 0 and (left + width).max() <= 60 + 1e-4


@pytest.mark.parametrize(
  'field, value',
  [
    ('shift', -1),
    ('crop_scale', (0.0, 1.0)),
    ('crop_ratio', (2.0, 1.0)),
    ('brightness', 1.5),
    ('hue', 0.6),
  ],
)
def test_settings_out_of_range_are_named(field, value):
  with pytest.raises(ValueError, match=field):
    Augmentation(**{field: value})


def test_frames_of_other_shapes():
  with pytest.raises(ValueError, match=r'\[4, 4, 3\]'):
    augment.augment(jax.random.key(0), np.zeros((4, 4, 3)), ALL)
