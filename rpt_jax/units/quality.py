"""How good units are: usage, stability, and what they tell about the robot.

NumPy, float64. Scores are for held-out clips; labels are integers (clip id,
discrete action, binned state). Formulas: fairseq's measure_teacher_quality.py
(HuBERT) with exact 0 log 0, and scikit-learn's symmetric NMI.
"""

import jax
import numpy as np

from rpt_jax.episodes.windows import spread
from rpt_jax.types import Array
from rpt_jax.units import kmeans

BINS = 20
SHUFFLES = 3
THRESHOLD_SHUFFLES = 19  # Chance passes all of them once in twenty.
_SHUFFLED = 20_000  # Frames at most that a threshold is of.


def joint_ids(units_NL: Array) -> np.ndarray:
  """Returns one compact id per combination of levels, ids_N from 0."""
  units_NL = np.asarray(units_NL)
  if units_NL.ndim == 1:
    units_NL = units_NL[:, None]
  ids_N = np.zeros(len(units_NL), np.int64)
  for level in range(units_NL.shape[1]):
    _, unit_N = np.unique(units_NL[:, level], return_inverse=True)
    both_N = ids_N * (unit_N.max(initial=0) + 1) + unit_N
    _, ids_N = np.unique(both_N, return_inverse=True)
  return ids_N


def _joint(labels_N: Array, units_N: Array):
  """Returns nonzero p(y, z) and the y and z of each entry."""
  labels_N, units_N = np.asarray(labels_N), np.asarray(units_N)
  if labels_N.shape != units_N.shape or labels_N.ndim != 1:
    raise ValueError(
      f'labels and units: found shapes {labels_N.shape} and {units_N.shape}, '
      'expected one integer a frame in both; see joint_ids and bins'
    )
  if not len(labels_N):
    raise ValueError('labels and units: found no frames')
  _, y_N = np.unique(labels_N, return_inverse=True)
  _, z_N = np.unique(units_N, return_inverse=True)
  width = z_N.max() + 1
  pair_M, count_M = np.unique(y_N * width + z_N, return_counts=True)
  return count_M / len(y_N), pair_M // width, pair_M % width


def _entropy(p_M: np.ndarray) -> float:
  p_M = p_M[p_M > 0]
  return float(-(p_M * np.log(p_M)).sum())


def _information(labels_N, units_N) -> tuple[float, float, float]:
  """Returns I(y; z), H(y), H(z) in nats."""
  p_M, y_M, z_M = _joint(labels_N, units_N)
  label, unit = np.bincount(y_M, p_M), np.bincount(z_M, p_M)
  h_label, h_unit = _entropy(label), _entropy(unit)
  ratio_M = p_M / (label[y_M] * unit[z_M])
  return max(float((p_M * np.log(ratio_M)).sum()), 0.0), h_label, h_unit


def nmi(labels_N: Array, units_N: Array) -> float:
  """Returns I(y; z) over the arithmetic mean of the entropies; symmetric.

  1 where both are constant, as in scikit-learn.
  """
  information, h_label, h_unit = _information(labels_N, units_N)
  if h_label + h_unit == 0:
    return 1.0
  return min(2 * information / (h_label + h_unit), 1.0)


def pnmi(labels_N: Array, units_N: Array) -> float:
  """Returns I(y; z) / H(y), the share of the label the unit tells.

  0 where the label is constant: there is nothing to tell.
  """
  information, h_label, _ = _information(labels_N, units_N)
  return min(information / h_label, 1.0) if h_label > 0 else 0.0


def ref_purity(labels_N: Array, units_N: Array) -> float:
  """Returns sum_z max_y p(y, z): accuracy of the best label per unit."""
  p_M, _, z_M = _joint(labels_N, units_N)
  best = np.zeros(z_M.max() + 1)
  np.maximum.at(best, z_M, p_M)
  return float(best.sum())


def cluster_purity(labels_N: Array, units_N: Array) -> float:
  """Returns sum_y max_z p(y, z): accuracy of the best unit per label."""
  return ref_purity(units_N, labels_N)


def clip_shares(units_N: Array, clip_N: Array):
  """Returns (units_K, frames of each, share of them in one clip), all [K].

  That clip is the one which has most of the unit's frames: with a share of 1 a
  unit names one clip.
  """
  p_M, _, z_M = _joint(clip_N, units_N)
  numbers_K, count_K = np.unique(np.asarray(units_N), return_counts=True)
  most_K = np.zeros(len(numbers_K))
  np.maximum.at(most_K, z_M, p_M * count_K.sum())
  return numbers_K, count_K, np.rint(most_K) / count_K


def shuffles(units_N: Array, group_N: Array, count: int = SHUFFLES, seed=0):
  """Yields the units, `count` times shuffled over the frames of each group."""
  units_N, rng = np.asarray(units_N), np.random.default_rng(seed)
  order_N = np.argsort(group_N, kind='stable')
  for _ in range(count):
    drawn_N = np.lexsort((rng.random(len(units_N)), group_N))
    shuffled_N = np.empty_like(units_N)
    shuffled_N[order_N] = units_N[drawn_N]
    yield shuffled_N


def threshold(
  labels_N: Array, units_N: Array, clip_N: Array, seed: int = 0
) -> float:
  """Returns the highest PNMI of 19 shuffles: what units tell without knowing.

  Units are shuffled within their clips, which leaves them all that they tell of
  a label by naming the clip, and takes from them when it changes; of a label
  that never changes within a clip, as the clip itself, over all frames. Of many
  frames some, evenly spread, which makes it higher than of all.
  """
  rows = spread(len(np.asarray(units_N)), _SHUFFLED)
  label_M, unit_M, clip_M = (
    np.asarray(x)[rows] for x in (labels_N, units_N, clip_N)
  )
  fixed = len(np.unique(joint_ids(np.stack([clip_M, label_M], 1)))) == len(
    np.unique(clip_M)
  )
  group_M = np.zeros_like(clip_M) if fixed else clip_M
  drawn = shuffles(unit_M, group_M, THRESHOLD_SHUFFLES, seed)
  return max(pnmi(label_M, shuffled_M) for shuffled_M in drawn)


def perplexity(units_N: Array) -> float:
  """Returns exp of the entropy of the units in use."""
  _, count = np.unique(np.asarray(units_N), return_counts=True)
  return float(np.exp(_entropy(count / count.sum())))


def dead_units(units_N: Array, vocab: int) -> int:
  """Returns how many of `vocab` units no frame has."""
  return int(vocab - len(np.unique(np.asarray(units_N))))


def distinct_per_clip(units_N: Array, clip_N: Array) -> float:
  """Returns the mean number of different units in a clip."""
  p_M, clip_M, _ = _joint(clip_N, units_N)
  return len(p_M) / float(clip_M.max() + 1)


def mean_segment_length(units_N: Array, clip_N: Array) -> float:
  """Returns frames per run of one unit; a run ends with its clip."""
  units_N, clip_N = np.asarray(units_N), np.asarray(clip_N)
  change_N = (units_N[1:] != units_N[:-1]) | (clip_N[1:] != clip_N[:-1])
  return len(units_N) / (1 + np.count_nonzero(change_N))


def velocity(
  value_NP: Array, lengths: Array, row_M: Array | None = None
) -> np.ndarray:
  """Returns the change per step within clips, float64, of rows or of all.

  Central differences, one-sided at the ends of a clip, 0 in a clip of one
  frame. `lengths` are those of the clips, which lie end to end.
  """
  stop = np.cumsum(lengths)
  row = np.arange(len(value_NP)) if row_M is None else np.asarray(row_M)
  clip = np.searchsorted(stop, row, side='right')
  before = np.maximum(row - 1, (stop - lengths)[clip])
  after = np.minimum(row + 1, stop[clip] - 1)
  change = np.float64(value_NP[after]) - np.float64(value_NP[before])
  steps = np.maximum(after - before, 1)
  return change / steps.reshape((-1,) + (1,) * (change.ndim - 1))


def quantile_bins(value_N: Array, bins: int = BINS) -> np.ndarray:
  """Returns bins of equal mass; equal values share a bin."""
  value_N = np.asarray(value_N, np.float64)
  edges = np.quantile(value_N, np.linspace(0, 1, bins + 1)[1:-1])
  return np.searchsorted(np.unique(edges), value_N, side='right')


def standardise(value_NP: Array, of_MP: Array | None = None) -> np.ndarray:
  """Returns values of mean 0 and deviation 1, constant ones 0, float32.

  Mean and deviation are of `of_MP`, where they are given, or their own.
  """
  value_NP = np.asarray(value_NP, np.float64)
  of_MP = value_NP if of_MP is None else np.asarray(of_MP, np.float64)
  spread_P = of_MP.std(0)
  spread_P[spread_P < 1e-12] = 1
  return ((value_NP - of_MP.mean(0)) / spread_P).astype(np.float32)


def kmeans_bins(
  value_NP: Array,
  bins: int = BINS,
  seed: int = 0,
  of_MP: Array | None = None,
) -> np.ndarray:
  """Returns k-means clusters of the values as they are.

  Clusters are of `of_MP`, where they are given, or of the values themselves.
  """
  value_NP = np.asarray(value_NP, np.float32)
  of_MP = value_NP if of_MP is None else np.asarray(of_MP, np.float32)
  bins = min(bins, len(np.unique(of_MP, axis=0)))
  key = jax.random.key(seed)
  fitted = kmeans.fit(of_MP, bins, key, precision='float32')
  return np.asarray(kmeans.assign(fitted, value_NP, precision='float32'))


def bins(value: Array, count: int = BINS, seed: int = 0) -> np.ndarray:
  """Returns integer labels: integers stay, floats are binned.

  [N] floats by quantiles, [N, P] floats by k-means, [N, P] integers jointly.
  """
  value = np.asarray(value)
  if value.ndim not in (1, 2):
    raise ValueError(
      f'label: found shape {value.shape}, expected [N] or [N, P]'
    )
  if not np.issubdtype(value.dtype, np.floating):
    return joint_ids(value)
  if not np.isfinite(value).all():
    raise ValueError('label: found NaN or infinite values')
  if value.ndim == 1 or value.shape[1] == 1:
    return quantile_bins(value.reshape(-1), count)
  return kmeans_bins(standardise(value), count, seed)


def _against(name: str, label_N, ids_N, shuffled) -> dict[str, float]:
  """Scores units against one label, with the chance level."""
  chance = [(nmi(label_N, s), pnmi(label_N, s)) for s in shuffled]
  by_chance = np.mean(chance, axis=0)
  return {
    f'nmi/{name}': nmi(label_N, ids_N),
    f'pnmi/{name}': pnmi(label_N, ids_N),
    f'ref_purity/{name}': ref_purity(label_N, ids_N),
    f'cluster_purity/{name}': cluster_purity(label_N, ids_N),
    f'nmi_chance/{name}': float(by_chance[0]),
    f'pnmi_chance/{name}': float(by_chance[1]),
  }


def report(
  units_NL: Array,
  clip_N: Array,
  labels: dict[str, Array],
  *,
  vocab: int | None = None,
  count: int = BINS,
  seed: int = 0,
) -> dict[str, float]:
  """Returns every score of the units of held-out clips.

  Levels are combined into joint ids. labels maps a name to what `bins` takes
  (state [N, P], velocity, action, ...); the label `clip` is always there. Of a
  label that is the same everywhere, as of a single clip, there is no score.
  `chance` scores are of the same units shuffled over frames, the mean of three.
  `pnmi_threshold` is what PNMI must exceed (`threshold`).
  `dead` counts unused units over all levels, given `vocab`, the units a level.

  Raises ValueError for lengths that differ and labels that are not finite.
  """
  units_NL, clip_N = np.asarray(units_NL), np.asarray(clip_N)
  units_NL = units_NL.reshape(len(units_NL), -1)
  for name, value in {'clip': clip_N, **labels}.items():
    if len(value) != len(units_NL):
      raise ValueError(
        f'label {name!r}: found {len(value)} frames, units have {len(units_NL)}'
      )
  ids_N = joint_ids(units_NL)
  shuffled = list(shuffles(ids_N, np.zeros_like(ids_N), seed=seed))
  scores = {
    'perplexity': perplexity(ids_N),
    'used': float(len(np.unique(ids_N))),
    'distinct_per_clip': distinct_per_clip(ids_N, clip_N),
    'mean_segment_length': mean_segment_length(ids_N, clip_N),
  }
  if vocab is not None:
    scores['dead'] = float(sum(dead_units(u_N, vocab) for u_N in units_NL.T))
  for name, value in {'clip': clip_N, **labels}.items():
    label_N = bins(value, count, seed)
    if len(np.unique(label_N)) > 1:
      scores |= _against(name, label_N, ids_N, shuffled)
      highest = threshold(label_N, ids_N, clip_N, seed)
      scores[f'pnmi_threshold/{name}'] = highest
  return scores
