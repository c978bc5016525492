"""The oracle: units are what was done, in any mixture of action spaces."""

import jax
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.episodes.windows import Clips
from rpt_jax.stages import quantize
from rpt_jax.units import quality, recipes
from rpt_jax.units.makers import actions

K = 32
SHARED = settings.Quantize(
  num_clusters=K, recipes={'one': settings.Recipe(maker=actions.Settings())}
)
KEY = jax.random.key(0)


def clips(action, length=10):
  latent_ND = np.zeros((len(action), 2), np.float32)
  arrays = {'latent': latent_ND, 'action': action}
  return Clips(arrays, np.full(len(action) // length, length))


def units(fitted_on, of=None, **values):
  """Units [N] of clips, by what was fitted on others or on themselves."""
  chosen = actions.Settings(**values)
  fitted = actions.fit(chosen, fitted_on, KEY, SHARED, None)
  made = actions.apply(chosen, fitted, of or fitted_on, KEY, None)
  assert made.code_ND is None and made.unit_NL.dtype == np.int32
  return made.unit_NL[:, 0]


def test_a_discrete_action_is_its_own_unit():
  """However seldom some are done."""
  action_N = np.random.default_rng(0).choice(6, 200, p=[0.9, *[0.02] * 5])
  assert len(np.unique(action_N)) == 6
  np.testing.assert_array_equal(units(clips(action_N.astype('i4'))), action_N)


def test_numbers_fall_into_bins_of_pretraining_that_are_equally_frequent():
  rng = np.random.default_rng(1)
  action_N1 = rng.normal(size=(1000, 1)).astype('f4')
  unit_N = units(clips(action_N1))
  np.testing.assert_array_equal(np.bincount(unit_N), [200] * 5)
  np.testing.assert_array_equal(
    unit_N, quality.quantile_bins(action_N1[:, 0], 5)
  )
  heldout_N1 = np.float32([[-99], [0], [99], [-99], [99]])
  unit_N = units(clips(action_N1), clips(heldout_N1, 5))
  np.testing.assert_array_equal(unit_N, [0, 2, 4, 0, 4])


def test_a_unit_of_two_numbers_is_a_pair_of_bins():
  action_N2 = np.random.default_rng(2).normal(size=(600, 2)).astype('f4')
  unit_N = units(clips(action_N2), bins=3)
  first, second = (quality.quantile_bins(x_N, 3) for x_N in action_N2.T)
  np.testing.assert_array_equal(unit_N, first + 3 * second)


def test_action_spaces_lie_side_by_side_and_share_ids():
  """As quantize joins the domains of a config, in any order."""
  rng = np.random.default_rng(3)
  parts = [
    rng.normal(size=(100, 1)).astype('f4'),
    rng.integers(3, size=80).astype('i4'),
    9 * rng.normal(size=(60, 2)).astype('f4'),
    rng.integers(2, size=50).astype('i4'),
  ]
  joined = quantize._side_by_side([{'action': x} for x in parts])['action']
  assert joined.shape == (290, 4) and np.isfinite(joined).sum() == 350
  unit_N = units(clips(joined), bins=4)
  alone = [units(clips(x), bins=4) for x in parts]
  np.testing.assert_array_equal(unit_N, np.concatenate(alone))
  np.testing.assert_array_equal(alone[3], parts[3])
  assert set(alone[2]) == set(range(16))
  one = quantize._side_by_side([{'action': parts[0]}, {'action': parts[0]}])
  np.testing.assert_array_equal(one['action'], np.concatenate([parts[0]] * 2))


def test_transforms_and_latents_change_nothing():
  action_N = np.random.default_rng(4).integers(3, size=100).astype('i4')
  recipe = settings.Recipe(('clip_mean',), actions.Settings())
  given = clips(action_N)
  fitted = recipes.fit(recipe, given, KEY, SHARED)
  given.arrays['latent'][:] = np.random.default_rng(5).normal(size=(100, 2))
  made = recipes.apply(recipe, fitted, given, KEY)
  np.testing.assert_array_equal(made.unit_NL[:, 0], action_N)


def test_more_combinations_than_units_are_refused():
  action_N3 = np.random.default_rng(6).normal(size=(50, 3)).astype('f4')
  with pytest.raises(
    ValueError, match='5 of each number, which gives 125 kinds'
  ):
    units(clips(action_N3))
  assert units(clips(action_N3), bins=3).max() < 27
