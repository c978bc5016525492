"""Latent actions: units are what happened, of pairs of one clip."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.episodes.windows import Clips
from rpt_jax.learning import checks
from rpt_jax.training import checkpoint
from rpt_jax.units import kmeans, makers, quality
from rpt_jax.units.makers import latent_action
from tests.settings import variants

WIDTH, ACTIONS = 6, 4
TINY = latent_action.Settings(
  hidden_width=32, steps=600, batch_size=64, learning_rate=1e-2
)
SHARED = settings.Quantize(
  num_clusters=ACTIONS,
  max_iterations=20,
  restarts=3,
  recipes={'one': settings.Recipe()},
)
fit_key, apply_key = jax.random.split(jax.random.key(0))


def world(seed=0, clips=40, length=12):
  """(clips, action [N]): each step adds one of four displacements."""
  moves_AD = np.random.default_rng(7).normal(size=(ACTIONS, WIDTH))
  rng = np.random.default_rng(seed)
  action_CT = rng.integers(ACTIONS, size=(clips, length))
  start_C1D = 4 * rng.normal(size=(clips, 1, WIDTH))
  moved_CTD = np.cumsum(moves_AD[action_CT], axis=1)
  x_CTD = np.concatenate([start_C1D, start_C1D + moved_CTD[:, :-1]], axis=1)
  x_ND = x_CTD.reshape(-1, WIDTH).astype(np.float32)
  return Clips({'latent': x_ND}, np.full(clips, length)), action_CT.ravel()


def apply(fitted, clips):
  made = latent_action.apply(TINY, fitted, clips, apply_key, None)
  return np.asarray(made.unit_NL), np.asarray(made.code_ND)


@pytest.fixture(scope='module')
def fitted():
  return latent_action.fit(TINY, world()[0], fit_key, SHARED, None)


def test_units_are_which_displacement_it_was(fitted):
  clips, action_N = world(seed=1)
  unit_NL, _ = apply(fitted, clips)
  there_N = unit_NL[:, 0] >= 0
  own = action_N[there_N], unit_NL[there_N, 0]
  assert quality.pnmi(*own) > 0.95 and quality.nmi(*own) > 0.95
  # Where a frame is does not tell it.
  x_ND = clips.arrays['latent']
  codebook = kmeans.fit(x_ND, ACTIONS, fit_key)
  assert quality.pnmi(action_N, kmeans.assign(codebook, x_ND)) < 0.1


def test_the_last_step_of_a_clip_has_no_unit(fitted):
  clips, _ = world(seed=2)
  lengths = np.array([1, 5, 1, len(clips.clip_N) - 8, 1])
  clips = clips._replace(lengths=lengths)
  unit_NL, code_ND = apply(fitted, clips)
  last = np.cumsum(lengths) - 1
  assert (unit_NL[last] == -1).all() and not code_ND[last].any()
  rest = np.delete(np.arange(len(unit_NL)), last)
  assert unit_NL[rest].min() == 0 and unit_NL[rest].max() == ACTIONS - 1
  assert code_ND[rest].any(axis=1).all()


def test_pairs_are_never_of_two_clips(monkeypatch):
  """Neither what is trained on nor what is clustered."""
  lengths, drawn, clustered = np.array([3, 1, 7, 2, 1, 4]), [], []
  number_N1 = np.arange(lengths.sum(), dtype=np.float32)[:, None]
  clips = Clips({'latent': number_N1}, lengths)

  def see_train(settings, params, x_ND, first_M, key):
    drawn.append(first_M)
    return params

  def see_cluster(code_MD, *rest):
    clustered.append(code_MD)

  monkeypatch.setattr(latent_action, 'train', see_train)
  monkeypatch.setattr(makers, 'cluster', see_cluster)
  latent_action.fit(TINY, clips, fit_key, SHARED, None)
  pairs = [r for r in range(17) if clips.clip_N[r] == clips.clip_N[r + 1]]
  assert drawn[0].tolist() == pairs
  assert len(clustered[0]) == len(pairs) == 12


def test_training_reads_the_rows_it_is_given_and_no_other():
  """Rows that begin no pair, and that end none, may hold anything."""
  clips, _ = world()
  x_ND = clips.arrays['latent'].copy()
  first_M = np.arange(0, 40, 4)
  few = dataclasses.replace(TINY, steps=20)
  params = latent_action.init(few, WIDTH, fit_key)
  before = latent_action.train(few, params, x_ND, first_M, fit_key)
  x_ND[2::4] = x_ND[3::4] = np.nan
  after = latent_action.train(few, params, x_ND, first_M, fit_key)
  jax.tree.map(np.testing.assert_array_equal, before, after)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), params, before)
  assert min(jax.tree.leaves(moved)) > 0


def test_codes_against_numpy(fitted):
  clips, _ = world(seed=3)
  x_ND = clips.arrays['latent'].astype(np.float64)
  scale = fitted['scale']['0_standardise']
  x_ND = (x_ND - np.asarray(scale['mean'])) * np.asarray(scale['scale'])
  weights = jax.tree.map(np.asarray, fitted['models']['inverse'])
  _, code_ND = apply(fitted, clips)
  for row in (0, 5, 17):
    h = np.concatenate([x_ND[row], x_ND[row + 1] - x_ND[row]])
    h = h @ weights['hidden']['kernel'] + weights['hidden']['bias']
    h = np.asarray(jax.nn.gelu(jnp.float32(h)))
    code = h @ weights['out']['kernel'] + weights['out']['bias']
    np.testing.assert_allclose(code_ND[row], np.tanh(code), atol=1e-4)


def test_what_is_saved_makes_the_same_units_and_so_does_the_key(
  fitted, tmp_path
):
  checkpoint.save_params(tmp_path / 'fitted.safetensors', fitted)
  saved = checkpoint.load_params(tmp_path / 'fitted.safetensors')
  again = latent_action.fit(TINY, world()[0], fit_key, SHARED, None)
  clips, _ = world(seed=4)
  expected = apply(fitted, clips)
  for other in (saved, again):
    for x, y in zip(apply(other, clips), expected, strict=True):
      np.testing.assert_array_equal(x, y)


def test_a_unit_depends_on_the_next_frame_and_no_later_one(fitted):
  clips, _ = world(seed=5)
  t = 14  # Of clip 1, rows 12 to 23.
  moved = np.random.default_rng(0).normal(size=(WIDTH,)).astype(np.float32)
  _, code_ND = apply(fitted, clips)
  for later, same in ((2, True), (1, False)):
    x_ND = clips.arrays['latent'].copy()
    x_ND[t + later :] += 3 * moved
    unit_NL, changed_ND = apply(fitted, Clips({'latent': x_ND}, clips.lengths))
    np.testing.assert_array_equal(changed_ND[:t], code_ND[:t])
    assert (changed_ND[t] == code_ND[t]).all() == same
  assert latent_action.lookahead(TINY) == 1


def test_a_causal_run_may_not_read_its_units(monkeypatch):
  monkeypatch.chdir(variants.ROOT)
  run = 'pretrain.runs.next'
  changes = [
    f"{run}.objective={{'kind': 'next_streams'}}",
    f'{run}.targets=()',
    f'{run}.recipe=raw',
    f"{run}.streams=('latent', 'unit')",
  ]
  spec = 'hubert_units:quicktest'
  checks.experiment(variants.changed(spec, *changes))
  maker = "quantize.recipes.raw.maker={'kind': 'latent_action'}"
  message = "runs.next.recipe: found 'raw', whose units look ahead 1"
  with pytest.raises(ValueError, match=message):
    checks.experiment(variants.changed(spec, *changes, maker))


def test_what_cannot_be_learned_from_is_refused(fitted):
  alone = Clips({'latent': np.zeros((9, WIDTH), np.float32)}, np.ones(9, int))
  with pytest.raises(ValueError, match='found 9 clips of a frame'):
    latent_action.fit(TINY, alone, fit_key, SHARED, None)
  wider = Clips({'latent': np.zeros((9, WIDTH + 1), np.float32)}, np.array([9]))
  with pytest.raises(ValueError, match=f'fitted on {WIDTH} dim.*found 7'):
    apply(fitted, wider)


@pytest.mark.parametrize('name', ['code_width', 'steps', 'batch_size'])
def test_settings_out_of_range_are_refused(name):
  recipes = settings.recipes('latent_action', raw=())
  recipes['raw'].maker[name] = 0
  config = settings.base('quantize')
  config.quantize.recipes = recipes
  with pytest.raises(ValueError, match=rf'recipes.raw.maker.{name}: found 0'):
    settings.read(settings.Experiment, config)
