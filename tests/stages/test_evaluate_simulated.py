"""Cells played one by one, kept as they end, and what their rows say."""

import functools
import types

import numpy as np
import pytest

from configs import rpt
from rpt_jax.domains import metaworld
from rpt_jax.domains.playing import SeedWeights
from rpt_jax.envs.metaworld.simulators import Outcome
from rpt_jax.learning import cells, checks
from rpt_jax.learning.policies import Policies
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Cell
from rpt_jax.stages import compare, evaluate

EPISODES, SEEDS = 4, 2


@functools.cache
def config():
  c = rpt.get_config('quicktest')
  c.evaluate.episodes = EPISODES
  c.iterations, c.pretrain.main = 1, 'rpt'
  return checks.experiment(c)


class Named:
  """A policy in name; simulators are faked and ask nothing but who it is."""

  model = None

  def __init__(self, cell):
    self.program = cell

  def save(self, folder, rows):
    folder.mkdir(parents=True)
    text = f'{self.program.name} {rows[0]["value"]}'
    (folder / 'config.json').write_text(text)


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
  """What a fake simulator plays, see `fake`."""

  def succeeds(cell, seeds):
    assert len(seeds) == EPISODES
    return np.arange(EPISODES) < (3 if cell.method == 'finetune' else 1)

  return fake(monkeypatch, succeeds)


def fake(monkeypatch, succeeds):
  """Fakes the simulator; returns what was played: (task, cell, seed, seeds).

  `succeeds(cell, seeds)` are the successes of these episodes.
  """
  log, starts = [], {}

  def actors(policies, evaluate, encoder, encode):
    del encoder, encode
    own = np.arange(SEEDS)[:, None]
    weights = SeedWeights(None, own, lambda split: {})
    return types.SimpleNamespace(
      seeds=lambda task, cell: (Named(cell), weights),
      evaluate=evaluate,
      policies=policies,
    )

  def on_host(cell, own, batch, seed, first, said):
    assert own == seed and said == {}
    return lambda observation: (cell, seed, first)

  def play(lanes, act, seeds, films=0):
    cell, seed, first = act({})
    start = starts.setdefault((lanes.task, seed), seeds[0])
    assert seeds[0] == start + first
    log.append((lanes.task, cell, seed, tuple(seeds)))
    film = [np.zeros((5, 8, 8, 3), np.uint8)] * films
    return Outcome(succeeds(cell, seeds), np.full(len(seeds), 9), film)

  def card(task, cell, finetune, model, rows, learnt_from, seed):
    assert [each.name for each in learnt_from] == ['coffee-button-v3']
    return {'rows': rows}

  monkeypatch.setattr(evaluate.acting, 'actors', actors)
  monkeypatch.setattr(evaluate.cards, 'policy', card)
  monkeypatch.setattr(SeedWeights, 'of', lambda self, seed: seed)
  monkeypatch.setattr(Policies, 'streams', ())
  monkeypatch.setattr(metaworld.playing, 'on_host', on_host)
  monkeypatch.setattr(metaworld.simulators, 'play', play)
  monkeypatch.setattr(metaworld.simulators, 'Simulators', Lanes)
  return log


def entries():
  c = config()
  return cells.cells(c.finetune, Runs(c.pretrain, c.quantize, c.iterations))


def test_all_cells_meet_the_same_episodes_and_no_seed_those_of_another(
  played, tmp_path
):
  evaluate.run(config(), {'collect': None}, tmp_path)
  tasks = ('coffee-button-v3', 'plate-slide-v3')
  assert {(task, cell) for task, cell, *_ in played} == {
    (task, cell) for task in tasks for cell in entries()
  }
  met = {seed: {s for *_, k, s in played if k == seed} for seed in range(SEEDS)}
  assert all(len(each) == 1 for each in met.values())
  (first,), (second,) = met[0], met[1]
  assert len(set(first) | set(second)) == SEEDS * EPISODES


def test_a_killed_evaluation_goes_on_at_the_next_cell(played, tmp_path):
  rows = evaluate.run(config(), {'collect': None}, tmp_path)
  before = len(played)
  lost = Cell('rpt', 'probe', 2)
  (tmp_path / 'plate-slide-v3' / f'{lost.name}.npz').unlink()
  again = evaluate.run(config(), {'collect': None}, tmp_path)
  assert [p[:2] for p in played[before:]] == [('plate-slide-v3', lost)] * SEEDS
  assert again == rows


def test_rows_say_how_often_and_how_much_more(played, tmp_path):
  rows = evaluate.run(config(), {'collect': None}, tmp_path)
  (tmp_path / 'artifact.json').write_text('{"rows": []}')
  rows += compare.run(config(), {'evaluate': tmp_path}, tmp_path)

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
  evaluate.run(config(), {'collect': None}, tmp_path)
  kept = tmp_path / 'plate-slide-v3' / 'policy' / 'config.json'
  assert kept.read_text() == 'rpt-finetune-2 0.75'
