"""Grounded units and LAOM: what they are told, what survives distraction."""

import jax
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from rpt_jax import settings
from rpt_jax.episodes.windows import Clips
from rpt_jax.units import labelled, recipes
from rpt_jax.units.makers import grounded, kmeans, laom

K, CLIPS, STEPS, WIDTH = 16, 24, 40, 12
KEY = jax.random.key(0)


def planted(seed=0):
  """Latents that a large wandering background moves, and a small robot.

  Two directions of twelve are moved by actions, all by the background.
  """
  rng = np.random.default_rng(seed)
  action = rng.uniform(-1, 1, (CLIPS, STEPS, 2))
  body = np.concatenate([np.zeros((CLIPS, 1, 2)), action[:, :-1]], 1).cumsum(1)
  behind = rng.normal(size=(CLIPS, STEPS, WIDTH)).cumsum(1)
  behind[..., :2] *= 0.1  # The robot hides most of what is behind it.
  behind[..., :2] += 0.5 * body
  mixed = np.linalg.qr(np.random.default_rng(9).normal(size=(WIDTH, WIDTH)))[0]
  latent = (behind @ mixed).reshape(-1, WIDTH).astype(np.float32)
  arrays = {'latent': latent, 'action': np.float32(action.reshape(-1, 2))}
  return Clips(arrays, np.full(CLIPS, STEPS))


def recipe(maker, transforms=('delta:1',)):
  return settings.Recipe(transforms, maker)


def shared(maker):
  return settings.Quantize(num_clusters=K, recipes={'one': recipe(maker)})


def small(**values):
  """LAOM of a second or less."""
  return laom.Settings(
    code_width=8, hidden_width=32, steps=20, batch_size=32, **values
  )


def fitted_and_units(maker, clips, other=None):
  one = recipe(maker)
  fitted = recipes.fit(one, clips, KEY, shared(maker))
  return fitted, recipes.apply(one, fitted, other or clips, KEY).unit_NL[:, 0]


def r2_of_units(unit_N, action_NA, train_N):
  """R^2 of the mean action of each unit, of frames that it is not of."""
  train_N, test_N = train_N & (unit_N >= 0), ~train_N & (unit_N >= 0)
  mean_A = action_NA[train_N].mean(0)
  guess = np.stack(
    [
      action_NA[train_N & (unit_N == k)].mean(0)
      if (train_N & (unit_N == k)).any()
      else mean_A
      for k in range(K)
    ]
  )[unit_N[test_N]]
  error = np.square(action_NA[test_N] - guess).sum()
  return 1 - error / np.square(action_NA[test_N] - mean_A).sum()


def test_grounded_units_name_actions_where_others_name_the_background():
  clips, other = planted(), planted(seed=1)
  train_N = np.arange(CLIPS * STEPS) < CLIPS * STEPS // 2
  scores = {}
  for name, maker in (
    ('ours', grounded.Settings(labelled=4)),
    ('kmeans', kmeans.Settings()),
  ):
    _, unit_N = fitted_and_units(maker, clips, other)
    unit_N = np.asarray(unit_N)
    action_NA = other.arrays['action']
    if name == 'kmeans':  # Its delta of t is what was done at t - 1.
      unit_N = np.append(unit_N[1:], -1)
    scores[name] = r2_of_units(unit_N, action_NA, train_N)
  assert scores['ours'] > 0.6 and scores['kmeans'] < 0.2, scores


@pytest.mark.parametrize(
  'maker', [grounded.Settings(labelled=3), small(labelled=3, weight=1.0)]
)
def test_no_action_is_read_but_those_of_the_labelled_clips(maker):
  """Whatever was done in others changes no bit; in these it does."""
  clips = planted()
  told_N = np.isin(clips.clip_N, np.arange(3) * CLIPS // 3)
  first, unit_N = fitted_and_units(maker, clips)
  for rows_N, same in ((~told_N, True), (told_N, False)):
    action_NA = clips.arrays['action'].copy()
    action_NA[rows_N] = np.random.default_rng(5).normal(size=action_NA.shape)[
      rows_N
    ]
    changed = Clips(clips.arrays | {'action': action_NA}, clips.lengths)
    again, _ = fitted_and_units(maker, changed)
    equal = [
      np.array_equal(a, b)
      for a, b in zip(
        jax.tree.leaves(first['maker']),
        jax.tree.leaves(again['maker']),
        strict=True,
      )
    ]
    assert all(equal) == same
  action_free = Clips({'latent': clips.arrays['latent']}, clips.lengths)
  blind_N = recipes.apply(recipe(maker), first, action_free, KEY).unit_NL[:, 0]
  np.testing.assert_array_equal(unit_N, blind_N)


def test_without_labels_laom_reads_none():
  clips = planted()
  action_free = Clips({'latent': clips.arrays['latent']}, clips.lengths)
  _, unit_N = fitted_and_units(small(levels=4, horizon=1), action_free)
  last_N = np.append(clips.clip_N[1:] != clips.clip_N[:-1], True)
  np.testing.assert_array_equal(np.asarray(unit_N) < 0, last_N)


@pytest.mark.parametrize('rows', [30, 8])  # More than numbers, and fewer.
def test_the_regression_is_ridge(rows):
  rng = np.random.default_rng(0)
  x_MD, y_MA = rng.normal(size=(rows, 12)), rng.normal(size=(rows, 3))
  ours_PDA = grounded.ridge(x_MD, y_MA)
  for penalty, ours_DA in zip(grounded.PENALTIES, ours_PDA, strict=True):
    peer = Ridge(penalty * rows, fit_intercept=False).fit(x_MD, y_MA)
    np.testing.assert_allclose(ours_DA, peer.coef_.T, rtol=1e-6, atol=1e-9)


def test_shrinkage_is_chosen_on_clips_left_out():
  """Of noise nothing is believed, of what is exact everything."""
  rng = np.random.default_rng(0)
  x_MD, clip_M = rng.normal(size=(60, 40)), np.repeat(np.arange(6), 10)
  noise = grounded.regress(x_MD, rng.normal(size=(60, 1)), clip_M)
  x_MD = rng.normal(size=(60, 4))
  exact = grounded.regress(x_MD, x_MD[:, :1], clip_M)
  assert noise['penalty'] >= 10 and exact['penalty'] <= 1e-2


def test_finite_scalar_quantisation_has_its_levels():
  x_N1 = np.linspace(-4, 4, 101, dtype=np.float32)[:, None]
  for levels in (2, 3, 4, 5):
    values = np.unique(np.asarray(laom.quantised(x_N1, levels)).round(5))
    np.testing.assert_allclose(values, np.linspace(-1, 1, levels), atol=1e-5)
  slope = jax.grad(lambda x: laom.quantised(x, 4).sum())(0.3 * x_N1[:1])
  assert float(slope[0, 0]) > 0  # Straight through the rounding.


def test_discrete_actions_and_other_spaces():
  arrays = {'action': np.array([2, 0, 1], np.int32)}
  clips = Clips(arrays, np.array([3]))
  np.testing.assert_array_equal(
    labelled.actions(clips, np.arange(3)), np.eye(3)[[2, 0, 1]]
  )
  arrays = {'action': np.float32([[1, np.nan], [3, np.nan], [np.nan, 5]])}
  given = labelled.actions(Clips(arrays, np.array([3])), np.arange(3))
  np.testing.assert_array_equal(given, [[1, 5], [3, 5], [2, 5]])


def test_too_few_or_too_short_clips_are_refused():
  clips = planted()
  with pytest.raises(ValueError, match=f'labelled: found {CLIPS} clips'):
    labelled.rows(clips, CLIPS + 1, 1)
  with pytest.raises(ValueError, match='found clips of 40 steps at most'):
    labelled.rows(clips, 2, STEPS)


def test_laom_looks_one_step_ahead_to_as_many_as_it_is_told():
  settings_3 = small(horizon=3, labelled=2)
  keys_S = jax.random.split(KEY, 20)
  *_, pair_SB, labelled_SL = laom._draws(settings_3, keys_S, 50, 10)
  for ahead in (pair_SB, labelled_SL):
    assert np.unique(ahead).tolist() == [1, 2, 3]
