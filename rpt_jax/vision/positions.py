"""Where a patch is: fixed sines and cosines, and learned tables resized."""

import numpy as np

from rpt_jax.vision.preprocessing import FILTERS


def fixed(side: int, width: int) -> np.ndarray:
  """Fixed positions [side * side, width]: half for columns, half for rows.

  Columns first, as in the checkpoints of MAE (He et al. 2021).
  Raises ValueError where width is no multiple of 4.
  """
  if width % 4:
    raise ValueError(f'width: found {width}, expected a multiple of 4')
  omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
  angle = np.arange(side)[:, None] * omega
  axis = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
  columns = np.tile(axis, (side, 1))
  rows = np.repeat(axis, side, axis=0)
  return np.concatenate([columns, rows], axis=1).astype(np.float32)


def resize(x_PD: np.ndarray, side: int, method: str) -> np.ndarray:
  """Learned positions of a square grid for one of `side` x `side` patches.

  `method` is how the family was resized in PyTorch (align_corners=False):
  'bicubic', or with antialias 'bicubic_antialias', 'bilinear_antialias'.
  """
  old_side = round(len(x_PD) ** 0.5)
  if old_side == side:
    return x_PD
  if method == 'bicubic':
    weight = _clamped(old_side, side)
  else:
    weight = _antialiased(old_side, side, method.removesuffix('_antialias'))
  grid = np.asarray(x_PD, np.float64).reshape(old_side, old_side, -1)
  grid = np.einsum('ri,cj,ijd->rcd', weight, weight, grid, optimize=True)
  return grid.reshape(side * side, -1).astype(np.float32)


def _clamped(size, new):
  """Cubic convolution, a = -0.75, the border repeated: rows [new, size]."""
  centre = (np.arange(new) + 0.5) * (size / new) - 0.5
  first = np.floor(centre).astype(int) - 1
  weight = np.zeros((new, size))
  for tap in range(4):
    x = np.abs(centre - (first + tap))
    near = (1.25 * x - 2.25) * x * x + 1
    far = -0.75 * (((x - 5) * x + 8) * x - 4)
    place = np.clip(first + tap, 0, size - 1)
    weight[np.arange(new), place] += np.where(x <= 1, near, far)
  return weight


def _antialiased(size, new, name):
  """A filter that widens when shrinking, rows summing to 1: [new, size]."""
  kernel, _ = FILTERS[name]
  stretch = max(size / new, 1.0)
  centre = (np.arange(new) + 0.5) * (size / new)
  weight = kernel((np.arange(size) + 0.5 - centre[:, None]) / stretch)
  return weight / weight.sum(1, keepdims=True)
