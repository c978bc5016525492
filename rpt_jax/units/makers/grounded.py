"""Grounded units: k-means in the subspace that few labelled clips act in.

A ridge regression, an inverse dynamics model, is fitted on the clips that are
labelled; how much it is shrunk is chosen by leaving some of those out. What it
says of all other clips is clustered: a code is what was probably done, in units
of its deviation, and units are the usual ones of it. What moves for other
reasons (a background, a camera) is not in that subspace, however large it is.

Not action-free: it reads the actions of `labelled` clips of `pretrain`, and of
no other clip or split. It goes with deltas ('delta:1', 'stack:1,2'): a frame
itself tells which clip it is of, and a regression takes whatever tells clips
apart for action.
"""

import dataclasses

import numpy as np

from rpt_jax import settings as keys
from rpt_jax.episodes import stack
from rpt_jax.units import labelled, makers

NEEDS = (makers.LATENT, 'action')
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)  # A row.
_FOLDS = 5
_BLOCKS = 4  # Of steps, where clips are too few to leave some out.


@dataclasses.dataclass(frozen=True)
class Settings:
  """How much is labelled."""

  labelled: int = keys.key(
    4, 'clips whose actions are read, evenly spread', low=1, high=1_000_000
  )
  shift: int = keys.key(
    1, 'steps until latents show what an action did', low=0, high=1000
  )


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, 1)."""
  del settings
  return shared.num_clusters, 1


def lookahead(settings: Settings) -> float:
  """The unit of t is of what is seen `shift` steps later."""
  return settings.shift


def fit(settings: Settings, clips, key, shared, mesh):
  """{'regression', 'codebook'}, dictionaries of arrays both.

  Raises ValueError for fewer or shorter clips than are to be labelled.
  """
  row_M, clip_M = labelled.rows(clips, settings.labelled, settings.shift)
  x_MD = np.asarray(clips.arrays[makers.LATENT][row_M + settings.shift])
  regression = regress(x_MD, labelled.actions(clips, row_M), clip_M)
  code_ND = _codes(settings, regression, clips)[_shown(settings, clips)]
  codebook = makers.cluster(code_ND, shared, key, mesh)
  return {'regression': regression, 'codebook': codebook}


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, 1] and codes; -1 and zeros at the last steps of every clip."""
  shown_N = _shown(settings, clips)
  code_ND = _codes(settings, fitted['regression'], clips)
  return makers.of_codes(fitted['codebook'], code_ND, shown_N, key, mesh)


def regress(x_MD: np.ndarray, y_MA: np.ndarray, clip_M: np.ndarray) -> dict:
  """The regression of standardised actions, shrunk as left-out clips say.

  {'mean_D', 'scale_D', 'weight_DA', 'penalty'}, and 'action_mean_A' and
  'action_scale_A', which make actions of what it gives.
  """
  action_mean_A, action_scale_A = labelled.moments(y_MA)
  y_MA = (y_MA - action_mean_A) / action_scale_A
  fold_M = _folds(clip_M)
  error_P = np.zeros(len(PENALTIES))
  for fold in np.unique(fold_M):
    out_M = fold_M == fold
    if out_M.all():  # A single step: nothing can be left out.
      break
    mean_D, scale_D, weight_PDA = _path(x_MD[~out_M], y_MA[~out_M])
    guess_PMA = ((x_MD[out_M] - mean_D) / scale_D) @ weight_PDA
    error_P += np.square(guess_PMA - y_MA[out_M]).sum((1, 2))
  best = int(np.argmin(error_P))
  mean_D, scale_D, weight_PDA = _path(x_MD, y_MA)
  fitted = {
    'mean_D': mean_D,
    'scale_D': scale_D,
    'weight_DA': weight_PDA[best],
    'penalty': np.array(PENALTIES[best]),
    'action_mean_A': action_mean_A,
    'action_scale_A': action_scale_A,
  }
  return {name: x.astype(np.float32) for name, x in fitted.items()}


def _folds(clip_M):
  """Which part each row is left out with: its clip, or its stretch of time."""
  count = int(clip_M.max()) + 1
  if count < 3:
    return np.arange(len(clip_M)) * _BLOCKS // len(clip_M)
  return clip_M % min(count, _FOLDS)


def _path(x_MD, y_MA):
  """(mean, deviation, weights [P, D, A]) of all penalties."""
  mean_D, scale_D = labelled.moments(x_MD.astype(np.float64))
  return mean_D, scale_D, ridge((x_MD - mean_D) / scale_D, y_MA)


def ridge(x_MD: np.ndarray, y_MA: np.ndarray) -> np.ndarray:
  """Weights [P, D, A] that minimise |y - x w|^2 + M penalty |w|^2, float64.

  By the smaller of the two Gram matrices: there may be more numbers than rows.
  """
  rows, width = x_MD.shape
  if width <= rows:
    values, basis = np.linalg.eigh(x_MD.T @ x_MD)
    basis_DK, part_KA = basis, basis.T @ (x_MD.T @ y_MA)
  else:
    values, basis = np.linalg.eigh(x_MD @ x_MD.T)
    basis_DK, part_KA = x_MD.T @ basis, basis.T @ y_MA
  values_K1 = np.maximum(values, 0)[:, None]
  return np.stack(
    [basis_DK @ (part_KA / (values_K1 + rows * p)) for p in PENALTIES]
  )


def _codes(settings, regression, clips):
  """What was probably done in every row [N, A], float32."""
  count = int(clips.lengths.sum())
  later_N = np.minimum(np.arange(count) + settings.shift, count - 1)
  parts = []
  for row_B in stack.blocks(later_N):
    # Exact enough to be the same however many rows are read at once.
    x_BD = np.asarray(clips.arrays[makers.LATENT][row_B], np.float64)
    x_BD = (x_BD - regression['mean_D']) / regression['scale_D']
    code_BA = x_BD @ regression['weight_DA'].astype(np.float64)
    parts.append(code_BA.astype(np.float32))
  return np.concatenate(parts)


def _shown(settings, clips):
  """bool [N]: whether a row has another `shift` later in its clip."""
  left = [np.arange(length)[::-1] for length in clips.lengths]
  return np.concatenate(left) >= settings.shift
