"""Intervals over pipelines: against definitions, their coverage, bad input.

Simulations have 10^4 draws; what they measure is within .005 of the truth.
"""

import numpy as np
import pytest
from scipy import stats

from rpt_jax.evals import intervals

DRAWS = 10_000
RNG = np.random.default_rng(0)
# {pipelines: {n: (covered by the t-interval, by the bootstrap)}}, and what
# share of differences of two alike they call different.
COVERED = {
  'normal': {3: (0.95, 0.75), 5: (0.95, 0.83), 10: (0.95, 0.90)},
  't3': {3: (0.96, 0.75), 5: (0.96, 0.82), 10: (0.96, 0.89)},
  'log-normal': {3: (0.84, 0.63), 5: (0.82, 0.72), 10: (0.84, 0.80)},
  'bimodal': {3: (0.68, 0.63), 5: (0.83, 0.80), 10: (0.94, 0.91)},
}
CALLED = {
  'normal': {3: (0.05, 0.25), 5: (0.05, 0.16), 10: (0.05, 0.10)},
  't3': {3: (0.04, 0.25), 5: (0.04, 0.17), 10: (0.04, 0.11)},
  'log-normal': {3: (0.03, 0.25), 5: (0.03, 0.18), 10: (0.03, 0.12)},
  'bimodal': {3: (0.03, 0.25), 5: (0.03, 0.19), 10: (0.05, 0.12)},
}
cases = pytest.mark.parametrize(
  'kind, count', [(kind, n) for kind in COVERED for n in (3, 5, 10)]
)


def drawn(kind, rng, shape):
  """(scores of pipelines, their true mean)."""
  if kind == 'normal':
    return rng.normal(size=shape), 0.0
  if kind == 't3':
    return rng.standard_t(3, size=shape), 0.0
  if kind == 'log-normal':
    return rng.lognormal(size=shape), np.exp(0.5)
  failed = rng.random(shape) < 0.3
  return np.where(failed, 0.2, 0.8) + rng.normal(0, 0.05, shape), 0.62


def covers(bounds, truth):
  low, high = bounds
  return np.mean((low <= truth) & (truth <= high))


def bootstrap(x_PR):
  """The bounds of `hierarchical_bootstrap` of many pipelines' scores."""
  times = intervals._times_drawn(np.random.default_rng(0), (len(x_PR),), 1000)
  return np.quantile(times @ x_PR / len(x_PR), (0.025, 0.975), axis=0)


@cases
def test_coverage_is_what_the_docstring_says(kind, count):
  x_PR, truth = drawn(kind, np.random.default_rng(1), (count, DRAWS))
  t, resampled = COVERED[kind][count]
  covered = covers(intervals.t_bounds(x_PR), truth)
  assert covered == pytest.approx(t, abs=0.01)
  assert covers(bootstrap(x_PR), truth) == pytest.approx(resampled, abs=0.015)
  if kind in ('normal', 't3') and count >= 5:
    assert 0.93 <= covered <= 0.97


@cases
def test_false_positives_are_what_the_docstring_says(kind, count):
  rng = np.random.default_rng(2)
  a_PR, b_PR = (drawn(kind, rng, (count, DRAWS))[0] for _ in range(2))
  t, resampled = CALLED[kind][count]
  called = 1 - covers(intervals.t_bounds(a_PR - b_PR), 0.0)
  assert called == pytest.approx(t, abs=0.01)
  called = 1 - covers(bootstrap(a_PR - b_PR), 0.0)
  assert called == pytest.approx(resampled, abs=0.015)


def test_the_docstring_has_these_numbers():
  rows = [line.split('|') for line in intervals.__doc__.splitlines()]
  rows = [
    [[float(number) for number in part.split()] for part in row[1:]]
    for row in rows
    if len(row) == 3 and '.' in row[1]
  ]
  tables = [table[kind] for table in (COVERED, CALLED) for kind in table]
  expected = [[[n[i] for n in row.values()] for i in (0, 1)] for row in tables]
  assert rows == expected


def rates(rng, shape, between, within, episodes):
  """Success rates [P, S, draws] of pipelines and seeds that differ."""
  num_pipelines, num_seeds = shape
  rate = 0.5 + rng.normal(0, between, (num_pipelines, 1, DRAWS))
  rate = rate + rng.normal(0, within, (num_pipelines, num_seeds, DRAWS))
  return rng.binomial(episodes, np.clip(rate, 0, 1)) / episodes


@pytest.mark.parametrize('between, within', [(0.1, 0.05), (0.05, 0.1)])
@pytest.mark.parametrize('shape, episodes', [((5, 3), 16), ((10, 2), 48)])
def test_pipelines_with_their_own_seeds_and_episodes(
  between, within, shape, episodes
):
  rng = np.random.default_rng(3)
  a, b = (rates(rng, shape, between, within, episodes) for _ in range(2))
  assert 0.93 <= covers(intervals.t_bounds((a - b).mean(1)), 0.0) <= 0.97


def test_seeds_are_not_the_sample():
  """What calls two methods different that are alike, of the docstring."""
  rng = np.random.default_rng(4)
  a, b = (rates(rng, (5, 3), 0.1, 0.05, 16) for _ in range(2))
  wrong = 1 - covers(intervals.t_bounds((a - b).reshape(15, DRAWS)), 0.0)
  assert wrong == pytest.approx(0.14, abs=0.015)
  a, b = (rates(rng, (1, 5), 0.1, 0.05, 16) for _ in range(2))
  wrong = 1 - covers(intervals.t_bounds((a - b)[0]), 0.0)
  assert wrong == pytest.approx(0.23, abs=0.015)


@pytest.mark.parametrize(
  'seeds, episodes, within, expected',
  [(3, 16, 0.05, 0.04), (2, 48, 0.07, 0.07)],
)
def test_the_hierarchical_bootstrap_as_a_check(
  seeds, episodes, within, expected
):
  rng, draws = np.random.default_rng(5), 3000
  shape = 5, seeds, episodes
  rate = 0.5 + rng.normal(0, 0.1, (2, draws, 5, 1, 1))
  rate = rate + rng.normal(0, within, (2, draws, 5, seeds, 1))
  a, b = (rng.random((2, draws, *shape)) < np.clip(rate, 0, 1)).astype(float)
  times = intervals._times_drawn(np.random.default_rng(0), shape, 800)
  x = (a - b).reshape(draws, -1)
  sampled = x @ times.reshape(800, -1).T / x.shape[1]
  wrong = 1 - covers(np.quantile(sampled, (0.025, 0.975), axis=1), 0.0)
  assert wrong == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize('confidence', [0.5, 0.95])
def test_t_interval_and_test_against_scipy(confidence):
  a, b = RNG.normal(size=(2, 6, 3, 4))
  x = intervals.differences(a, b)
  np.testing.assert_allclose(x, a.mean((1, 2)) - b.mean((1, 2)))
  expected = stats.ttest_1samp(x, 0)
  bounds = expected.confidence_interval(confidence)
  value, low, high = intervals.paired_difference(a, b, confidence)
  np.testing.assert_allclose((value, low, high), (x.mean(), *bounds))
  assert intervals.t_test(x) == pytest.approx(expected.pvalue)


def test_p_values_and_intervals_agree():
  for x in RNG.normal(1, 1, size=(200, 5)):
    _, low, high = intervals.t_interval(x)
    assert (low <= 0 <= high) == (intervals.t_test(x) > 0.05)


def test_pipelines_that_agree():
  assert intervals.t_interval([0.5, 0.5]) == (0.5, 0.5, 0.5)
  assert intervals.t_test([0.5, 0.5]) == 0
  assert intervals.t_test([0.0, 0.0, 0.0]) == 1


def test_pairing_removes_what_pipelines_share():
  shared = RNG.normal(size=(8, 1))
  a, b = (shared + 0.05 * RNG.normal(size=(8, 4)) for _ in range(2))
  _, low, high = intervals.paired_difference(a, b)
  alone = intervals.t_interval(a)
  assert high - low < 0.2 * (alone.high - alone.low)


def test_environments_count_alike():
  many, few = np.ones((3, 5, 40)), np.zeros((3, 1, 2))
  few[2] = 1
  np.testing.assert_array_equal(
    intervals.over_environments([many, few]), [0.5, 0.5, 1.0]
  )


def test_holm_against_its_definition():
  """Step down: reject while the least p left is at most α / how many left."""
  for p_M in RNG.random((200, 6)) ** 3:
    for alpha in (0.01, 0.05, 0.3):
      rejected, left = set(), list(range(6))
      while left:
        least = min(left, key=lambda m: p_M[m])
        if p_M[least] > alpha / len(left):
          break
        rejected.add(least)
        left.remove(least)
      adjusted = intervals.holm(p_M)
      assert set(np.flatnonzero(adjusted <= alpha)) == rejected
  np.testing.assert_allclose(
    intervals.holm([0.04, 0.01, 0.5, 0.03]), [0.09, 0.04, 0.5, 0.09]
  )
  assert intervals.holm([]).shape == (0,)


def test_a_table_of_comparisons_has_few_false_ones():
  """Eight methods against one that all of them share, none of them better."""
  rng, draws = np.random.default_rng(6), 1000
  tables = rng.normal(size=(draws, 8, 5)) - rng.normal(size=(draws, 1, 5))
  p_RM = np.array([[intervals.t_test(x) for x in table] for table in tables])
  assert np.mean((p_RM <= 0.05).any(1)) > 0.15
  assert np.mean([(intervals.holm(p) <= 0.05).any() for p in p_RM]) <= 0.06


def test_hierarchical_bootstrap_against_loops():
  x = RNG.normal(size=(4, 3, 5)) + RNG.normal(size=(4, 1, 1))
  rng, sampled = np.random.default_rng(7), []
  for _ in range(3000):
    pipelines = x[rng.integers(4, size=4)]
    seeds = [each[rng.integers(3, size=3)] for each in pipelines]
    sampled.append(
      np.mean([s[rng.integers(5, size=5)] for each in seeds for s in each])
    )
  value, low, high = intervals.hierarchical_bootstrap(x, 8000)
  assert value == pytest.approx(x.mean())
  np.testing.assert_allclose(
    (low, high), np.quantile(sampled, (0.025, 0.975)), atol=0.08
  )


def test_every_sample_draws_as_many():
  times = intervals._times_drawn(RNG, (4, 3, 2), 50)
  assert times.shape == (50, 4, 3, 2) and (times.sum((1, 2, 3)) == 24).all()
  assert (times.sum((2, 3)) % 6 == 0).all(), 'pipelines are drawn whole'
  assert len(np.unique(times.reshape(50, -1), axis=0)) == 50


def test_the_same_seed_draws_the_same():
  x = RNG.normal(size=(5, 3))
  first = intervals.hierarchical_bootstrap(x, seed=7)
  assert first == intervals.hierarchical_bootstrap(x, seed=7)
  assert first != intervals.hierarchical_bootstrap(x, seed=8)


def test_normalise():
  np.testing.assert_allclose(
    intervals.normalise([-200, -100, 0], random=-200, expert=-100), [0, 1, 2]
  )
  for random, expert in ((1, 1), (2, 1), (np.nan, 1), (0, np.inf)):
    with pytest.raises(ValueError, match='above random'):
      intervals.normalise([0.0], random, expert)


def test_wilson_against_its_definition():
  """The interval is where |p - rate| = z sqrt(p (1 - p) / n)."""
  rate, low, high = intervals.wilson(8, 10)
  assert rate == 0.8
  z = 1.959963984540054
  for p in (low, high):
    assert abs(p - rate) == pytest.approx(z * np.sqrt(p * (1 - p) / 10))
  assert intervals.wilson(0, 10).low == pytest.approx(0.0, abs=1e-12)
  assert intervals.wilson(0, 10).high == pytest.approx(0.27753, abs=1e-5)
  assert intervals.wilson(10, 10).high == pytest.approx(1.0)


@pytest.mark.parametrize(
  'function, arguments, message',
  [
    ('t_interval', ([1.0],), '1 pipeline, expected 2'),
    ('t_test', ([[1.0, 2.0]],), '1 pipeline, expected 2'),
    ('hierarchical_bootstrap', ([[1.0, 2.0]],), '1 pipeline, expected 2'),
    ('hierarchical_bootstrap', ([1.0, 2.0], 0), 'num_samples=0'),
    ('t_interval', ([[1.0], [np.nan]],), r'at \[1, 0\] is not finite'),
    ('t_interval', ([],), r'shape \(0,\)'),
    ('t_interval', (1.0,), r'shape \(\)'),
    ('t_interval', ([1.0, 2.0], 95), 'confidence=95'),
    ('paired_difference', ([[1.0], [2.0]], [1.0, 2.0]), 'same pipelines'),
    ('over_environments', ([],), 'at least one'),
    ('over_environments', ([[1.0], [1.0, 2.0]],), r'\[1, 2\] pipelines'),
    ('holm', ([0.1, np.nan],), 'within'),
    ('holm', ([0.1, 1.1],), 'within'),
    ('wilson', (1, 0), 'wilson'),
    ('wilson', (-1, 3), 'wilson'),
    ('wilson', (4, 3), 'wilson'),
  ],
)
def test_what_is_wrong_is_said(function, arguments, message):
  with pytest.raises(ValueError, match=message):
    getattr(intervals, function)(*arguments)
