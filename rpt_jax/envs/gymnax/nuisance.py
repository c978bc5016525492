"""What differs between clips and says nothing about acting.

A scene is drawn once a clip and stays: a background colour with a texture of
coloured waves, a palette shift, a small camera shift. It is what makes raw
units collapse onto the identity of the clip.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.envs.gymnax.raster import SIZE
from rpt_jax.types import Array

PLAIN = (64.0, 72.0, 92.0)
_WAVES = 3


class Scene(NamedTuple):
  """Background u8 [64, 64, 3], tint f32 [3] (RGB), shift f32 [2] (pixels)."""

  background: Array
  tint: Array
  shift: Array


def sample(key, strength=1.0) -> Scene:
  """The scene of one clip; strength 0 is the plain one, 1 the default.

  The background is computed here and never again: drawing a frame only reads
  it.
  """
  keys = jax.random.split(key, 7)
  strength = jnp.asarray(strength, jnp.float32)
  base_3 = jnp.asarray(PLAIN) + strength * jax.random.uniform(
    keys[0], (3,), minval=-50.0, maxval=80.0
  )
  direction = jax.random.uniform(keys[1], (_WAVES,), maxval=2 * jnp.pi)
  frequency = jax.random.uniform(keys[2], (_WAVES,), minval=0.5, maxval=6.0)
  phase = jax.random.uniform(keys[3], (_WAVES,), maxval=2 * jnp.pi)
  rgb_W3 = jax.random.uniform(keys[4], (_WAVES, 3), minval=-22.0, maxval=22.0)
  angle = 2 * jnp.pi * frequency / SIZE
  x = jnp.arange(SIZE, dtype=jnp.float32)
  wave_HWW = jnp.sin(
    x[None, :, None] * (angle * jnp.cos(direction))[None, None, :]
    + x[:, None, None] * (angle * jnp.sin(direction))[None, None, :]
    + phase[None, None, :]
  )
  background = base_3[None, None, :] + strength * (wave_HWW @ rgb_W3)
  return Scene(
    jnp.clip(background + 0.5, 0.0, 255.0).astype(jnp.uint8),
    strength * jax.random.uniform(keys[5], (3,), minval=-40.0, maxval=40.0),
    strength * jax.random.uniform(keys[6], (2,), minval=-2.0, maxval=2.0),
  )
