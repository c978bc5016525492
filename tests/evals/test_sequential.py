"""The sequential comparison: how few episodes, how rarely wrong, bad input."""

import bisect
import functools

import numpy as np
import pytest
from scipy import stats

from rpt_jax.evals import sequential

DRAWS, CAP, ALPHA = 10_000, 200, 0.05


@functools.cache
def simulated(first, second, cap=CAP):
  """(better [draws], pairs [draws]) of two success rates, as `compare` does."""
  rng = np.random.default_rng(0)
  a, b = (rng.random((DRAWS, CAP))[:, :cap] < rate for rate in (first, second))
  wins, losses = (a & ~b).cumsum(1), (b & ~a).cumsum(1)
  decided = sequential.e_values(wins, losses) >= 1 / ALPHA
  last = np.where(decided.any(1), decided.argmax(1), cap - 1)
  rows = np.arange(DRAWS)
  better = decided[rows, last] * np.sign(wins - losses)[rows, last]
  return better, last + 1


def sign_test_power(n, first, second):
  """That the exact two-sided sign test calls the second better, n pairs."""
  wins, losses = second * (1 - first), first * (1 - second)
  power = 0.0
  for differing in range(n + 1):
    least = np.arange(differing + 1)
    rejects = 2 * stats.binom.sf(least - 1, differing, 0.5) <= ALPHA
    power += stats.binom.pmf(differing, n, wins + losses) * np.sum(
      stats.binom.pmf(least[rejects], differing, wins / (wins + losses))
    )
  return power


@pytest.mark.parametrize(
  'second, cap, power, pairs, fixed, fewer',
  [
    (0.7, CAP, 0.93, 89, 152, 0.41),
    (0.8, CAP, 1.0, 46, 155, 0.70),
    (0.7, 174, 0.9, 87, 135, 0.36),
    (0.8, 74, 0.9, 44, 60, 0.26),
  ],
)
def test_fewer_episodes_than_a_fixed_number(
  second, cap, power, pairs, fixed, fewer
):
  better, taken = simulated(0.5, second, cap)
  decided = np.mean(better == -1)
  assert decided == pytest.approx(power, abs=0.01)
  assert taken.mean() == pytest.approx(pairs, abs=1.5)
  least = bisect.bisect_left(
    range(400), decided, key=lambda n: sign_test_power(n, 0.5, second)
  )
  # A power of 1 is one of 0.9999 or 0.9997: that is a dozen pairs.
  assert least == pytest.approx(fixed, abs=12 if power == 1 else 4)
  assert 1 - taken.mean() / least == pytest.approx(fewer, abs=0.025)
  if cap == CAP:
    assert taken.mean() <= 0.7 * least


@pytest.mark.parametrize('rate, called', [(0.5, 0.04), (0.2, 0.03)])
def test_policies_that_are_alike(rate, called):
  better, pairs = simulated(rate, rate)
  assert np.mean(better != 0) == pytest.approx(called, abs=0.008)
  assert np.mean(better != 0) <= ALPHA
  assert np.mean(better == 1) == pytest.approx(np.mean(better == -1), abs=0.008)
  assert pairs.mean() > 190


def test_the_wrong_one_is_hardly_ever_called_better():
  for second in (0.52, 0.6, 0.7):
    assert np.mean(simulated(0.5, second)[0] == 1) <= ALPHA / 2


def test_intervals_of_what_is_played_to_the_end():
  """Seldom wrong among all, often among those that just miss a decision."""
  rng, n = np.random.default_rng(0), CAP
  a, b = (rng.random((DRAWS, n)) < rate for rate in (0.5, 0.7))
  undecided = simulated(0.5, 0.7)[0] == 0
  gain = b.astype(float) - a
  error = 1.96 * gain.std(1, ddof=1) / np.sqrt(n)
  covers = np.abs(gain.mean(1) - 0.2) <= error
  assert undecided.mean() == pytest.approx(0.07, abs=0.01)
  assert covers[undecided].mean() == pytest.approx(0.68, abs=0.05)
  assert np.mean(undecided & ~covers) < ALPHA


def test_compare_is_what_is_simulated():
  rng = np.random.default_rng(0)
  a, b = (rng.random((DRAWS, CAP)) < rate for rate in (0.5, 0.7))
  better, pairs = simulated(0.5, 0.7)
  for i in range(200):
    decision = sequential.compare(a[i], b[i])
    assert (decision.better, decision.pairs) == (better[i], pairs[i])
    assert (decision.e_value >= 20) == (better[i] != 0)


def test_bets_are_fair():
  """The mean e-value of any number of coin flips is 1."""
  for flips in (1, 7, 60):
    wins = np.arange(flips + 1)
    e_values = sequential.e_values(wins, flips - wins)
    mean = np.sum(stats.binom.pmf(wins, flips, 0.5) * e_values)
    assert mean == pytest.approx(1.0)


def test_the_least_that_decides():
  """Nine wins of nine: half of 1.4 ** 9 is 10.3, of 1.4 ** 11 is 20.2."""
  assert sequential.e_values(9, 0) == pytest.approx(
    (1.4**9 + 0.6**9) / 2
  )  # fmt: skip
  never, always = np.zeros(30), np.ones(30)
  assert sequential.compare(never, always)[:2] == (-1, 11)
  assert sequential.compare(always, never)[:2] == (1, 11)
  assert sequential.compare(always, always)[:2] == (0, 30)
  assert sequential.compare(always[:10], never[:10])[:2] == (0, 10)


def test_what_comes_after_is_not_looked_at():
  always, never = np.ones(40), np.zeros(40)
  turned = np.r_[np.ones(11), np.zeros(29)]
  assert sequential.compare(turned, 1 - turned) == sequential.compare(
    always, never
  )


def test_rounds_of_policies_whose_mean_rates_are_equal():
  """One pair favours the first policy, another the second, as much."""
  rng, draws = np.random.default_rng(1), 4000
  first, second = np.array([[0.9], [0.3]]), np.array([[0.3], [0.9]])
  wrong = 0
  for _ in range(draws):
    a, b = (rng.random((2, 60)) < rate for rate in (first, second))
    wrong += sequential.compare(a, b).better != 0
  assert wrong / draws <= ALPHA


def test_a_round_is_looked_at_when_it_is_over():
  first = np.zeros((3, 8))
  first[:, :4] = 1
  second = np.zeros((3, 8))
  assert sequential.compare(first, second)[:2] == (1, 4)
  assert sequential.compare(first[:, :3], second[:, :3])[:2] == (0, 3)


@pytest.mark.parametrize(
  'arguments, message',
  [
    (([1, 0], [1]), 'same episodes'),
    (([], []), 'same episodes'),
    (([0.5], [1]), '0 and 1'),
    (([1, np.nan], [1, 0]), '0 and 1'),
    (([1], [0], 0.0), 'alpha'),
    (([1], [0], 0.05, 0.5), 'share'),
    (([1], [0], 0.05, 1.0), 'share'),
  ],
)
def test_what_no_comparison_is(arguments, message):
  with pytest.raises(ValueError, match=message):
    sequential.compare(*arguments)
