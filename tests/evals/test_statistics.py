"""Statistics against plain loops, their coverage, and bad input."""

import numpy as np
import pytest

from rpt_jax.evals import statistics

RNG = np.random.default_rng(0)


def loop_iqm(scores):
  """Interquartile mean by sorting and slicing a list."""
  ordered = sorted(np.ravel(scores).tolist())
  cut = int(0.25 * len(ordered))
  kept = ordered[cut : len(ordered) - cut]
  return sum(kept) / len(kept)


def loop_bootstrap(strata, num_samples, rng, episodes):
  """rliable's stratified bootstrap, one sample at a time."""
  values = []
  for _ in range(num_samples):
    pooled = []
    for x_SN in strata:
      for s in rng.integers(len(x_SN), size=len(x_SN)):
        row = x_SN[s]
        if episodes:
          row = row[rng.integers(len(row), size=len(row))]
        pooled.append(row.mean())
    values.append(loop_iqm(pooled))
  return np.percentile(values, [2.5, 97.5])


@pytest.mark.parametrize('n', [1, 2, 3, 4, 5, 7, 8, 40])
def test_iqm_is_the_mean_of_the_middle_half(n):
  x = RNG.normal(size=(3, n))
  assert statistics.iqm(x[0]) == pytest.approx(loop_iqm(x[0]))
  assert statistics.iqm(x) == pytest.approx(loop_iqm(x))
  np.testing.assert_allclose(
    statistics.iqm(x, axis=1), [loop_iqm(row) for row in x]
  )
  np.testing.assert_allclose(
    statistics.iqm(x, axis=0), [loop_iqm(column) for column in x.T]
  )


def test_iqm_ignores_outliers():
  assert statistics.iqm([0.0, 1.0, 1.0, 1e9]) == 1.0


@pytest.mark.parametrize('episodes', [False, True])
def test_bootstrap_agrees_with_loops(episodes):
  strata = [RNG.normal(e, 1, size=(s, n)) for e, s, n in
            ((0, 5, 7), (3, 4, 9), (1, 8, 3))]  # fmt: skip
  value, low, high = statistics.stratified_bootstrap(
    strata, num_samples=20_000, seed=1, episodes=episodes
  )
  expected = loop_bootstrap(strata, 4000, np.random.default_rng(2), episodes)
  assert value == pytest.approx(loop_iqm(np.concatenate(
    [x.mean(1) for x in strata])))  # fmt: skip
  np.testing.assert_allclose([low, high], expected, atol=0.03)


def test_seeds_stay_in_their_stratum():
  strata = [np.full(4, 0.0), np.full(4, 10.0)]
  result = statistics.stratified_bootstrap(strata, num_samples=50)
  assert result == (5.0, 5.0, 5.0)


def test_episodes_add_their_own_spread():
  """Seeds that agree in the mean, episodes that do not."""
  x_SN = np.tile(RNG.normal(size=16), (5, 1))
  _, low, high = statistics.stratified_bootstrap([x_SN])
  assert high - low < 1e-12
  _, low, high = statistics.stratified_bootstrap([x_SN], episodes=True)
  assert high - low > 0.1


def test_every_chunk_is_drawn_anew(monkeypatch):
  x_SN = RNG.normal(size=(4, 6))
  monkeypatch.setattr(statistics, '_DRAWS_AT_ONCE', 100)
  small = statistics._resample(np.random.default_rng(0), x_SN, 50, True)
  assert small.shape == (50, 4)
  assert len(np.unique(small, axis=0)) == 50


@pytest.mark.parametrize(
  'num_strata, num_seeds, expected',
  [(1, 3, 0.75), (1, 5, 0.90), (1, 10, 0.93), (8, 3, 0.88), (8, 5, 0.91)],
)
def test_coverage_is_what_the_docstring_says(num_strata, num_seeds, expected):
  rng = np.random.default_rng(3)
  covered = 0
  for i in range(600):
    x_ES = rng.normal(size=(num_strata, num_seeds))
    _, low, high = statistics.stratified_bootstrap(
      x_ES, num_samples=400, seed=i
    )
    covered += low <= 0.0 <= high
  assert covered / 600 == pytest.approx(expected, abs=0.04)


def test_paired_is_tighter_than_unpaired():
  seed_effect = RNG.normal(size=(3, 10))
  b = seed_effect + 0.1 * RNG.normal(size=(3, 10))
  a = seed_effect + 0.2 + 0.1 * RNG.normal(size=(3, 10))
  value, low, high = statistics.paired_difference(a, b)
  assert 0.0 < low < value < high
  assert value == pytest.approx(0.2, abs=0.1)
  unpaired = [
    statistics.stratified_bootstrap(x, seed=i) for i, x in enumerate((a, b))
  ]
  assert unpaired[0][1] < unpaired[1][2], 'unpaired intervals overlap'
  assert high - low < 0.5 * (unpaired[0][2] - unpaired[0][1])


def test_paired_difference_of_equals_is_zero():
  x = RNG.normal(size=(2, 5, 4))
  assert statistics.paired_difference(x, x, episodes=True) == (0, 0, 0)


def test_same_seed_same_interval():
  x = RNG.normal(size=(2, 5))
  first = statistics.stratified_bootstrap(x, seed=7)
  assert first == statistics.stratified_bootstrap(x, seed=7)
  assert first != statistics.stratified_bootstrap(x, seed=8)


def test_confidence_widens():
  x = RNG.normal(size=(2, 9))
  _, low50, high50 = statistics.stratified_bootstrap(x, confidence=0.5)
  _, low99, high99 = statistics.stratified_bootstrap(x, confidence=0.99)
  assert low99 < low50 < high50 < high99


def test_any_vectorised_statistic():
  x = RNG.normal(size=(3, 5))
  value, low, high = statistics.stratified_bootstrap(x, np.mean)
  assert value == pytest.approx(x.mean())
  assert low < value < high


def test_normalise():
  np.testing.assert_allclose(
    statistics.normalise([-200, -100, 0], random=-200, expert=-100), [0, 1, 2]
  )
  for random, expert in ((1, 1), (2, 1), (np.nan, 1), (0, np.inf)):
    with pytest.raises(ValueError, match='above random'):
      statistics.normalise([0.0], random, expert)


def test_wilson_against_its_definition():
  """The interval is where |p - rate| = z sqrt(p (1 - p) / n)."""
  rate, low, high = statistics.wilson(8, 10)
  assert rate == 0.8
  z = 1.959963984540054
  for p in (low, high):
    assert abs(p - rate) == pytest.approx(z * np.sqrt(p * (1 - p) / 10))
  assert statistics.wilson(0, 10)[1] == pytest.approx(0.0, abs=1e-12)
  assert statistics.wilson(0, 10)[2] == pytest.approx(0.27753, abs=1e-5)
  assert statistics.wilson(10, 10)[2] == pytest.approx(1.0)


@pytest.mark.parametrize(
  'scores, options, message',
  [
    ([], {}, 'no strata'),
    ([[1.0]], {}, '1 seed'),
    ([[1.0, np.nan]], {}, r'stratum 0 .* not finite, at \[1\]'),
    ([[1.0, 2.0], []], {}, 'stratum 1'),
    ([1.0, 2.0], {}, 'wrap the scores of one environment'),
    ([[1.0, 2.0]], {'episodes': True}, 'episodes=False'),
    ([[1.0, 2.0]], {'num_samples': 0}, 'num_samples=0'),
    ([[1.0, 2.0]], {'confidence': 95}, 'confidence=95'),
  ],
)
def test_bootstrap_says_what_is_wrong(scores, options, message):
  with pytest.raises(ValueError, match=message):
    statistics.stratified_bootstrap(scores, **options)


def test_one_seed_may_resample_its_episodes():
  _, low, high = statistics.stratified_bootstrap(
    [RNG.normal(size=(1, 64))], episodes=True
  )
  assert low < high


def test_the_rest_says_what_is_wrong():
  with pytest.raises(ValueError, match='same seeds'):
    statistics.paired_difference([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
  with pytest.raises(ValueError, match='2 and 1 strata'):
    statistics.paired_difference([[1.0, 2.0]] * 2, [[1.0, 2.0]])
  with pytest.raises(ValueError, match='no scores'):
    statistics.iqm([])
  for successes, n in ((1, 0), (-1, 3), (4, 3)):
    with pytest.raises(ValueError, match='wilson'):
      statistics.wilson(successes, n)
