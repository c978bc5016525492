"""Streams at mean 0 and deviation 1: the one way numbers are scaled.

A scale is (mean [D], deviation [D]), f32; the deviation of what never varies is
0, and such a dimension is only centred. Where a stream is measured, a dimension
that hardly varies is given a part of the largest deviation, so that what it
does elsewhere (a gripper that was kept shut) is not blown up.
"""

from collections.abc import Iterable

import numpy as np

from rpt_jax.episodes.statistics import Statistics
from rpt_jax.types import Array

Scale = tuple[Array, Array]

# Least deviation of a dimension, as a share of the largest of its stream.
_LEAST = {'proprio': 0.3, 'action': 0.3}
_LEAST_OF_LATENTS = 1e-3
# Half the range of quantiles, as a share of the deviation: of a normal 2.3, of
# what rests at noise and moves in less than 1 % of steps far below 1.
_RESTING = 0.3
_CONSTANT = 1e-6  # Of the mean, at least 1: a smaller deviation is rounding.


def measure(stream: str, parts: Iterable[np.ndarray]) -> Scale:
  """The scale of a stream over all rows of parts [N, D], read one by one.

  Sums are in float64, all but exact for float16 and float32, so the variance
  needs no shift: of constants no more is left than rounding. Raises
  ValueError where widths differ or there is no row.
  """
  count, sum_D, squares_D = 0, np.float64(0), np.float64(0)
  for x_ND in parts:
    x_ND = x_ND.astype(np.float64)
    if count and x_ND.shape[1:] != sum_D.shape:
      raise ValueError(
        f'stream {stream!r}: {x_ND.shape[1]} numbers a step here, '
        f'{len(sum_D)} elsewhere; give every domain of a config the same '
        'cameras and robot'
      )
    count += len(x_ND)
    sum_D = sum_D + x_ND.sum(0)
    squares_D = squares_D + np.square(x_ND).sum(0)
  if not count:
    raise ValueError(f'stream {stream!r}: no step to measure its scale on')
  mean_D = sum_D / count
  std_D = np.sqrt(np.maximum(squares_D / count - mean_D**2, 0.0))
  least = _LEAST.get(stream, _LEAST_OF_LATENTS)
  std_D = np.maximum(std_D, least * std_D.max(initial=0.0))
  return _scale(mean_D, std_D)


def of(statistics: Statistics, mode: str) -> Scale:
  """The scale of a dataset's stream by 'mean_std', 'quantiles' or 'none'.

  'quantiles' brings the 1st and 99th percentile to -1 and 1; values beyond are
  not clipped. Where they lie far closer together than the values do, as of a
  switch that is seldom thrown, the deviation takes their place. Raises
  ValueError for another mode.
  """
  s = statistics
  half = (s.q99 - s.q01) / 2
  rests = half < _RESTING * s.std
  scales = {
    'mean_std': (s.mean, s.std),
    'quantiles': (
      np.where(rests, s.mean, (s.q99 + s.q01) / 2),
      np.where(rests, s.std, half),
    ),
    'none': (np.zeros_like(s.mean), np.ones_like(s.std)),
  }
  if mode not in scales:
    raise ValueError(f'mode: found {mode!r}, expected one of {list(scales)}')
  return _scale(*scales[mode])


def _scale(centre_D, spread_D):
  """Both as f32; the spread of what never varies is 0."""
  varies_D = spread_D > _CONSTANT * np.maximum(1.0, np.abs(centre_D))
  spread_D = np.where(varies_D, spread_D, 0.0)
  return centre_D.astype(np.float32), spread_D.astype(np.float32)


def divisor(scale: Scale) -> Array:
  """What deviations from the mean are divided by: [D]."""
  _, std_D = scale
  return std_D + (std_D == 0)


def apply(x: Array, scale: Scale) -> Array:
  """x [..., D], of any float type, on its scale, f32."""
  mean_D, _ = scale
  std_D = divisor(scale)
  shape = (1,) * (x.ndim - 1) + mean_D.shape
  return (x.astype(np.float32) - mean_D.reshape(shape)) / std_D.reshape(shape)


def invert(x: Array, scale: Scale) -> Array:
  """The inverse of `apply`; what never varied is its mean."""
  mean_D, std_D = scale
  shape = (1,) * (x.ndim - 1) + mean_D.shape
  return x * std_D.reshape(shape) + mean_D.reshape(shape)
