"""Every maker has what the protocol asks for; levels are what they are."""

import ast
import dataclasses
import inspect
import pathlib

import jax
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.episodes import stack
from rpt_jax.episodes.windows import Clips
from rpt_jax.training import checkpoint, sharding
from rpt_jax.units import kmeans, makers, recipes, transforms

N, D, K = 1000, 8, 12
LENGTHS = np.array([300, 1, 450, 249])
KINDS = settings.kinds('units/makers')
SHARED = settings.Quantize(
  num_clusters=K, max_iterations=10, recipes={'one': settings.Recipe()}
)
each = pytest.mark.parametrize('kind', KINDS)


def latents(seed=0):
  return np.random.default_rng(seed).standard_normal((N, D)).astype(np.float32)


def clips(x_ND):
  """With all that any maker may need, which changes where latents do."""
  arrays = {'latent': x_ND, 'action': x_ND[:, :1], 'state': x_ND[:, :3]}
  return Clips({k: np.float32(x) for k, x in arrays.items()}, LENGTHS)


def recipe(kind, *transforms, **values):
  chosen = settings.module('units/makers', kind).Settings(**values)
  return settings.Recipe(transforms=transforms, maker=chosen)


def fitted(chosen, x_ND, mesh=None):
  return recipes.fit(chosen, clips(x_ND), jax.random.key(0), SHARED, mesh)


def units(chosen, made, x_ND, key=1):
  return recipes.apply(chosen, made, clips(x_ND), jax.random.key(key))


def rebuilt(kind, made, unit_NL):
  """The latents that units stand for."""
  levels = [made['maker'][str(i)]['c_KD'] for i in range(unit_NL.shape[1])]
  parts = [np.asarray(c_KD)[unit_NL[:, i]] for i, c_KD in enumerate(levels)]
  return np.concatenate(parts, 1) if kind == 'product' else sum(parts)


def error(kind, made, x_ND, levels):
  chosen = recipe(kind, **({} if kind == 'kmeans' else {'levels': levels}))
  unit_NL = np.asarray(units(chosen, made, x_ND).unit_NL)
  return float(((rebuilt(kind, made, unit_NL) - x_ND) ** 2).sum())


def test_every_file_of_the_room_is_a_kind():
  folder = pathlib.Path(makers.__file__).parent
  assert [p.stem for p in sorted(folder.glob('[!_]*.py'))] == KINDS


@each
def test_a_file_has_all_of_the_protocol(kind):
  file = settings.module('units/makers', kind)
  assert ast.get_docstring(ast.parse(inspect.getsource(file)))
  for name in (*makers.Maker.__annotations__, *vars(makers.Maker)):
    if not name.startswith('_'):
      assert hasattr(file, name), name
  assert file.NEEDS
  assert {*file.NEEDS} <= {makers.LATENT, 'action', 'state', 'proprio'}
  assert file.lookahead(file.Settings()) >= 0


@each
def test_it_fits_and_what_is_saved_makes_the_same_units(kind, tmp_path):
  chosen, x_ND = recipe(kind, 'standardise'), latents()
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1})
  made = fitted(chosen, x_ND, mesh)
  found = units(chosen, made, x_ND)
  vocab, levels = recipes.sizes(chosen, SHARED)
  unit_NL = np.asarray(found.unit_NL)
  assert unit_NL.shape == (N, levels) and unit_NL.dtype == np.int32
  assert unit_NL.min() >= -1 and unit_NL.max() < vocab
  assert len(np.unique(unit_NL)) > 2
  if found.code_ND is not None:
    assert len(found.code_ND) == N and np.isfinite(found.code_ND).all()
  checkpoint.save_params(tmp_path / 'fitted.safetensors', made)
  saved = checkpoint.load_params(tmp_path / 'fitted.safetensors')
  again = units(chosen, saved, x_ND)
  np.testing.assert_array_equal(again.unit_NL, unit_NL)


@each
@pytest.mark.parametrize('batch_size', [0, 64])
def test_what_lies_in_files_has_the_units_of_what_is_in_memory(
  kind, batch_size, tmp_path, monkeypatch
):
  """Some clips at a time, their transforms to disk and back, in two files."""
  steps = 'clip_mean', 'stack:1,2^2', 'standardise'
  chosen, x_ND = recipe(kind, *steps), latents()
  x_ND = x_ND.astype(np.float16)
  shared = dataclasses.replace(SHARED, batch_size=batch_size)
  key, files = jax.random.key(0), []
  for i, part in enumerate(np.split(x_ND, [301])):
    np.save(tmp_path / f'{i}.npy', part)
    files.append(stack.File(tmp_path / f'{i}.npy'))
  stored = clips(x_ND)
  stored = stored._replace(
    arrays=stored.arrays | {'latent': stack.Stack(files)}
  )
  found = []
  for given, block in ((clips(x_ND), N), (stored, 310)):
    monkeypatch.setattr(stack, 'BLOCK', block)
    slabs = list(transforms.slabs(given))
    assert len(slabs) == (1 if block == N else 3)
    assert len({len(slab_ND) for slab_ND, _ in slabs}) == 1
    made = recipes.fit(chosen, given, key, shared)
    found.append(recipes.apply(chosen, made, given, key).unit_NL)
  np.testing.assert_array_equal(*found)


@each
def test_a_unit_sees_no_further_than_its_lookahead(kind):
  """Changing all frames after it, and all other clips, changes nothing."""
  chosen, x_ND = recipe(kind), latents()
  ahead, step = int(recipes.lookahead(chosen)), 100
  made = fitted(chosen, x_ND)
  changed_ND = x_ND.copy()
  changed_ND[step + ahead + 1 :] = latents(5)[step + ahead + 1 :]
  before, after = (units(chosen, made, x) for x in (x_ND, changed_ND))
  unit_NL, changed_NL = np.asarray(before.unit_NL), np.asarray(after.unit_NL)
  np.testing.assert_array_equal(unit_NL[: step + 1], changed_NL[: step + 1])
  assert (unit_NL[step + ahead + 1 :] != changed_NL[step + ahead + 1 :]).any()


def test_lookahead_is_of_transforms_and_maker():
  assert recipes.lookahead(recipe('kmeans', 'running_mean')) == 0
  assert recipes.lookahead(recipe('kmeans', 'clip_mean')) == np.inf


def test_one_codebook_is_kmeans():
  x_ND, chosen = latents(), recipe('kmeans')
  made = fitted(chosen, x_ND)
  n_NL = np.asarray(units(chosen, made, x_ND).unit_NL)
  codebook = kmeans.Codebook(**made['maker']['0'])
  np.testing.assert_array_equal(n_NL[:, 0], kmeans.assign(codebook, x_ND))
  inertia = float(codebook.inertia)
  np.testing.assert_allclose(error('kmeans', made, x_ND, 1), inertia, rtol=1e-4)


def test_each_residual_level_reduces_the_error():
  x_ND = latents()
  made = fitted(recipe('residual', levels=3), x_ND)
  errors = [error('residual', made, x_ND, i + 1) for i in range(3)]
  assert errors[1] < 0.9 * errors[0]
  assert errors[2] < 0.9 * errors[1]
  # Each level was fitted on what the ones before left over.
  inertia = [float(made['maker'][str(i)]['inertia']) for i in range(3)]
  np.testing.assert_allclose(errors, inertia, rtol=1e-3)


def test_product_quantizes_each_part_alone():
  x_ND, chosen = latents(), recipe('product', levels=3)
  made = fitted(chosen, x_ND)
  levels = [made['maker'][str(i)] for i in range(3)]
  assert [c['c_KD'].shape[1] for c in levels] == [3, 2, 3]
  moved_ND = x_ND.copy()
  moved_ND[:, 3:5] += 3
  n_NL = np.asarray(units(chosen, made, x_ND).unit_NL)
  moved_NL = np.asarray(units(chosen, made, moved_ND).unit_NL)
  np.testing.assert_array_equal(n_NL[:, [0, 2]], moved_NL[:, [0, 2]])
  assert (n_NL[:, 1] != moved_NL[:, 1]).mean() > 0.5
  total = sum(float(c['inertia']) for c in levels)
  np.testing.assert_allclose(error('product', made, x_ND, 3), total, rtol=1e-3)


def test_stochastic_levels_draw_apart_and_repeat_with_the_key():
  x_ND, chosen = latents(), recipe('product', levels=2, temperature=1e6)
  made = fitted(chosen, x_ND)
  draws = [np.asarray(units(chosen, made, x_ND, k).unit_NL) for k in (1, 1, 2)]
  np.testing.assert_array_equal(draws[0], draws[1])
  assert (draws[0] != draws[2]).mean() > 0.5
  assert (draws[0][:, 0] != draws[0][:, 1]).mean() > 0.5


def test_a_temperature_is_relative_to_the_distance_of_frames():
  """Data ten times as wide draw the same units."""
  x_ND, chosen = latents(), recipe('kmeans', temperature=1.0)
  narrow, wide = (
    np.asarray(units(chosen, fitted(chosen, x), x).unit_NL)
    for x in (x_ND, 16 * x_ND)
  )
  np.testing.assert_array_equal(narrow, wide)


def test_more_parts_than_dimensions_are_refused():
  with pytest.raises(ValueError, match=f'levels: found 9.*{D} dimensions'):
    fitted(recipe('product', levels=D + 1), latents())
