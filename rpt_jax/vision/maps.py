"""Feature maps of convolutional networks to one latent a frame."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax import target
from rpt_jax.types import Array

_CHUNK = 8  # Frames whose maps stay in a CPU's cache.


def by_chunks(encode: Callable[[Array], Array], x_NHWC: Array) -> Array:
  """`encode(x_NHWC)`, on a CPU a few frames at a time.

  Large maps are bound by memory: 1.5 times the images/s of MobileNetV1 at
  128 frames of 120 x 160, and memory that does not grow with N.
  """
  if target.platform() != 'cpu' or len(x_NHWC) <= _CHUNK:
    return encode(x_NHWC)
  return lax.map(lambda x: encode(x[None])[0], x_NHWC, batch_size=_CHUNK)


def readout(x_NHWC: Array, output: str) -> Array:
  """The map of each frame as one latent, [N, dim].

  `output`: 'mean_patch' (mean over space), 'patches' (all cells, flattened)
  or 'grid<g>' (g x g means, flattened; cells of adaptive average pooling, so
  any g up to the sides of the map).
  """
  num, height, width, _ = x_NHWC.shape
  if output == 'mean_patch':
    return x_NHWC.mean(axis=(1, 2))
  if output == 'patches':
    return x_NHWC.reshape(num, -1)
  cells = output.removeprefix('grid')
  if output.startswith('grid') and cells.isdigit():
    cells = int(cells)
    if 0 < cells <= min(height, width):
      rows, columns = _means(height, cells), _means(width, cells)
      x = jnp.einsum('gh,nhwc,kw->ngkc', rows, x_NHWC, columns)
      return x.reshape(num, -1)
  raise ValueError(
    f"output: found {output!r}, expected 'mean_patch', 'patches' or "
    f"'grid<g>' with g from 1 to {min(height, width)}, the shorter side of "
    f'the {height}x{width} map'
  )


def _means(size, cells):
  """Rows that average `size` places in `cells` (possibly shared) parts."""
  index = np.arange(cells)
  start, stop = index * size // cells, -(-(index + 1) * size // cells)
  place = np.arange(size)
  inside = (place >= start[:, None]) & (place < stop[:, None])
  return (inside / inside.sum(1, keepdims=True)).astype(np.float32)
