"""Transforms against NumPy loops over clips; no leak, no look ahead."""

import jax
import numpy as np
import pytest

from rpt_jax.units import transforms

LENGTHS = (7, 1, 4, 12, 3)
CLIP_N = np.repeat([4, 9, 2, 11, 0], LENGTHS)
SPANS = [
  slice(int(e - n), int(e))
  for n, e in zip(LENGTHS, np.cumsum(LENGTHS), strict=True)
]
D = 5


def frames(seed=0):
  rng = np.random.default_rng(seed)
  x_ND = rng.standard_normal((len(CLIP_N), D)) * np.arange(1, D + 1) + 3
  return x_ND.astype(np.float32)


def run(recipe, x_ND=None):
  x_ND = frames() if x_ND is None else x_ND
  params, y_ND = transforms.fit_transform(recipe, x_ND, CLIP_N)
  again_ND = transforms.apply(recipe, params, x_ND, CLIP_N)
  np.testing.assert_array_equal(y_ND, again_ND)
  return np.asarray(y_ND)


def loop_delta(x_TD, stride):
  y_TD = np.zeros_like(x_TD)
  for t in range(stride, len(x_TD)):
    y_TD[t] = x_TD[t] - x_TD[t - stride]
  return y_TD


def by_clip(function):
  x_ND = frames()
  return np.concatenate([function(x_ND[span]) for span in SPANS])


def test_clip_mean_is_the_mean_of_each_clip():
  expected_ND = by_clip(lambda x_TD: x_TD - x_TD.mean(0))
  np.testing.assert_allclose(run(('clip_mean',)), expected_ND, atol=1e-5)


def test_running_mean_is_the_mean_so_far():
  def loop(x_TD):
    return np.stack([x_TD[t] - x_TD[: t + 1].mean(0) for t in range(len(x_TD))])

  np.testing.assert_allclose(run(('running_mean',)), by_clip(loop), atol=1e-5)


def test_a_drawn_delta_is_of_one_of_its_strides():
  """All are drawn, and a clip's own do not depend on those before it."""
  clip_N, x_N1 = (
    np.repeat([3, 7], 60),
    np.arange(120, dtype=np.float32)[:, None],
  )
  _, y_N1 = transforms.fit_transform(('delta:2-5',), x_N1, clip_N)
  place_N, stride_N = np.tile(np.arange(60), 2), np.asarray(y_N1)[:, 0]
  assert set(stride_N[place_N >= 5]) == {2, 3, 4, 5}
  assert (stride_N <= place_N).all() and not stride_N[place_N == 0].any()
  _, alone_N1 = transforms.fit_transform(('delta:2-5',), x_N1[60:], clip_N[60:])
  np.testing.assert_array_equal(alone_N1, y_N1[60:])
  for wrong in ('delta:5-2', 'delta:0-3', 'delta:1-'):
    with pytest.raises(ValueError, match=wrong):
      transforms.parse((wrong,))


@pytest.mark.parametrize('stride', [1, 3, 40])
def test_delta_is_within_the_clip(stride):
  expected_ND = by_clip(lambda x_TD: loop_delta(x_TD, stride))
  found_ND = run((f'delta:{stride}',))
  np.testing.assert_allclose(found_ND, expected_ND, atol=1e-6)


def test_stack_puts_deltas_beside_the_frame():
  def loop(x_TD):
    twice_TD = loop_delta(loop_delta(x_TD, 2), 2)
    return np.concatenate([x_TD, loop_delta(x_TD, 1), twice_TD], 1)

  np.testing.assert_allclose(run(('stack:1,2^2',)), by_clip(loop), atol=1e-5)


def test_standardise_and_whiten_have_unit_moments():
  y_ND = run(('standardise',))
  np.testing.assert_allclose(y_ND.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(y_ND.std(0), 1, atol=1e-5)
  y_ND = run(('whiten:3',))
  assert y_ND.shape == (len(CLIP_N), 3)
  np.testing.assert_allclose(y_ND.mean(0), 0, atol=1e-5)
  np.testing.assert_allclose(y_ND.T @ y_ND / len(y_ND), np.eye(3), atol=1e-4)


def test_whiten_is_the_pca_of_scikit_learn():
  decomposition = pytest.importorskip('sklearn.decomposition')
  x_ND = frames()
  pca_ND = decomposition.PCA(3, whiten=True).fit_transform(x_ND)
  scale = np.sqrt(len(x_ND) / (len(x_ND) - 1))
  found_ND = run(('whiten:3',))
  np.testing.assert_allclose(
    np.abs(found_ND), np.abs(pca_ND) * scale, atol=1e-3
  )


def test_constant_dimensions_stay_finite():
  x_ND = frames()
  x_ND[:, 2] = 7
  assert np.isfinite(run(('standardise', 'whiten'), x_ND)).all()


def test_steps_compose_in_order():
  params, y_ND = transforms.fit_transform(
    ('clip_mean', 'stack:1', 'whiten:4'), frames(), CLIP_N
  )
  assert sorted(params) == ['2_whiten']
  assert y_ND.shape == (len(CLIP_N), 4)
  stacked_ND = run(('clip_mean', 'stack:1'))
  mean_D = np.asarray(params['2_whiten']['mean'])
  expected_ND = (stacked_ND - mean_D) @ params['2_whiten']['project']
  np.testing.assert_allclose(y_ND, expected_ND, atol=1e-4)


@pytest.mark.parametrize('step', ['standardise', 'whiten'])
def test_what_is_fitted_does_not_depend_on_slabs(step):
  """Clips of very different levels, some at a time."""
  x_ND = frames() + 50 * CLIP_N[:, None].astype(np.float32)
  recipe = 'delta:1', step
  cuts = [0, *np.flatnonzero(np.diff(CLIP_N)) + 1, len(CLIP_N)]
  parts = [
    (x_ND[a:b], CLIP_N[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)
  ]
  assert len(parts) > 1
  at_once = transforms.fit(recipe, lambda: [(x_ND, CLIP_N)])
  by_slab = transforms.fit(recipe, lambda: iter(parts))
  for name, expected in at_once[f'1_{step}'].items():
    found = by_slab[f'1_{step}'][name]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_held_out_clips_use_training_statistics():
  recipe = ('standardise',)
  params, _ = transforms.fit_transform(recipe, frames(), CLIP_N)
  held_ND = frames(1) + 50
  found_ND = transforms.apply(recipe, params, held_ND, CLIP_N)
  expected_ND = (held_ND - frames().mean(0)) / frames().std(0)
  np.testing.assert_allclose(found_ND, expected_ND, rtol=1e-3)


@pytest.mark.parametrize(
  'recipe',
  [('clip_mean',), ('running_mean',), ('delta:2',), ('stack:1,3^2',)],
)
def test_no_clip_sees_another(recipe):
  x_ND = frames()
  x_ND[SPANS[3]] += 100
  other = np.ones(len(x_ND), bool)
  other[SPANS[3]] = False
  np.testing.assert_allclose(
    run(recipe)[other], run(recipe, x_ND)[other], atol=1e-5
  )


def test_causal_recipes_do_not_see_the_future():
  recipe = ('clip_mean', 'stack:1,2^2')
  assert transforms.lookahead(recipe) == np.inf
  causal = ('running_mean', 'stack:1,2^2')
  assert transforms.lookahead(causal) == 0
  now = SPANS[3].start + 5

  def total(x_ND, recipe):
    return transforms.apply(recipe, {}, x_ND, CLIP_N)[now].sum()

  seen_ND = jax.grad(total)(frames(), causal)
  assert (np.asarray(seen_ND)[now + 1 :] == 0).all()
  assert (np.asarray(seen_ND)[: SPANS[3].start] == 0).all()
  assert (np.asarray(seen_ND)[SPANS[3].start : now + 1] != 0).any(1).all()
  seen_ND = jax.grad(total)(frames(), recipe)
  assert (np.asarray(seen_ND)[now + 1] != 0).any()


@pytest.mark.parametrize(
  ('recipe', 'match'),
  [
    (('clip_meen',), 'known: clip_mean, running_mean'),
    ('clip_mean', 'expected a list'),
    (('delta',), 'positive integer'),
    (('delta:0',), 'positive integer'),
    (('delta:1,2',), 'one stride'),
    (('stack:1,b',), 'positive integer'),
    (('clip_mean:3',), 'takes no argument'),
    (('whiten:6',), 'at most'),
  ],
)
def test_bad_recipes_say_what_is_wrong(recipe, match):
  with pytest.raises(ValueError, match=match):
    transforms.fit_transform(recipe, frames(), CLIP_N)


def test_bad_clips_and_params_say_what_is_wrong():
  recipe = ('standardise',)
  with pytest.raises(ValueError, match='adjacent'):
    transforms.fit_transform(('clip_mean',), frames(), CLIP_N % 2)
  with pytest.raises(ValueError, match='clip number'):
    transforms.fit_transform(('clip_mean',), frames(), CLIP_N[1:])
  with pytest.raises(ValueError, match='another recipe'):
    transforms.apply(recipe, {}, frames(), CLIP_N)
  params, _ = transforms.fit_transform(recipe, frames(), CLIP_N)
  with pytest.raises(ValueError, match='fitted on 5'):
    transforms.apply(recipe, params, frames()[:, :4], CLIP_N)


def whitened(x_ND):
  return transforms.fit(('whiten',), lambda: [(x_ND, CLIP_N)])['0_whiten']


def test_the_largest_entry_of_a_component_is_positive():
  """Or units would change with the machine's eigenvectors."""
  fitted = whitened(frames())
  direction_DK = np.asarray(fitted['project'])
  largest_K = np.abs(direction_DK).argmax(0)
  assert (direction_DK[largest_K, np.arange(len(largest_K))] > 0).all()
  turned = whitened(-frames())
  np.testing.assert_allclose(turned['project'], direction_DK, atol=1e-4)
