"""A page from the folders of a run on Meta-World, without units or probes."""

import json

import numpy as np
import pytest

from configs import rpt
from rpt_jax import domains
from rpt_jax.learning import cells, checks, exploring
from rpt_jax.learning.runs import Runs
from rpt_jax.stages import report

INPUTS = ('collect', 'frames', 'see', 'encode', 'pretrain', 'finetune')


def score(name, value, **tags):
  return {
    'stage': 'evaluate', 'name': name, 'value': value, 'seeds': 2,
    'interval': [value - 0.1, value + 0.1],
    'tags': tags | {'measure': 'success'},
  }  # fmt: skip


@pytest.fixture
def config():
  config = rpt.get_config()
  config.domains.metaworld.tasks = ('drawer-open-v3',)
  config.finetune.update(demos=(50, 10), run_demos=(10,))
  return checks.experiment(config)


@pytest.fixture
def inputs(config, tmp_path, monkeypatch):
  """Folders as the stages leave them, but for episodes."""
  monkeypatch.setattr(report.pictures, 'datasets', lambda places, inputs: ())
  paths = {name: tmp_path / name for name in (*INPUTS, 'evaluate')}
  for path in paths.values():
    path.mkdir()
    (path / 'artifact.json').write_text('{"rows": [], "costs": []}')
  picture = np.zeros((1, 8, 8, 3), np.uint8)
  np.savez(paths['see'] / 'pictures.npz', left=picture, right=picture)
  (paths['see'] / 'curve.json').write_text('[]')
  (paths['pretrain'] / 'rpt').mkdir()
  (paths['pretrain'] / 'rpt' / 'curve.json').write_text('[]')
  rows, runs = [], Runs(config.pretrain, config.quantize)
  entries = cells.cells(config.finetune, runs)
  for task in ('drawer-open-v3', 'door-open-v3'):
    (paths['evaluate'] / task).mkdir()
    for i, cell in enumerate(entries):
      film = np.full((5, 84, 84, 3), i, np.uint8)
      success = np.zeros((2, 3), bool)
      success[0, 0] = cell.method == 'finetune'
      np.savez(paths['evaluate'] / task / f'{cell.name}.npz', film=film,
               outcome=success, steps=np.ones((2, 3)))  # fmt: skip
      rows += [
        score(name, i / 10, env=task, **cell.tags)
        for name in ('success', 'score')
      ]
  artifact = json.dumps({'rows': rows, 'costs': []})
  (paths['evaluate'] / 'artifact.json').write_text(artifact)
  return paths


def test_films_are_those_of_the_fewest_demonstrations(config, inputs):
  rows = json.loads((inputs['evaluate'] / 'artifact.json').read_text())['rows']
  filmed = cells.filmed(config.finetune, Runs(config.pretrain, config.quantize))
  films = report._rollouts(domains.of(config), filmed, inputs, rows)
  assert [(r.env, r.method, r.demos) for r in films] == [
    (task, method, 10)
    for task in ('drawer-open-v3', 'door-open-v3')
    for method in ('scratch', 'probe', 'finetune')
  ]
  assert [r.outcome for r in films[:3]] == ['failed', 'failed', 'succeeded']
  assert [r.score for r in films[:3]] == [0.3, 0.4, 0.5]
  assert [int(r.frames_THW3.max()) for r in films[:3]] == [3, 4, 5]
  assert {r.steps_per_second for r in films} == {16.0}


def test_a_config_without_units_has_a_page(config, inputs, tmp_path):
  assert config.quantize is None
  assert report.run(config, inputs, tmp_path, pipeline='') == []
  page = (tmp_path / 'report.html').read_text()
  assert 'id="success"' in page and 'id="rollouts"' in page
  assert 'id="explorer"' not in page
  assert 'drawer-open-v3. Never seen: door-open-v3.' in page
  assert page.count('>unseen</span>') == 2, 'a table a number of demos'


@pytest.mark.parametrize('main, shown', [('rpt', 'a'), ('units', 'clip_mean')])
def test_units_of_a_page_whose_main_run_has_none(
  main, shown, monkeypatch, tmp_path
):
  """Those of the first recipe; else those that the main run learns from."""
  config = rpt.get_config('quicktest')
  config.iterations = 1
  recipe = config.quantize.recipes.clip_mean
  config.quantize.recipes = {'a': recipe, 'clip_mean': recipe}
  config.pretrain.main = main
  c = checks.experiment(config)
  monkeypatch.setattr(exploring, 'gather', lambda places, *_: places)
  inputs = {'pretrain': tmp_path}
  trunks = report._trunks(c.pretrain, c.quantize, domains.of(c), inputs)
  assert trunks['futures'] == []  # No run generates units.
  assert trunks['main_recipe'] == shown
  assert [place.name for place in trunks['explored']] == ['coffee-button-v3']
  assert trunks['main_run'] == main and trunks['base_recipe'] is None
  assert trunks['unseen'] == ('plate-slide-v3',)
  described = report._described(Runs(c.pretrain, c.quantize))
  assert {r['recipe'] for r in described.values()} == {'', 'clip_mean'}
