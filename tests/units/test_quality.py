"""Unit quality against scikit-learn, loops, and cases known by hand."""

import numpy as np
import pytest

from rpt_jax.units import quality


def labels(seed=0, size=4000):
  rng = np.random.default_rng(seed)
  y_N = rng.integers(0, 6, size)
  z_N = np.where(rng.random(size) < 0.6, y_N * 3, rng.integers(0, 20, size))
  return y_N, z_N


def loop_pnmi(y_N, z_N):
  """I(y; z) / H(y) from the full table, cell by cell."""
  information = entropy = 0.0
  for y in set(y_N.tolist()):
    p_y = np.mean(y_N == y)
    entropy -= p_y * np.log(p_y)
    for z in set(z_N.tolist()):
      p_yz, p_z = np.mean((y_N == y) & (z_N == z)), np.mean(z_N == z)
      if p_yz > 0:
        information += p_yz * np.log(p_yz / (p_y * p_z))
  return information / entropy


def test_pnmi_is_the_reference_and_is_not_symmetric():
  y_N, z_N = labels()
  assert quality.pnmi(y_N, z_N) == pytest.approx(loop_pnmi(y_N, z_N))
  assert quality.pnmi(z_N, y_N) == pytest.approx(loop_pnmi(z_N, y_N))
  assert abs(quality.pnmi(y_N, z_N) - quality.pnmi(z_N, y_N)) > 0.05


def test_identical_labels_are_one_and_independent_are_zero():
  y_N, _ = labels()
  renamed_N = np.array([7, 3, 100, 5, -2, 9])[y_N]
  assert quality.pnmi(y_N, renamed_N) == pytest.approx(1)
  assert quality.nmi(y_N, renamed_N) == pytest.approx(1)
  other_N = np.random.default_rng(1).integers(0, 6, len(y_N))
  assert quality.pnmi(y_N, other_N) < 0.01
  assert quality.nmi(y_N, other_N) < 0.01
  crossed = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
  assert quality.pnmi(*crossed) == pytest.approx(0, abs=1e-12)


def test_nmi_is_that_of_scikit_learn():
  metrics = pytest.importorskip('sklearn.metrics')
  y_N, z_N = labels()
  peer = metrics.normalized_mutual_info_score(y_N, z_N)
  assert quality.nmi(y_N, z_N) == pytest.approx(peer)
  assert quality.nmi(z_N, y_N) == pytest.approx(peer)


def test_constant_labels_are_defined():
  y_N = np.zeros(5, int)
  assert quality.nmi(y_N, y_N) == 1
  assert quality.nmi(y_N, np.arange(5)) == 0
  assert quality.pnmi(y_N, np.arange(5)) == 0


def test_purities_by_hand():
  y_N = np.array([0, 0, 0, 1, 1, 2])
  z_N = np.array([0, 0, 1, 1, 1, 1])
  assert quality.ref_purity(y_N, z_N) == pytest.approx((2 + 2) / 6)
  assert quality.cluster_purity(y_N, z_N) == pytest.approx((2 + 2 + 1) / 6)


def test_usage_by_hand():
  clip_N = np.array([0, 0, 0, 0, 1, 1, 1])
  unit_N = np.array([5, 5, 2, 5, 5, 5, 5])
  assert quality.distinct_per_clip(unit_N, clip_N) == pytest.approx(1.5)
  assert quality.mean_segment_length(unit_N, clip_N) == pytest.approx(7 / 4)
  assert quality.dead_units(unit_N, 10) == 8
  assert quality.perplexity(np.arange(8)) == pytest.approx(8)
  assert quality.perplexity(np.zeros(8)) == pytest.approx(1)


def test_joint_ids_are_one_per_combination():
  rng = np.random.default_rng(0)
  units_NL = rng.integers(0, 500, (300, 8)) % 3
  ids_N = quality.joint_ids(units_NL)
  _, expected_N = np.unique(units_NL, axis=0, return_inverse=True)
  np.testing.assert_array_equal(ids_N, expected_N.reshape(-1))


def test_velocity_is_the_gradient_of_each_clip():
  lengths = np.array([5, 1, 4])
  clip_N = np.repeat([3, 1, 2], lengths)
  value_NP = np.random.default_rng(0).standard_normal((10, 2))
  found_NP = quality.velocity(value_NP, lengths)
  for clip, length in ((3, 5), (2, 4)):
    rows = clip_N == clip
    assert rows.sum() == length
    np.testing.assert_allclose(
      found_NP[rows], np.gradient(value_NP[rows], axis=0)
    )
  np.testing.assert_array_equal(found_NP[clip_N == 1], 0)


def test_bins_of_every_kind():
  rng = np.random.default_rng(0)
  value_N = rng.exponential(size=1000)
  count = np.bincount(quality.bins(value_N, 20))
  assert len(count) == 20
  assert count.min() >= 45
  np.testing.assert_array_equal(quality.bins(np.array([3, 3, 8])), [0, 0, 1])
  both_N = quality.bins(np.array([[0, 1], [1, 1], [0, 1]]))
  np.testing.assert_array_equal(both_N, [0, 1, 0])
  assert len(np.unique(quality.bins(np.array([0.0] * 90 + [1.0] * 10)))) == 2
  centre_NP = np.array([[0, 0], [1000, 0], [0, 0.1]])[rng.integers(0, 3, 300)]
  state_NP = centre_NP + rng.standard_normal((300, 2)) * [10, 1e-3]
  groups = quality.bins(state_NP, 3)
  assert quality.nmi(quality.joint_ids(centre_NP), groups) > 0.99


def test_report_covers_all_and_knows_chance():
  rng = np.random.default_rng(0)
  clip_N = np.repeat(np.arange(20), 50)
  state_NP = np.cumsum(rng.standard_normal((1000, 1)), 0)
  action_N = rng.integers(0, 3, 1000)
  units_NL = np.stack([action_N, rng.integers(0, 2, 1000)], 1)
  found = quality.report(
    units_NL, clip_N, {'state': state_NP, 'action': action_N}, vocab=4
  )
  assert found['used'] == 6
  assert found['dead'] == 1 + 2
  assert found['pnmi/action'] == pytest.approx(1)
  assert found['ref_purity/action'] == pytest.approx(1)
  assert found['pnmi_chance/action'] < 0.02
  assert found['nmi/state'] < 0.1
  assert {'nmi/clip', 'pnmi/clip', 'nmi_chance/clip'} <= set(found)
  assert all(isinstance(value, float) for value in found.values())
  assert all(np.isfinite(value) for value in found.values())


def test_bad_input_says_what_is_wrong():
  with pytest.raises(ValueError, match="label 'state': found 3"):
    quality.report(np.zeros((4, 1)), np.zeros(4), {'state': np.zeros(3)})
  with pytest.raises(ValueError, match='one integer a frame'):
    quality.nmi(np.zeros((4, 2)), np.zeros(4))
  with pytest.raises(ValueError, match='NaN'):
    quality.bins(np.array([0.0, np.nan]))
