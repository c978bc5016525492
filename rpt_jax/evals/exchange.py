"""How many demonstrations a pretraining is worth.

The exchange rate at n demonstrations: the number that training from scratch
needs to do as well as the pretrained policy does with n. It is read off the
curve of scratch, on a line between the numbers of demonstrations that were
tried, in log2 of them. Where the curve ends below the pretrained policy, all
that can be said is "more than the most", and likewise at its beginning.

The mean curve is made to rise by isotonic regression, the least-squares fit
among curves that never fall: more demonstrations do no harm but for noise. A
running maximum would do so too, but it lets one lucky number speak for all
larger ones, and makes pretraining look worth less.

The interval is Fieller's (1954): all numbers of demonstrations at which a
paired t-test over pipelines does not tell the curve of scratch from the
pretrained policy, and those between them. Nothing is resampled. Where scratch
rises as .2 + .6 / (1 + exp(2.5 - log2 n)), tried at 1, 2, 4, ... 64, scores
of pipelines deviate by .05 and the truth is 8, nominal 95 % covers it in .95 of
cases with 5 pipelines (`tests/evals/test_exchange.py`); a percentile bootstrap
over pipelines did in .83 of 1000. A line cuts the corner of a curve that bends:
where scores deviate by .02 only and the truth is 6, ten pipelines cover it in
.93.
"""

from typing import NamedTuple

import numpy as np

from rpt_jax.evals import intervals

_PER_DOUBLING = 64  # Numbers of demonstrations that are tested: 1.1 % apart.


class Worth(NamedTuple):
  """Demonstrations that scratch needs, with an interval, in [least, most].

  Each of `value`, `low`, `high` may lie beyond what was tried: infinite where
  it is more than `most`, 0 where it is at or below `least`.
  """

  value: float
  low: float
  high: float
  least: int
  most: int


def worth(demos, scratch, method, confidence: float = 0.95) -> Worth:
  """Demonstrations with which scratch would match a pretrained policy.

  Args:
    demos: numbers of demonstrations that scratch was given, rising [D].
    scratch: its scores [D, P, ...]; a higher one is better.
    method: scores of the pretrained policy with its n, [P, ...], of the same
      pipelines.
    confidence: of the interval.

  Raises ValueError for fewer than two numbers of demonstrations or pipelines,
  and for arrays that disagree.
  """
  demos_D = np.asarray(demos)
  scratch_DP = np.stack([intervals.per_pipeline(x) for x in scratch])
  method_P = intervals.per_pipeline(method)
  if demos_D.ndim != 1 or len(demos_D) < 2 or len(demos_D) != len(scratch_DP):
    raise ValueError(
      f'worth: found {len(scratch_DP)} points of scratch for demos={demos}, '
      'expected one for each of two or more'
    )
  if demos_D[0] < 1 or (np.diff(demos_D) <= 0).any():
    raise ValueError(f'demos: found {demos}, expected rising, from 1 on')
  if scratch_DP.shape[1:] != method_P.shape:
    raise ValueError(
      f'worth: found {scratch_DP.shape[1]} and {len(method_P)} pipelines, '
      'expected the same ones of scratch and of the pretrained policy'
    )
  log_D = np.log2(demos_D)
  value = _reaches(log_D, rising(scratch_DP.mean(1)), method_P.mean())
  low, high = _not_told_apart(log_D, scratch_DP - method_P, confidence)
  bounds = 2.0 ** np.array([value, min(low, value), max(high, value)])
  return Worth(*bounds.tolist(), int(demos_D[0]), int(demos_D[-1]))


def rising(x_D) -> np.ndarray:
  """The curve that never falls with the least squared error to `x_D`.

  The greatest, over where a stretch up to a point begins, of the least mean
  over where it ends (Robertson, Wright and Dykstra 1988, section 1.4).
  """
  x_D = np.asarray(x_D, np.float64)
  count = len(x_D)
  return np.array(
    [
      max(
        min(x_D[a:b].mean() for b in range(i + 1, count + 1))
        for a in range(i + 1)
      )
      for i in range(count)
    ]
  )


def _reaches(log_D, curve_D, score) -> float:
  """Where a curve that never falls first has a score; -inf and inf beyond."""
  if score <= curve_D[0]:
    return -np.inf
  if score > curve_D[-1]:
    return np.inf
  i = int(np.argmax(curve_D >= score))  # At least 1.
  part = (score - curve_D[i - 1]) / (curve_D[i] - curve_D[i - 1])
  return float(log_D[i - 1] + part * (log_D[i] - log_D[i - 1]))


def _not_told_apart(log_D, gap_DP, confidence) -> tuple[float, float]:
  """The ends of where scratch may equal the method, -inf and inf beyond.

  `gap_DP`: scratch minus the method, a line between the points in every
  pipeline.
  """
  steps = np.ceil(np.diff(log_D) * _PER_DOUBLING).astype(int)
  parts = zip(log_D[:-1], log_D[1:], steps, strict=True)
  log_G = np.concatenate(
    [*(np.linspace(a, b, n, endpoint=False) for a, b, n in parts), log_D[-1:]]
  )
  gap_PG = np.array([np.interp(log_G, log_D, gap_D) for gap_D in gap_DP.T])
  low_G, high_G = intervals.t_bounds(gap_PG, confidence)
  below_G, above_G = high_G < 0, low_G > 0  # Scratch is worse; is better.
  low, high = -np.inf, np.inf
  # Rounded outwards: the last one that is told apart is an end.
  if below_G[0]:
    low = np.inf if below_G.all() else log_G[np.argmin(below_G) - 1]
  if above_G[-1]:
    high = -np.inf if above_G.all() else log_G[-np.argmin(above_G[::-1])]
  return float(low), float(high)
