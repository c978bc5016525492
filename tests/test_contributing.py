"""The files that CONTRIBUTING.md shows: each goes through its door."""

import importlib
import pathlib
import re
import types

import jax
import numpy as np
import pytest

from rpt_jax import domains, settings
from rpt_jax.domains.playing import Played
from rpt_jax.episodes.windows import Clips
from rpt_jax.learning import checks
from rpt_jax.tools import steps
from rpt_jax.training import sharding
from tests import test_doors
from tests.test_architecture import DOORS

PAGE = pathlib.Path(__file__).parents[1] / 'CONTRIBUTING.md'
BLOCK = re.compile(r'```python\n# mylab/(\w+)\.py\n(.*?)```', re.S)
TRACED = {
  'next_latent': [
    '--config.pretrain.runs.next.objective.kind=mylab.next_latent',
    "--config.pretrain.runs.next.targets=('latent',)",
    '--config.pretrain.runs.next.recipe=',
    '--config.iterations=1',
  ],
  'absolute': [
    '--config.finetune.head.kind=mylab.absolute',
    test_doors.CONTINUOUS,
  ],
  'bag': ['--config.pretrain.trunk.kind=mylab.bag'],
  'small_mae': [
    '--config.image_model.kind=mylab.small_mae',
    '--config.image_model.patch=8',
    '--config.image_model.width=32',
    '--config.image_model.depth=1',
  ],
}


@pytest.fixture(autouse=True)
def mylab(tmp_path, monkeypatch):
  """The package of the page."""
  folder = tmp_path / 'mylab'
  folder.mkdir()
  for name, text in BLOCK.findall(PAGE.read_text()):
    (folder / f'{name}.py').write_text(text)
  monkeypatch.syspath_prepend(tmp_path)
  importlib.invalidate_caches()


def test_there_is_one_of_every_door():
  rooms = set(re.findall(r'`rpt_jax/([\w/]+)/__init__\.py`', PAGE.read_text()))
  assert rooms == set(DOORS)
  assert len(BLOCK.findall(PAGE.read_text())) == len(DOORS)


@pytest.mark.parametrize('name', TRACED)
def test_what_is_learned_is_traced(name):
  text = ''.join(PAGE.read_text().split())
  assert TRACED[name][0] in text
  chosen = test_doors.experiment('hubert_units', *TRACED[name])
  kinds = test_doors.kinds_of(chosen)
  assert f'mylab.{name}' in kinds
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  for make in steps.named(chosen).values():
    step = make(mesh)
    jax.eval_shape(step.function, *step.arguments)


def test_units_of_signs():
  flag = '--config.quantize.recipes.clip_mean_stack.maker.kind=mylab.signs'
  assert flag in PAGE.read_text()
  shared = test_doors.experiment('hubert_units', flag).quantize
  recipe = shared.recipes['clip_mean_stack']
  file = settings.module('units/makers', settings.kind(recipe.maker))
  x_ND = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
  clips = Clips({'latent': x_ND}, np.array([0, 40]))
  fitted = file.fit(recipe.maker, clips, None, shared, None)
  unit_N = file.apply(recipe.maker, fitted, clips, None, None).unit_NL[:, 0]
  assert len(np.unique(unit_N)) > 4 and unit_N.max() < shared.num_clusters
  assert unit_N[0] % 2 == (x_ND[0, 0] > np.median(x_ND[:, 0]))


def test_haste_is_how_far_it_moved_beyond_rest():
  flag = '--config.evaluate.watch.monitors.spread.kind=mylab.haste'
  assert flag in PAGE.read_text()
  monitors = test_doors.experiment('values', flag).evaluate.watch.monitors
  file = settings.module('policy/monitors', settings.kind(monitors['spread']))
  watched = types.SimpleNamespace(done=np.array([[0.2, -0.4], [0.05, -2.0]]))
  score_B = file.update(monitors['spread'], watched, ())[1]
  np.testing.assert_allclose(score_B, [0.3, 1.9], rtol=1e-6)


def test_a_domain_scores_in_its_own_way(tmp_path):
  rng = np.random.default_rng(0)
  for i in range(4):
    np.savez(
      tmp_path / f'{i}.npz',
      image=rng.integers(0, 255, (6, 16, 16, 3), np.uint8),
      state=rng.normal(size=(6, 2)).astype(np.float32),
      action=rng.normal(size=(6, 2)).astype(np.float32),
    )
  config = settings.base('quantize')
  config.domains.robot = settings.plugin(
    'domains', 'mylab.within', path=str(tmp_path), close=0.05
  )
  config.quantize.recipes = settings.recipes(raw=())
  config.encoder = 'pixels'
  (place,) = domains.of(checks.experiment(config))
  played = Played(np.array([[[0.01, 0.02], [0.2, 0.01]]]))
  np.testing.assert_array_equal(
    place.score(played, tmp_path).score_SN, [[1, 0]]
  )
