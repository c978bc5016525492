"""What frozen features say of the world, read by one linear layer.

Ridge regression of the physical state in closed form, float64 NumPy: one
eigendecomposition of the Gram matrix serves every penalty. The penalty is
chosen on whole clips held back from the training clips, the score is taken on
clips that neither step has seen. Neighbouring frames are near copies, so a
split within clips would reward memory.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

PENALTIES = tuple(10.0**power for power in range(-6, 3))  # times N rows
_ROWS_AT_ONCE = 8192


class Ridge(NamedTuple):
  """y_NP = (x_ND - mean_D) / scale_D @ weight_DP + bias_P."""

  mean_D: np.ndarray
  scale_D: np.ndarray
  weight_DP: np.ndarray
  bias_P: np.ndarray

  def __call__(self, x_ND) -> np.ndarray:
    weight_DP = self.weight_DP / self.scale_D[:, None]
    bias_P = self.bias_P - self.mean_D @ weight_DP
    parts = [
      x_ND[start : start + _ROWS_AT_ONCE].astype(np.float64) @ weight_DP
      for start in range(0, len(x_ND), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) + bias_P


class StateProbe(NamedTuple):
  """R^2 per state dimension on held-out clips; NaN where it was constant."""

  r2_P: np.ndarray
  mean: float  # over the dimensions that vary
  pooled: float  # of all dimensions together, see `pooled_r2`
  penalty: float  # the one chosen, times N rows


class Spectrum(NamedTuple):
  """Features taken apart: the work that is the same for all targets."""

  x_ND: np.ndarray
  mean_D: np.ndarray
  scale_D: np.ndarray
  values_D: np.ndarray  # Eigenvalues of the Gram matrix.
  basis_DD: np.ndarray


def states(
  x_ND, labels: Mapping, clip_N, x_test_ND, test_labels: Mapping
) -> dict[str, StateProbe]:
  """`state` of several labels {name: y_NP} from the same features."""
  held_N = split_clips(clip_N, 0.2, 0)
  spectra = spectrum(x_ND[~held_N]), spectrum(x_ND)
  return {
    name: _state(spectra, held_N, y_NP, clip_N, x_test_ND, test_labels[name])
    for name, y_NP in labels.items()
  }


def state(x_ND, y_NP, clip_N, x_test_ND, y_test_NP) -> StateProbe:
  """Held-out R^2 of the physical state regressed from frozen features.

  `x_ND`, `y_NP`, `clip_N`: features, state and clip number of every training
  frame; the test arrays come from other clips. Features are standardised, a
  penalty p adds p * N * |w|^2 to the sum of squared errors. R^2 is taken about
  the test mean, so it can be negative.

  Raises ValueError for arrays that disagree, values that are not finite, fewer
  than 2 training clips, and a state of which no dimension varies.
  """
  x_ND, y_NP, clip_N = _checked(x_ND, y_NP, clip_N)
  labels, test_labels = {'': y_NP}, {'': y_test_NP}
  return states(x_ND, labels, clip_N, x_test_ND, test_labels)['']


def _state(spectra, held_N, y_NP, clip_N, x_test_ND, y_test_NP):
  """One of `states`; `spectra` are of the clips not held back, and of all."""
  x_ND = spectra[1].x_ND
  _, y_NP, _ = _checked(x_ND, y_NP, clip_N)
  x_test_ND, y_test_NP, _ = _checked(x_test_ND, y_test_NP, None)
  _check_same_width(x_ND, x_test_ND, 'features')
  _check_same_width(y_NP, y_test_NP, 'state')
  varies_P = _varies(y_NP) & _varies(y_test_NP)
  if not varies_P.any():
    raise ValueError(
      'state: no dimension varies in both training and test clips, expected '
      'at least one: check which clips were given'
    )
  y_NP, y_test_NP = y_NP[:, varies_P], y_test_NP[:, varies_P]
  penalty = _choose(spectra[0], x_ND, y_NP, held_N)
  model = _path(spectra[1], y_NP, (penalty * len(x_ND),))[0]
  r2_P = np.full(varies_P.shape, np.nan)
  guess_NP = model(x_test_ND)
  r2_P[varies_P] = r2(y_test_NP, guess_NP)
  pooled = pooled_r2(y_NP, y_test_NP, guess_NP)
  return StateProbe(r2_P, float(r2_P[varies_P].mean()), pooled, penalty)


def fit(x_ND, y_NP, penalty: float, *, standardise: bool = True) -> Ridge:
  """Ridge regression with a free intercept.

  Minimises |y - x w - b|^2 + penalty |w|^2, on features scaled to unit
  variance if `standardise` (else this is `sklearn.linear_model.Ridge`).
  """
  return _path(spectrum(x_ND, standardise=standardise), y_NP, (penalty,))[0]


def r2(y_NP, guess_NP) -> np.ndarray:
  """1 - squared error / variance about the mean, per dimension [P]."""
  y_NP = np.asarray(y_NP, np.float64)
  error_P = np.square(y_NP - guess_NP).sum(0)
  return 1.0 - error_P / np.square(y_NP - y_NP.mean(0)).sum(0)


def pooled_r2(y_train_NP, y_NP, guess_NP) -> float:
  """1 - squared error / that of the training mean, summed over dimensions.

  Each dimension in units of its training deviation: one that hardly moves in
  the test clips cannot swamp the others.
  """
  scale_P = np.asarray(y_train_NP, np.float64).std(0)
  error = np.square((y_NP - guess_NP) / scale_P).sum()
  return float(
    1.0 - error / np.square((y_NP - y_train_NP.mean(0)) / scale_P).sum()
  )


def split_clips(clip_N, fraction: float, seed: int) -> np.ndarray:
  """True [N] for the frames of a random `fraction` of the clips, at least one.

  Raises ValueError where fewer than 2 clips leave nothing to split.
  """
  clips = np.unique(clip_N)
  if len(clips) < 2:
    raise ValueError(
      f'split_clips: found {len(clips)} clip, expected 2 or more to hold some '
      'back for choosing the penalty'
    )
  count = min(max(1, round(fraction * len(clips))), len(clips) - 1)
  held = np.random.default_rng(seed).permutation(clips)[:count]
  return np.isin(clip_N, held)


def _choose(of_fit, x_ND, y_NP, held_N) -> float:
  """The penalty with the best mean R^2 on the training clips held back."""
  y_fit = y_NP[~held_N]
  path = _path(of_fit, y_fit, [p * len(y_fit) for p in PENALTIES])
  spread_P = np.maximum(y_fit.var(0), np.finfo(np.float64).tiny)
  errors = [
    (np.square(y_NP[held_N] - model(x_ND[held_N])).mean(0) / spread_P).mean()
    for model in path
  ]
  return float(PENALTIES[int(np.argmin(errors))])


def spectrum(x_ND, *, standardise: bool = True) -> Spectrum:
  """Features with the eigendecomposition of their Gram matrix, float64."""
  x_ND = np.asarray(x_ND)
  mean_D = x_ND.mean(0, dtype=np.float64)
  scale_D = np.ones_like(mean_D)
  if standardise:
    scale_D = x_ND.std(0, dtype=np.float64)
    scale_D = np.where(scale_D > 1e-6 * scale_D.max(initial=0), scale_D, np.inf)
  gram_DD = np.zeros((x_ND.shape[1],) * 2)
  for rows in _slices(len(x_ND)):
    x = (x_ND[rows].astype(np.float64) - mean_D) / scale_D
    gram_DD += x.T @ x
  values_D, basis_DD = np.linalg.eigh(gram_DD)
  return Spectrum(x_ND, mean_D, scale_D, np.maximum(values_D, 0.0), basis_DD)


def _slices(size):
  return [
    slice(start, start + _ROWS_AT_ONCE)
    for start in range(0, size, _ROWS_AT_ONCE)
  ]


def _path(features: Spectrum, y_NP, penalties) -> list[Ridge]:
  """One model per penalty."""
  x_ND, mean_D, scale_D, values_D, basis_DD = features
  y_NP = np.asarray(y_NP, np.float64)
  if min(penalties) < 0:
    raise ValueError(f'penalty: found {min(penalties)}, expected 0 or more')
  y_mean_P = y_NP.mean(0)
  cross_DP = np.zeros((x_ND.shape[1], y_NP.shape[1]))
  for rows in _slices(len(x_ND)):
    x = (x_ND[rows].astype(np.float64) - mean_D) / scale_D
    cross_DP += x.T @ (y_NP[rows] - y_mean_P)
  floor = np.finfo(np.float64).eps * len(values_D) * values_D.max(initial=0)
  projected_DP = basis_DD.T @ cross_DP
  models = []
  for penalty in penalties:
    total_D = values_D + penalty
    inverse_D = np.divide(
      1.0, total_D, out=np.zeros_like(total_D), where=total_D > floor
    )
    weight_DP = basis_DD @ (inverse_D[:, None] * projected_DP)
    models.append(Ridge(mean_D, scale_D, weight_DP, y_mean_P))
  return models


def _varies(y_NP) -> np.ndarray:
  """True [P] where a dimension is more than rounding about a constant."""
  size_P = np.abs(y_NP).max(0)
  return y_NP.std(0) > 1e-6 * np.maximum(size_P, 1e-6)


def _checked(x_ND, y_NP, clip_N):
  x_ND, y_NP = np.asarray(x_ND), np.asarray(y_NP, np.float64)
  if (
    x_ND.ndim != 2 or y_NP.ndim != 2 or len(x_ND) != len(y_NP) or not x_ND.size
  ):
    raise ValueError(
      f'probe: found features {x_ND.shape} and targets {y_NP.shape}, expected '
      '[N, D] and [N, P] with the same N > 0: flatten clips to frames'
    )
  for name, array in (('features', x_ND), ('targets', y_NP)):
    if not np.isfinite(array).all():
      raise ValueError(f'probe: {name} hold values that are not finite')
  if clip_N is not None:
    clip_N = np.asarray(clip_N)
    if clip_N.shape != (len(x_ND),):
      raise ValueError(
        f'probe: found clip numbers {clip_N.shape}, expected ({len(x_ND)},): '
        'one per frame'
      )
  return x_ND, y_NP, clip_N


def _check_same_width(train, test, name):
  if test.ndim != 2 or train.shape[1] != test.shape[1]:
    raise ValueError(
      f'probe: {name} have shape {train.shape} in training and {test.shape} '
      'in test clips, expected the same width'
    )
