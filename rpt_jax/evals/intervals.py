"""How sure a score is, with whole pipelines as the sample.

A *pipeline* is everything that chance decides once: the image model, units,
pretraining, demonstrations, fine-tuning, episodes. Scores are [P, ...]: P
pipelines, then what lies within each (seeds of fine-tuning, episodes). Seeds
and episodes make a pipeline's mean less noisy; they are no further evidence.
Environments are fixed: their mean speaks of these environments alone.

The default is Student's t-interval over the pipelines' means, of a difference
over the pairs. `hierarchical_bootstrap` is a check that assumes no shape, and
is too narrow for few pipelines. Nominal 95 % covers the truth, simulated
(`tests/evals/test_intervals.py`), in this share of cases with n pipelines:

    pipelines are           | t-interval        | bootstrap
                         n: | 3     5     10    | 3     5     10
    normal                  | .95   .95   .95   | .75   .83   .90
    t, 3 degrees of freedom | .96   .96   .96   | .75   .82   .89
    log-normal              | .84   .82   .84   | .63   .72   .80
    bimodal (30 % fail)     | .68   .83   .94   | .63   .80   .91

and of two methods that are alike, it calls this share of paired differences
different (a difference of two skewed scores is not skewed, but it may be
bimodal; a t-interval is then cautious):

    normal                  | .05   .05   .05   | .25   .16   .10
    t, 3 degrees of freedom | .04   .04   .04   | .25   .17   .11
    log-normal              | .03   .03   .03   | .25   .18   .12
    bimodal (30 % fail)     | .03   .03   .05   | .25   .19   .12

So scores that fail in some pipelines need ten of them before the interval of a
mean can be believed, and no interval of fewer than five decides anything.

Seeds and episodes are not the sample. Take two methods that are alike, whose
success rates differ by a deviation of .1 between pipelines and .05 between
seeds, 5 pipelines of 3 seeds of 16 episodes: the t-interval over pipelines
calls .05 of their differences different, one over all 15 seeds .14, one over 5
seeds of a single pipeline .23. The hierarchical bootstrap calls .04 different:
what is drawn within a pipeline adds noise that its mean already has, which
here makes up for its being too narrow; with 2 seeds of 48 episodes it is .07.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Interval(NamedTuple):
  """An estimate between its bounds."""

  value: float
  low: float
  high: float


def per_pipeline(x) -> np.ndarray:
  """The mean of every pipeline, [P] of [P, ...].

  Raises ValueError for an empty array, or a score that is not finite.
  """
  x = np.asarray(x, np.float64)
  if x.ndim < 1 or x.size == 0:
    raise ValueError(
      f'scores: found shape {x.shape}, expected [pipelines, ...] with at least '
      'one of each'
    )
  if not np.isfinite(x).all():
    bad = np.argwhere(~np.isfinite(x))[0].tolist()
    raise ValueError(f'scores: the one at {bad} is not finite')
  return x.reshape(len(x), -1).mean(1)


def differences(a, b) -> np.ndarray:
  """What each pipeline says of a - b, [P] of two [P, ...] of one shape.

  Entry p of both comes from one pipeline, so what that does to both cancels;
  so do the entries within it, where they share demonstrations and episodes.
  Raises ValueError where shapes differ, and as `per_pipeline` does.
  """
  if np.shape(a) != np.shape(b):
    raise ValueError(
      f'differences: found shapes {np.shape(a)} and {np.shape(b)}, expected '
      'one: give both methods the same pipelines, seeds and episodes'
    )
  return per_pipeline(a) - per_pipeline(b)


def over_environments(scores: Sequence) -> np.ndarray:
  """The mean over environments in every pipeline, [P].

  `scores`: [P, ...] of each environment, or differences [P]. Environments
  count alike, however many seeds and episodes each has. Raises ValueError for
  none, or another number of pipelines in one of them.
  """
  means = [per_pipeline(x) for x in scores]
  if len({len(x) for x in means}) != 1:
    raise ValueError(
      f'over_environments: found {[len(x) for x in means]} pipelines, expected '
      'as many in every environment, of which there is at least one'
    )
  return np.mean(means, axis=0)


def t_interval(x, confidence: float = 0.95) -> Interval:
  """The mean over pipelines with Student's t-interval (Student 1908).

  `x`: [P, ...]. Pipelines that agree exactly give an interval of no width.
  Raises ValueError under two pipelines, which have no interval.
  """
  x_P = per_pipeline(x)
  low, high = t_bounds(x_P, confidence)
  return Interval(float(x_P.mean()), float(low), float(high))


def t_bounds(x_P, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
  """(low, high) of `t_interval`, [...] of many quantities at once [P, ...]."""
  _check_confidence(confidence)
  mean, error = _moments(x_P)
  half = _student().stdtrit(len(x_P) - 1, 0.5 + confidence / 2) * error
  return mean - half, mean + half


def paired_difference(a, b, confidence: float = 0.95) -> Interval:
  """The mean of a - b over pipelines with its t-interval; see `differences`."""
  return t_interval(differences(a, b), confidence)


def t_test(x) -> float:
  """The two-sided p-value of a mean of 0 over pipelines.

  `x`: [P, ...], such as `differences`. It is at most 1 - confidence where
  `t_interval` leaves 0 out. Raises ValueError under two pipelines.
  """
  x_P = per_pipeline(x)
  mean, error = _moments(x_P)
  if error == 0:
    return float(mean == 0)
  return float(2 * _student().stdtr(len(x_P) - 1, -abs(mean) / error))


def _student():
  """Functions of Student's t, a fifth of a second that a typo need not wait."""
  from scipy import special

  return special


def holm(p_values) -> np.ndarray:
  """p-values of a table of comparisons, adjusted for being many [M].

  Holm (1979): of all comparisons without an effect, the chance that any has an
  adjusted p under α is at most α, however they depend on each other. Raises
  ValueError for what is no p-value.
  """
  p_M = np.asarray(p_values, np.float64)
  if p_M.ndim != 1 or not ((p_M >= 0) & (p_M <= 1)).all():
    raise ValueError(f'holm: found {p_values}, expected a list within [0, 1]')
  order = np.argsort(p_M)
  left = np.arange(len(p_M), 0, -1)  # Comparisons not yet rejected.
  adjusted = np.empty_like(p_M)
  adjusted[order] = np.minimum(np.maximum.accumulate(left * p_M[order]), 1)
  return adjusted


def hierarchical_bootstrap(
  x, num_samples: int = 2000, seed: int = 0, confidence: float = 0.95
) -> Interval:
  """The mean with its percentile bootstrap interval, level within level.

  `x`: scores or paired differences [P, ...], such as [P, S, N]. Pipelines are
  drawn with replacement, then the seeds of every one drawn, then the episodes
  of every seed drawn (Davison and Hinkley 1997, section 3.8). Raises
  ValueError under two pipelines, or under one sample.
  """
  _check_confidence(confidence)
  if num_samples < 1:
    raise ValueError(f'found num_samples={num_samples}, expected at least 1')
  mean, _ = _moments(per_pipeline(x))
  x = np.asarray(x, np.float64)
  times = _times_drawn(np.random.default_rng(seed), x.shape, num_samples)
  sampled = times.reshape(num_samples, -1) @ x.reshape(-1) / x.size
  tail = (1 - confidence) / 2
  low, high = np.quantile(sampled, (tail, 1 - tail))
  return Interval(float(mean), float(low), float(high))


def _times_drawn(rng, shape, num_samples) -> np.ndarray:
  """How often a sample has each entry, [num_samples, *shape].

  What was drawn c times draws `size` parts of its own c times over: together a
  multinomial of c * size.
  """
  times = np.ones(num_samples, np.int64)
  for size in shape:
    times = rng.multinomial(times * size, np.full(size, 1 / size))
  return times


def normalise(returns, random: float, expert: float) -> np.ndarray:
  """Returns on the scale where random acting is 0 and the expert 1.

  Raises ValueError unless both are finite and the expert's is the higher.
  """
  if not (np.isfinite(random) and np.isfinite(expert) and expert > random):
    raise ValueError(
      f'normalise: found random={random} and expert={expert}, expected finite '
      "numbers with the expert's return above random's"
    )
  return (np.asarray(returns, np.float64) - random) / (expert - random)


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
  """A success rate with its Wilson score interval (Wilson 1927).

  It is of one policy: its episodes are the sample. Within [0, 1] also at 0 and
  n successes. Raises ValueError unless 0 <= successes <= n and n > 0.
  """
  if n <= 0 or not 0 <= successes <= n:
    raise ValueError(
      f'wilson: found {successes} successes of {n}, expected 0 <= successes '
      '<= n and n > 0'
    )
  _check_confidence(confidence)
  z = statistics.NormalDist().inv_cdf(0.5 + confidence / 2.0)
  rate = successes / n
  centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
  spread = rate * (1 - rate) / n + z * z / (4 * n * n)
  half = z * spread**0.5 / (1 + z * z / n)
  return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def _moments(x_P) -> tuple[np.ndarray, np.ndarray]:
  """Mean over pipelines and its standard error, [...] of [P, ...]."""
  if len(x_P) < 2:
    raise ValueError(
      f'found {len(x_P)} pipeline, expected 2 or more: one says nothing of how '
      'pipelines differ'
    )
  return x_P.mean(0), x_P.std(0, ddof=1) / len(x_P) ** 0.5


def _check_confidence(confidence):
  if not 0.0 < confidence < 1.0:
    raise ValueError(
      f'found confidence={confidence}, expected a number between 0 and 1'
    )
