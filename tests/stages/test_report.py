"""A page from the folders of a run on Meta-World, without units or probes."""

import json

import numpy as np
import pytest

from configs import rpt
from rpt_jax.stages import finetune, report

INPUTS = ('collect', 'frames', 'mae', 'encode', 'pretrain', 'finetune')


def score(name, value, **tags):
  return {
    'stage': 'control', 'name': name, 'value': value, 'seeds': 2,
    'interval': [value - 0.1, value + 0.1], 'tags': tags,
  }  # fmt: skip


@pytest.fixture
def config():
  config = rpt.get_config()
  config.metaworld.tasks = ('drawer-open-v3',)
  config.finetune.update(demos=(50, 10), run_demos=(10,))
  return config


@pytest.fixture
def inputs(config, tmp_path):
  """Folders as the stages leave them."""
  found = {name: tmp_path / name for name in (*INPUTS, 'control')}
  for path in found.values():
    path.mkdir()
    (path / 'artifact.json').write_text('{"rows": [], "costs": []}')
  picture = np.zeros((1, 8, 8, 3), np.uint8)
  np.savez(found['mae'] / 'reconstructions.npz', image=picture,
           masked=picture, pasted=picture)  # fmt: skip
  (found['mae'] / 'curve.json').write_text('[]')
  (found['pretrain'] / 'rpt').mkdir()
  (found['pretrain'] / 'rpt' / 'curve.json').write_text('[]')
  rows = []
  for task in ('drawer-open-v3', 'door-open-v3'):
    (found['control'] / task).mkdir()
    for i, cell in enumerate(finetune.cells(config)):
      film = np.full((5, 84, 84, 3), i, np.uint8)
      success = np.zeros((2, 3), bool)
      success[0, 0] = cell.method == 'finetune'
      np.savez(found['control'] / task / f'{cell.name}.npz', film=film,
               success=success, steps=np.ones((2, 3)))  # fmt: skip
      rows.append(score('success', i / 10, env=task, **cell._asdict()))
  artifact = json.dumps({'rows': rows, 'costs': []})
  (found['control'] / 'artifact.json').write_text(artifact)
  return found


def test_films_are_those_of_the_fewest_demonstrations(config, inputs):
  rows = json.loads((inputs['control'] / 'artifact.json').read_text())['rows']
  found = report._played(config, inputs, rows)
  assert [(r.env, r.method, r.demos) for r in found] == [
    (task, method, 10)
    for task in ('drawer-open-v3', 'door-open-v3')
    for method in ('scratch', 'probe', 'finetune')
  ]
  assert [r.outcome for r in found[:3]] == ['failed', 'failed', 'succeeded']
  assert [r.score for r in found[:3]] == [0.3, 0.4, 0.5]
  assert [int(r.frames_THW3.max()) for r in found[:3]] == [3, 4, 5]
  assert {r.steps_per_second for r in found} == {16.0}


def test_a_config_without_units_has_a_page(config, inputs, tmp_path):
  assert 'quantize' not in config
  assert report.run(config, inputs, tmp_path) == []
  page = (tmp_path / 'report.html').read_text()
  assert 'id="success"' in page and 'id="rollouts"' in page
  assert 'id="timelines"' not in page and 'id="galleries"' not in page
  assert 'Never seen in pretraining: door-open-v3.' in page
  assert page.count('>unseen</span>') == 2, 'a table a number of demos'


def test_units_of_a_page_whose_main_run_has_none():
  config = rpt.get_config('quicktest')
  config.quantize.recipes.a = config.quantize.recipes.clip_mean
  assert report._shown_recipe(config) == 'a', 'the first one'
  config.pretrain.main = 'units'
  assert report._shown_recipe(config) == 'clip_mean'
  assert {r['recipe'] for r in report._runs(config).values()} == {
    '', 'clip_mean',
  }  # fmt: skip
