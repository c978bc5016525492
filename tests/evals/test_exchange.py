"""How many demonstrations a pretraining is worth, where that is certain."""

import numpy as np
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from rpt_jax.evals import exchange

DEMOS = 2 ** np.arange(7)  # 1 to 64.
RNG = np.random.default_rng(0)


def success(demos):
  """A curve without corners, of the docstring."""
  return 0.2 + 0.6 / (1 + np.exp(2.5 - np.log2(demos)))


def scores(rng, demos, pipelines, deviation=0.05):
  """Scores of scratch [D, P] and of what is worth `demos`, [P]."""
  scratch_DP = success(DEMOS)[:, None] + rng.normal(
    0, deviation, (7, pipelines)
  )
  return scratch_DP, success(demos) + rng.normal(0, deviation, pipelines)


def exact(curve_D, score, spread=0.001):
  """`worth` where three pipelines hardly differ."""
  noise_P = np.array([-spread, 0, spread])
  curve_DP = np.asarray(curve_D)[:, None] + noise_P
  return exchange.worth(DEMOS[: len(curve_DP)], curve_DP, score - noise_P)


@pytest.mark.parametrize(
  'score, expected', [(0.2, 4), (0.15, 2**1.5), (0.45, 2**4.5), (0.6, 64)]
)
def test_a_line_in_doublings(score, expected):
  result = exact(np.arange(7) / 10, score)
  assert result.value == pytest.approx(expected)
  assert result.low <= expected <= result.high
  assert (result.least, result.most) == (1, 64)


def test_one_number_has_all_of_a_gain():
  result = exact([0, 0, 0, 1, 1, 1, 1], 0.9)
  assert 4 < result.low < result.value == pytest.approx(4 * 2**0.9)
  assert result.high < 8


def test_beyond_the_end():
  result = exact(np.arange(7) / 10, 0.7)
  assert result[:3] == (np.inf, np.inf, np.inf)


def test_before_the_beginning():
  result = exact(np.arange(7) / 10, -0.1)
  assert result[:3] == (0, 0, 0)


def test_an_interval_may_go_beyond_the_ends():
  result = exact(np.arange(7) / 10, 0.58, spread=0.008)
  assert 32 < result.low < result.value < 64 < result.high == np.inf
  result = exact(np.arange(7) / 10, 0.02, spread=0.008)
  assert 0 == result.low < 1 < result.value < result.high < 2


def test_an_interval_may_begin_within_the_first_step_of_the_grid():
  """Scratch is told apart at the first point alone: the end is there, at 1."""
  spread, step = 0.001, 0.1 / exchange._PER_DOUBLING
  half = stats.t.ppf(0.975, 2) * 2 * spread / np.sqrt(3)
  result = exact(np.arange(7) / 10, half + step / 2, spread)
  assert result.low == 1.0


def test_a_flat_curve_says_little():
  scratch_DP, method_P = RNG.normal(0.5, 0.1, (7, 5)), RNG.normal(0.5, 0.1, 5)
  result = exchange.worth(DEMOS, scratch_DP, method_P)
  assert (result.low, result.high) == (0, np.inf)


def test_what_pipelines_share_is_no_uncertainty():
  scratch_DP, method_P = scores(RNG, 8, 5, deviation=0.01)
  shared_P = RNG.normal(0, 0.2, 5)
  alone = exchange.worth(DEMOS, scratch_DP, method_P)
  paired = exchange.worth(DEMOS, scratch_DP + shared_P, method_P + shared_P)
  np.testing.assert_allclose(paired, alone)


def test_seeds_and_episodes_are_averaged():
  scratch, method = RNG.random((7, 5, 2, 3)), RNG.random((5, 2, 3))
  assert exchange.worth(DEMOS, scratch, method) == exchange.worth(
    DEMOS, scratch.mean((2, 3)), method.mean((1, 2))
  )


def test_rising_is_isotonic_regression():
  for x_D in RNG.normal(size=(100, 7)):
    expected = IsotonicRegression().fit_transform(np.arange(7), x_D)
    np.testing.assert_allclose(exchange.rising(x_D), expected)


def test_one_lucky_number_does_not_speak_for_all():
  """0.5 at 4 demonstrations is luck: at 8 it is 0.3 again."""
  result = exact([0.0, 0.1, 0.5, 0.3, 0.45, 0.5, 0.6], 0.44)
  assert 8 < result.value < result.high < 16
  assert result.low < 4, 'the interval holds where the curve first crosses'


@pytest.mark.parametrize('pipelines', [5, 10])
@pytest.mark.parametrize('demos', [4, 8, 24])
def test_coverage(pipelines, demos):
  rng, draws, covered = np.random.default_rng(1), 2000, 0
  for _ in range(draws):
    result = exchange.worth(DEMOS, *scores(rng, demos, pipelines))
    assert result.low <= result.value <= result.high
    covered += result.low <= demos <= result.high
  assert 0.93 <= covered / draws <= 0.975


def test_coverage_beyond_the_end():
  """Scratch would need 200: the interval has to hold "more than 64"."""
  rng, draws = np.random.default_rng(2), 1000
  held = sum(
    exchange.worth(DEMOS, *scores(rng, 200, 5)).high == np.inf
    for _ in range(draws)
  )
  assert held / draws >= 0.95


@pytest.mark.parametrize(
  'demos, scratch, method, message',
  [
    ([4], [[1, 2]], [1, 2], 'two or more'),
    ([4, 8], [[1, 2]], [1, 2], 'two or more'),
    ([4, 4], [[1, 2]] * 2, [1, 2], 'rising'),
    ([0, 4], [[1, 2]] * 2, [1, 2], 'from 1 on'),
    ([4, 8], [[1, 2]] * 2, [1, 2, 3], 'same ones'),
    ([4, 8], [[1]] * 2, [1], '1 pipeline'),
    ([4, 8], [[1, np.nan]] * 2, [1, 2], 'not finite'),
  ],
)
def test_what_has_no_exchange_rate(demos, scratch, method, message):
  with pytest.raises(ValueError, match=message):
    exchange.worth(demos, scratch, method)
