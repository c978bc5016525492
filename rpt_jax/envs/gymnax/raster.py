"""Anti-aliased drawing: signed distances in pixels, painted back to front.

A distance is negative inside a shape and grows by one a pixel. Shapes cost a
dozen arithmetic operations a pixel, no transcendental ones but one square
root, so that a frame is two fused elementwise passes.
"""

import jax
import jax.numpy as jnp

SIZE = 64
OUTLINE = 1.4


def grid(shift_2):
  """Pixel centres `(x [1, 64], y [64, 1])`, moved by a camera shift (x, y)."""
  centres = jnp.arange(SIZE, dtype=jnp.float32) + 0.5
  return (centres - shift_2[0])[None, :], (centres - shift_2[1])[:, None]


def disc(xy, centre, radius):
  """Distance to a disc, f32 [64, 64]."""
  return jnp.hypot(xy[0] - centre[0], xy[1] - centre[1]) - radius


def box(xy, centre, half):
  """Distance (Chebyshev) to an axis-aligned box of half sizes `half`."""
  return jnp.maximum(
    jnp.abs(xy[0] - centre[0]) - half[0], jnp.abs(xy[1] - centre[1]) - half[1]
  )


def capsule(xy, start, end, radius):
  """Distance to the segment `start`-`end` thickened by `radius`."""
  ux, uy = end[0] - start[0], end[1] - start[1]
  px, py = xy[0] - start[0], xy[1] - start[1]
  along = jnp.clip((px * ux + py * uy) / (ux * ux + uy * uy + 1e-6), 0.0, 1.0)
  dx, dy = px - along * ux, py - along * uy
  return jnp.sqrt(dx * dx + dy * dy) - radius


def below(xy, height, slope):
  """Distance to the ground under a curve.

  `height` and `slope` are the curve and its derivative at every column
  [1, 64], in pixels, y down; dividing by the arc length makes slopes crisp.
  """
  return (height - xy[1]) / jnp.sqrt(1.0 + slope * slope)


def colour(scene, rgb):
  """A foreground colour [3] under the palette shift of the clip."""
  return jnp.clip(jnp.asarray(rgb, jnp.float32) + scene.tint, 0.0, 255.0)


def paint(scene, layers):
  """Layers `(distance [64, 64], rgb)` over the scene, u8 [64, 64, 3].

  Every layer has a black outline, so that it stands out on any background.
  """
  shown, weights = jnp.float32(1.0), []
  for distance, _ in reversed(layers):
    fill = jnp.clip(0.5 - distance, 0.0, 1.0)
    edge = jnp.clip(OUTLINE + 0.5 - distance, 0.0, 1.0)
    weights.append(shown * fill)
    shown = shown * (1.0 - edge)
  # One pass for weights, one for colour: fused together, XLA on CPU computes
  # every distance once a channel and does not vectorise (2.5 times slower).
  shown, *weights = jax.lax.optimization_barrier((shown, *weights))
  image = scene.background.astype(jnp.float32) * shown[:, :, None]
  for weight, (_, rgb) in zip(weights, reversed(layers), strict=True):
    image += weight[:, :, None] * colour(scene, rgb)[None, None, :]
  return (image + 0.5).astype(jnp.uint8)


def repaint(scene, layers):
  """The scene with layers that never move painted into its background."""
  return scene._replace(background=paint(scene, layers))
