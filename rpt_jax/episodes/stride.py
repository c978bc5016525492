"""How far apart frames should be that a difference is taken of.

Neighbouring frames are near copies: their difference is mostly noise. Where the
autocorrelation has fallen to a half, as much has changed as has stayed.
"""

import numpy as np

_ENOUGH = 0.5  # Autocorrelation at which a difference says something.
_MOST = 64  # Steps looked ahead, and
_PART = 4  # no more than one such part of a clip.
_GRID = 16  # Pixels that a frame is looked at with, either way.


def products(x_TD: np.ndarray) -> np.ndarray:
  """Sums of products of steps s apart, about the clip's mean: [64, 2].

  The second column counts the pairs; both are summed over clips, and
  `autocorrelation` divides them. 0 where a clip has no such pairs.
  """
  x_TD = x_TD - x_TD.mean(0)
  sums = np.zeros((_MOST, 2))
  for lag in range(min(_MOST, max(len(x_TD) // _PART, 1))):
    pairs = len(x_TD) - lag
    sums[lag] = np.sum(x_TD[:pairs] * x_TD[lag:]), pairs
  return sums


def autocorrelation(sums_S2: np.ndarray) -> np.ndarray:
  """[S] of summed `products`, 1 at 0; as far as there are pairs."""
  total_S, pairs_S = sums_S2.T
  mean_S = total_S[pairs_S > 0] / pairs_S[pairs_S > 0]
  if not len(mean_S) or mean_S[0] <= 0:
    return np.zeros(0)
  return mean_S / mean_S[0]


def propose(correlation_S: np.ndarray) -> int | None:
  """The first stride at which it has fallen to a half; None where it has not.

  As where nothing changes, or clips are too short to tell.
  """
  fallen = np.flatnonzero(correlation_S[1:] <= _ENOUGH)
  return int(fallen[0]) + 1 if len(fallen) else None


def seen(image_THWC: np.ndarray) -> np.ndarray:
  """Frames as a few grey numbers: [T, 256] or fewer, of frames below 16."""
  height, width = image_THWC.shape[1:3]
  rows, columns = (
    np.unique(np.linspace(0, size, min(_GRID, size) + 1).astype(int)[:-1])
    for size in (height, width)
  )

  def few(image_HWC):
    sums = np.add.reduceat(image_HWC.sum(-1, dtype=np.float64), rows)
    return np.add.reduceat(sums, columns, axis=1).ravel()

  return np.stack([few(image_HWC) for image_HWC in image_THWC])
