"""What is unlike the rest, and how far apart frames should be."""

import numpy as np
import pytest

from rpt_jax.episodes import advice, habits, statistics, stride


def test_outliers_are_far_from_the_median():
  x_E = np.array([100, 104, 97, 99, 101, 103, 30, 400])
  assert habits.outliers(x_E).tolist() == [6, 7]
  assert not len(habits.outliers(np.full(5, 7)))
  assert not len(habits.outliers(np.arange(50, 100)))


def test_habits_of_a_cubic_are_its_derivatives():
  x_TA = np.stack([np.arange(9.0) ** 3, np.full(9, 2.0)], axis=1)
  moves_A, jerks_A, rests = habits.habit(x_TA)
  assert moves_A.tolist() == [64.0, 0.0] and jerks_A.tolist() == [6.0, 0.0]
  assert rests == 0.0 and habits.habit(x_TA[:, 1:]).rests == 1.0
  assert habits.habit(x_TA[:1]).moves.tolist() == [0.0, 0.0]


def test_what_all_but_rests_is_stuck():
  rng = np.random.default_rng(0)
  walks = [rng.normal(size=(40, 2)).cumsum(0) for _ in range(5)]
  walks[1] *= 0.01  # A sensor's noise.
  walks[3][10:] = walks[3][10]  # It stops.
  each = [habits.habit(walk) for walk in walks]
  assert habits.stuck(each, np.ones(2)).tolist() == [1, 3]


def test_gaps_in_time():
  time_T = np.array([0, 1, 2, 3.2, 6, 7, 7, 8, 7.5, 8.5])
  assert habits.gaps(time_T).tolist() == [3, 5, 7]
  assert not len(habits.gaps(np.arange(9) / 30))


@pytest.mark.parametrize('period', [24, 48])
def test_a_wave_has_half_its_correlation_after_a_sixth_of_it(period):
  phase_T = 2 * np.pi * np.arange(20 * period) / period
  sums = stride.products(np.stack([np.cos(phase_T), np.sin(phase_T)], 1))
  correlation_S = stride.autocorrelation(sums)
  np.testing.assert_allclose(
    correlation_S[: period // 2], np.cos(phase_T[: period // 2]), atol=1e-3
  )
  assert stride.propose(correlation_S) in (period // 6, period // 6 + 1)


def test_what_rests_or_is_short_has_no_stride():
  still = stride.autocorrelation(stride.products(np.ones((50, 2))))
  assert stride.propose(still) is None
  short = stride.autocorrelation(stride.products(np.arange(5.0)[:, None]))
  assert stride.propose(short) is None


def test_frames_are_looked_at_in_few_grey_numbers():
  image = np.zeros((3, 40, 50, 3), np.uint8)
  image[1, :20] = 10
  seen_TD = stride.seen(image)
  assert seen_TD.shape == (3, 256)
  assert seen_TD[1].sum() == image[1].sum() and not seen_TD[2].any()
  assert stride.seen(image[:, :8, :9]).shape == (3, 72)


def test_actions_with_tails_are_scaled_by_quantiles():
  moments = statistics.Moments()
  x_NA = np.random.default_rng(0).uniform(size=(1000, 2))
  moments.add(x_NA)
  assert advice.normalisation(moments.result())[0] == 'mean_std'
  x_NA[7, 1] = 40
  moments.add(x_NA)
  mode, why = advice.normalisation(moments.result())
  assert mode == 'quantiles' and '[1]' in why
