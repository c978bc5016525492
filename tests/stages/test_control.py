"""Cells played one by one, kept as they end, and what their rows say."""

import ml_collections
import numpy as np
import pytest

from configs import rpt
from rpt_jax.envs.simulators import Outcome
from rpt_jax.stages import control
from rpt_jax.stages.finetune import Cell, cells

EPISODES, SEEDS = 4, 2


def config():
  c = rpt.get_config('quicktest')
  c.evaluate.episodes = EPISODES
  return ml_collections.FrozenConfigDict(c.to_dict())


class Acting:
  """A policy in name; `play` is faked and asks it nothing but who it is."""

  observed, model = ('proprio',), None

  def __init__(self, cell, seed):
    self.cell, self.seed, self.saved = cell, seed, None

  def reset(self, batch):
    assert batch == EPISODES

  def save(self, folder, rows):
    folder.mkdir(parents=True)
    text = f'{self.cell.name} {self.seed} {rows[0]["value"]}'
    (folder / 'config.json').write_text(text)

  def act(self, observation):
    assert set(observation) == {'proprio'}
    return self.cell, self.seed


class Lanes:
  """Simulators in name."""

  def __init__(self, task, settings, num, workers):
    self.task, self.num = task, num

  def __enter__(self):
    return self

  def __exit__(self, *_):
    pass


@pytest.fixture
def played(monkeypatch):
  """Fakes the simulator; returns what was played: (task, cell, seed, seeds)."""
  log = []

  def policies(config, inputs, name, cell, eye):
    yield from (Acting(cell, seed) for seed in range(SEEDS))

  def play(lanes, act, seeds, films=0):
    cell, seed = act({'proprio': 0, 'corner2': 0})
    log.append((lanes.task, cell, seed, tuple(seeds)))
    success_N = np.arange(EPISODES) < (3 if cell.method == 'finetune' else 1)
    film = [np.zeros((5, 8, 8, 3), np.uint8)] * films
    return Outcome(success_N, np.full(EPISODES, 9), film)

  def told(config, model, name, cell, rows):
    return {'rows': rows}

  monkeypatch.setattr(control.policies, 'build', policies)
  monkeypatch.setattr(control.shared, 'policy', told)
  monkeypatch.setattr(control.simulators, 'play', play)
  monkeypatch.setattr(control.simulators, 'Simulators', Lanes)
  monkeypatch.setattr(control.encode, 'load_model', lambda *_: None)
  return log


def test_all_cells_meet_the_same_episodes_and_no_seed_those_of_another(
  played, tmp_path
):
  control.run(config(), {}, tmp_path)
  tasks = ('coffee-button-v3', 'plate-slide-v3')
  assert {(task, cell) for task, cell, *_ in played} == {
    (task, cell) for task in tasks for cell in cells(config())
  }
  met = {seed: {s for *_, k, s in played if k == seed} for seed in range(SEEDS)}
  assert all(len(each) == 1 for each in met.values())
  (first,), (second,) = met[0], met[1]
  assert len(set(first) | set(second)) == SEEDS * EPISODES


def test_a_killed_evaluation_goes_on_at_the_next_cell(played, tmp_path):
  rows = control.run(config(), {}, tmp_path)
  before = len(played)
  lost = Cell('rpt', 'probe', 2)
  (tmp_path / 'plate-slide-v3' / f'{lost.name}.npz').unlink()
  again = control.run(config(), {}, tmp_path)
  assert [p[:2] for p in played[before:]] == [('plate-slide-v3', lost)] * SEEDS
  assert again == rows


def test_rows_say_how_often_and_how_much_more(played, tmp_path):
  rows = control.run(config(), {}, tmp_path)

  def of(name, env, **tags):
    (row,) = [
      r
      for r in rows
      if r['name'] == name
      and r['tags']['env'] == env
      and all(r['tags'][k] == v for k, v in tags.items())
    ]
    return row

  ours = {'run': 'rpt', 'method': 'finetune', 'demos': 1}
  row = of('success', 'coffee-button-v3', **ours)
  assert row['value'] == 0.75 and row['tags']['episodes'] == SEEDS * EPISODES
  assert 0.3 < row['interval'][0] < 0.75 < row['interval'][1] < 1
  assert of('score', 'all', **ours)['value'] == 0.75
  assert of('paired_difference', 'unseen', **ours)['value'] == 0.5
  question = {'question': 'masked over generative'}
  assert of('comparison', 'unseen', **question)['value'] == 0


def test_the_policy_of_most_demonstrations_is_kept_with_its_success(
  played, tmp_path
):
  control.run(config(), {}, tmp_path)
  kept = tmp_path / 'plate-slide-v3' / 'policy' / 'config.json'
  assert kept.read_text() == 'rpt-finetune-2 0 0.75'
