"""A scene differs between clips in every part; strength 0 is plain."""

import jax
import numpy as np

from rpt_jax.envs.gymnax import nuisance

N = 32
sample = jax.jit(jax.vmap(nuisance.sample, (0, None)))
KEYS = jax.random.split(jax.random.key(0), N)


def test_every_part_differs_between_clips():
  scene = jax.device_get(sample(KEYS, 1.0))
  picture = scene.background.astype(float)
  assert picture.shape == (N, 64, 64, 3)
  assert (picture.mean(axis=(1, 2)).std(axis=0) > 20).all()  # Colour.
  assert picture.std(axis=(1, 2)).mean() > 8  # Texture.
  assert (scene.tint.std(axis=0) > 10).all()
  assert (scene.shift.std(axis=0) > 0.5).all()
  assert np.abs(scene.shift).max() <= 2.0


def test_strength_zero_is_plain():
  scene = jax.device_get(sample(KEYS, 0.0))
  assert (scene.background == np.array(nuisance.PLAIN, np.uint8)).all()
  assert (scene.tint == 0).all() and (scene.shift == 0).all()
