"""Whole pipelines side by side: what each is, and what all say together."""

import json

import numpy as np
import pytest

from rpt_jax import results, settings
from rpt_jax.learning import checks
from rpt_jax.stages import pipeline
from tests.learning import tiny

PIPELINES = 2
pytestmark = pytest.mark.slow  # Each pipeline compiles for itself.


@pytest.fixture(scope='module')
def both(tmp_path_factory):
  """(workdir, rows) of two pipelines that see the true state."""
  config = tiny.config(
    domains__gymnax__envs=('MountainCar-v0',),
    encoder='state',
    iterations=1,
    pipelines=PIPELINES,
  )
  config.domains.gymnax.update(demos=2, score_episodes=8)
  config.domains.gymnax.update(pretrain_clips=4, heldout_clips=2, clip_length=8)
  settings.keep(config.pretrain.runs, 'next')
  config.finetune.update(seeds=1, demos=(1, 2), methods=('probe',))
  config.finetune.update(run_demos=(1,), run_methods=('probe',))
  settings.all_methods(config.finetune, steps=3)
  config.evaluate.episodes = 4
  workdir = tmp_path_factory.mktemp('both')
  rows = pipeline.run(checks.experiment(config), workdir)
  return workdir, rows


def scores(workdir, i):
  with np.load(workdir / f'pipeline_{i}/evaluate/scores.npz') as arrays:
    return dict(arrays)


def test_each_pipeline_has_a_seed_and_episodes_of_its_own(both):
  workdir, rows = both
  returns = [
    row['value']
    for row in rows
    if row['name'] == 'expert_return' and 'pipeline' in row['tags']
  ]
  assert len(set(returns)) == PIPELINES
  own = [scores(workdir, i) for i in range(PIPELINES)]
  assert set(own[0]) == set(own[1])
  for x_SN in own[0].values():
    assert x_SN.shape == (1, 4)


def test_scores_are_means_over_pipelines_with_their_interval(both):
  workdir, rows = both
  (row,) = results.select(rows, 'score', method='probe', demos=2, run='next')[
    :1
  ]
  name = f'{row["tags"]["env"]}/next-probe-2'
  each = [scores(workdir, i)[name].mean() for i in range(PIPELINES)]
  assert row['value'] == pytest.approx(np.mean(each))
  assert row['seeds'] == PIPELINES and row['tags']['sample'] == 'pipelines'
  low, high = row['interval']
  assert low <= np.mean(each) <= high


def test_what_else_was_measured_is_a_mean_too(both):
  _, rows = both
  together = results.select(rows, 'state_r2', features='next')
  single = [
    row['value']
    for i in range(PIPELINES)
    for row in results.select(rows, 'state_r2', features='next', pipeline=i)
  ]
  assert len(together) == 1 and len(single) == PIPELINES
  assert together[0]['value'] == pytest.approx(np.mean(single))


def test_a_second_run_does_nothing_again(both):
  workdir, rows = both
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob('artifact.json')}
  config = json.loads((workdir / 'config.json').read_text())
  experiment = settings.read(settings.Experiment, config)
  assert pipeline.run(experiment, workdir) == rows
  after = {p: p.stat().st_mtime_ns for p in workdir.rglob('artifact.json')}
  assert after == before


def test_stages_are_named_for_one_pipeline_or_for_all(both, capsys):
  workdir, _ = both
  config = json.loads((workdir / 'config.json').read_text())
  experiment = settings.read(settings.Experiment, config)
  pipeline.run(experiment, workdir, only=('probe', 'compare'))
  capsys.readouterr()
  pipeline.run(experiment, workdir, only=('pipeline_1',))
  lines = capsys.readouterr().out.splitlines()
  assert lines and all('] pipeline_1/' in line for line in lines)
  with pytest.raises(ValueError, match='unknown .*pipeline_2/probe'):
    pipeline.run(experiment, workdir, only=('pipeline_2/probe',))


@pytest.mark.slow
def test_a_grid_is_played_and_goes_on_where_it_was_killed(both):
  """With all steps and rates; scores of every point, and the best of them."""
  workdir, _ = both
  config = json.loads((workdir / 'config.json').read_text())
  config['tune'] = {'steps': (2, 4), 'learning_rate': (1e-3, 1e-1)}
  config['tune']['probe_learning_rate'] = (1e-2, 1e-1)
  experiment = settings.read(settings.Experiment, config)
  only = ('tune', 'compare')
  rows = pipeline.run(experiment, workdir, only=only)
  scored = results.select(rows, 'tuning_score', method='probe', demos=2)
  points = {(r['tags']['steps'], r['tags']['rate']) for r in scored}
  assert points == {(2, 1e-2), (2, 1e-1), (4, 1e-2), (4, 1e-1)}
  chosen = results.select(rows, 'best_steps', method='scratch', demos=1)
  assert len(chosen) == 1 and chosen[0]['value'] in (2, 4)
  folder = workdir / 'pipeline_1/tune'
  (folder / 'artifact.json').unlink()
  (folder / 'MountainCar-v0/next-probe-2.json').unlink()
  again = pipeline.run(experiment, workdir, only=only)
  assert results.select(again, 'tuning_score') == results.select(
    rows, 'tuning_score'
  )
