"""Probes against scikit-learn, and what they must not be fooled by."""

import numpy as np
import pytest

from rpt_jax.evals import probes

sklearn_linear = pytest.importorskip('sklearn.linear_model')
RNG = np.random.default_rng(0)


def clips(num_clips, length, world, seed, noise=0.1):
  """Features that are a linear view of a state plus a clip's own offset."""
  rng = np.random.default_rng(seed)
  state = rng.normal(size=(num_clips, length, 3)).cumsum(1)
  offset = 3 * rng.normal(size=(num_clips, 1, world.shape[1]))
  x = state @ world + offset + noise * rng.normal(size=(
    num_clips, length, world.shape[1]))  # fmt: skip
  clip_N = np.repeat(np.arange(num_clips), length)
  return x.reshape(-1, x.shape[-1]), state.reshape(-1, 3), clip_N


@pytest.mark.parametrize('n, d', [(200, 12), (20, 50)])
@pytest.mark.parametrize('penalty', [1e-3, 1.0, 100.0])
def test_fit_is_sklearn_ridge(n, d, penalty, monkeypatch):
  monkeypatch.setattr(probes, '_ROWS_AT_ONCE', 64)
  x, y = RNG.normal(2, 3, size=(n, d)), RNG.normal(size=(n, 4))
  peer = sklearn_linear.Ridge(alpha=penalty).fit(x, y)
  mine = probes.fit(x, y, penalty, standardise=False)
  np.testing.assert_allclose(mine.weight_DP, peer.coef_.T, atol=1e-9)
  np.testing.assert_allclose(mine(x), peer.predict(x), atol=1e-8)
  scaled = (x - x.mean(0)) / x.std(0)
  peer = sklearn_linear.Ridge(alpha=penalty).fit(scaled, y)
  np.testing.assert_allclose(
    probes.fit(x, y, penalty)(x), peer.predict(scaled), atol=1e-8
  )


def test_state_r2_is_sklearns_at_the_chosen_penalty():
  metrics = pytest.importorskip('sklearn.metrics')
  world = RNG.normal(size=(3, 24))
  x, y, clip_N = clips(20, 10, world, 1)
  x_test, y_test, _ = clips(6, 10, world, 2)
  result = probes.state(x, y, clip_N, x_test, y_test)
  scaled = lambda z: (z - x.mean(0)) / x.std(0)  # noqa: E731
  peer = sklearn_linear.Ridge(alpha=result.penalty * len(x))
  guess = peer.fit(scaled(x), y).predict(scaled(x_test))
  expected = metrics.r2_score(y_test, guess, multioutput='raw_values')
  np.testing.assert_allclose(result.r2_P, expected, atol=1e-7)
  assert result.mean == pytest.approx(expected.mean())


def test_state_that_is_there_is_found_and_noise_is_not():
  world = RNG.normal(size=(3, 24))
  x, y, clip_N = clips(60, 10, world, 1)
  x_test, y_test, _ = clips(20, 10, world, 2)
  assert probes.state(x, y, clip_N, x_test, y_test).mean > 0.9
  noise, noise_test = RNG.normal(size=x.shape), RNG.normal(size=x_test.shape)
  lost = probes.state(noise, y, clip_N, noise_test, y_test)
  assert lost.mean < 0.1
  assert lost.penalty >= 0.1, 'noise wants a heavy penalty'


def test_penalty_is_chosen_on_other_clips():
  """Features that name the clip predict within clips and nowhere else."""
  clip_N = np.repeat(np.arange(30), 20)
  x = np.eye(30)[clip_N] + 0.01 * RNG.normal(size=(600, 30))
  y = RNG.normal(size=30)[clip_N][:, None]
  result = probes.state(x, y, clip_N, RNG.normal(size=(50, 30)),
                        RNG.normal(size=(50, 1)))  # fmt: skip
  assert result.penalty == max(probes.PENALTIES)


def test_penalties_are_powers_of_ten():
  """What is chosen of is part of the measure."""
  np.testing.assert_allclose(np.log10(probes.PENALTIES), np.arange(-6, 3))


def test_constant_dimensions_are_skipped():
  world = RNG.normal(size=(3, 24))
  x, y, clip_N = clips(20, 10, world, 1)
  x_test, y_test, _ = clips(6, 10, world, 2)
  y[:, 1] = y_test[:, 1] = 0.3
  x[:, 5] = x_test[:, 5] = 7.0
  result = probes.state(x, y, clip_N, x_test, y_test)
  assert np.isnan(result.r2_P).tolist() == [False, True, False]
  assert result.mean == pytest.approx(np.nanmean(result.r2_P))
  with pytest.raises(ValueError, match='no dimension varies'):
    probes.state(x, y[:, 1:2], clip_N, x_test, y_test[:, 1:2])


def test_half_precision_features_are_read_in_double():
  world = RNG.normal(size=(3, 24))
  x, y, clip_N = clips(20, 10, world, 1)
  half = x.astype(np.float16)
  same = probes.fit(half, y, 1.0)(half)
  expected = probes.fit(half.astype(np.float64), y, 1.0)(half.astype(float))
  np.testing.assert_array_equal(same, expected)


def test_split_clips_keeps_clips_whole():
  clip_N = np.repeat(np.arange(10), 4)
  held_N = probes.split_clips(clip_N, 0.2, 0)
  assert held_N.sum() == 8
  assert (held_N.reshape(10, 4).all(1) == held_N.reshape(10, 4).any(1)).all()
  assert (held_N == probes.split_clips(clip_N, 0.2, 0)).all()
  with pytest.raises(ValueError, match='2 or more'):
    probes.split_clips(np.zeros(5), 0.2, 0)


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda a: a | {'y': a['y'][:-1]}, 'same N'),
    (lambda a: a | {'x': a['x'] * np.nan}, 'features .* not finite'),
    (lambda a: a | {'clip': a['clip'][:-1]}, 'one per frame'),
    (lambda a: a | {'x_test': a['x_test'][:, 1:]}, 'same width'),
    (lambda a: a | {'clip': 0 * a['clip']}, '2 or more'),
  ],
)
def test_bad_input_is_named(change, message):
  arrays = {
    'x': RNG.normal(size=(20, 4)), 'y': RNG.normal(size=(20, 2)),
    'clip': np.repeat(np.arange(4), 5),
    'x_test': RNG.normal(size=(8, 4)), 'y_test': RNG.normal(size=(8, 2)),
  }  # fmt: skip
  with pytest.raises(ValueError, match=message):
    probes.state(*change(arrays).values())
