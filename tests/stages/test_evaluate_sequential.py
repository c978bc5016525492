"""Cells that end where they are decided: when, what is kept, what rows say."""

import json

import numpy as np
import pytest

from configs import rpt
from rpt_jax.domains import metaworld
from rpt_jax.learning import cells, checks
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Acting, Cell, select
from rpt_jax.stages import compare, evaluate
from tests.stages import test_evaluate_simulated as simulated

EPISODES, LOOK = 20, 8  # Three rounds of 7, of which 20 episodes count.
SEEDS = simulated.SEEDS
TASK = 'coffee-button-v3'
SCRATCH = Cell('none', 'scratch', 1)
OURS, PROBE = Cell('rpt', 'finetune', 1), Cell('rpt', 'probe', 1)


def config(look_every=LOOK, pipelines=1):
  c = rpt.get_config('quicktest')
  c.evaluate.episodes, c.iterations, c.pretrain.main = EPISODES, 1, 'rpt'
  c.domains.metaworld.update(look_every=look_every, unseen=())
  c.pipelines = pipelines
  return checks.experiment(c)


def succeeds(cell, seeds):
  """Fine-tuned ones always, the others in every third episode."""
  return (np.array(seeds) % 3 == 0) | (cell.method == 'finetune')


@pytest.fixture
def played(monkeypatch):
  return simulated.fake(monkeypatch, succeeds)


def run(c, folder):
  return evaluate.run(c, {'collect': None}, folder)


def outcomes(folder):
  """{cell: success [S, n]} of the files there are."""
  return {
    path.stem: np.load(path)['outcome']
    for path in sorted((folder / TASK).glob('*.npz'))
  }


def films(folder):
  return {p.stem for p in (folder / TASK).glob('*.npz') if 'film' in np.load(p)}


def decision(rows, cell):
  return [
    row['value']
    for name in (Acting.DECIDED, Acting.PAIRS)
    for row in select(rows, name, **cell.tags)
  ]


def test_a_clear_difference_ends_early_and_none_does_not(played, tmp_path):
  rows = run(config(), tmp_path)
  success = outcomes(tmp_path)
  scratch_SN = success.pop(SCRATCH.name)
  assert scratch_SN.shape == success[PROBE.name].shape == (SEEDS, EPISODES)
  # Each round of two pairs adds 4 wins in 3, and it takes 11.
  assert success[OURS.name].shape == (SEEDS, 14)
  assert decision(rows, PROBE) == [0, EPISODES]
  assert decision(rows, SCRATCH) == []
  better, pairs = decision(rows, OURS)
  wins_N = (~scratch_SN).sum(0).cumsum()
  assert better == 1 and pairs == np.argmax(wins_N >= 11) + 1 <= 14


def test_a_rate_of_what_ended_early_has_no_interval(played, tmp_path):
  rows = run(config(), tmp_path)
  rates = select(rows, Acting.SUCCESS)
  assert not select(rates, **OURS.tags)
  for cell in (SCRATCH, PROBE):
    (row,) = select(rates, **cell.tags)
    assert row['interval'] and row['tags']['episodes'] == SEEDS * EPISODES


def test_worse_than_scratch_ends_early_too(monkeypatch, tmp_path):
  def fails(cell, seeds):
    return ~succeeds(cell, seeds) | (cell.method == 'scratch')

  simulated.fake(monkeypatch, fails)
  rows = run(config(), tmp_path)
  assert decision(rows, OURS) == [-1, 6]  # Two pairs a round, 11 losses.
  assert outcomes(tmp_path)[OURS.name].shape == (SEEDS, 7)


@pytest.mark.parametrize('look_every', [0, LOOK, 10, EPISODES, 99])
def test_scratch_meets_the_same_episodes_in_rounds(
  look_every, played, tmp_path
):
  run(config(look_every), tmp_path)
  own = [(seed, seeds) for _, cell, seed, seeds in played if cell == SCRATCH]
  met = [
    sum((seeds for k, seeds in own if k == seed), ())[:EPISODES]
    for seed in range(SEEDS)
  ]
  (domain,) = evaluate.domains.of(config(look_every))
  first = domain.first_seed('evaluation')
  assert sum(met, ()) == tuple(range(first, first + SEEDS * EPISODES))
  np.testing.assert_array_equal(
    outcomes(tmp_path)[SCRATCH.name],
    [succeeds(SCRATCH, seeds) for seeds in met],
  )
  rounds = {0: 1, LOOK: 3, 10: 2, EPISODES: 1, 99: 1}[look_every]
  assert len(own) == rounds * SEEDS


def test_without_it_nobody_looks(played, tmp_path, monkeypatch):
  """Nor does it change what is played, filmed or said."""
  monkeypatch.setattr(evaluate.sequential, 'compare', None)
  rows = run(config(0), tmp_path / 'off')
  assert {x.shape for x in outcomes(tmp_path / 'off').values()} == {
    (SEEDS, EPISODES)
  }
  names = {row['name'] for row in rows}
  assert not names & {Acting.DECIDED, Acting.PAIRS}
  monkeypatch.undo()
  simulated.fake(monkeypatch, succeeds)
  again = run(config(EPISODES), tmp_path / 'on')
  off, on = (outcomes(tmp_path / name) for name in ('off', 'on'))
  for name in off:
    np.testing.assert_array_equal(off[name], on[name])
  assert films(tmp_path / 'off') == films(tmp_path / 'on') != set()
  assert [r for r in again if r['name'] in names] == rows


def test_a_kill_in_the_middle_of_a_cell_changes_nothing(
  played, tmp_path, monkeypatch
):
  rows = run(config(), tmp_path / 'whole')
  calls = [p[1] for p in played]
  kill = calls.index(OURS) + SEEDS + 1  # In its second round.
  play, count = metaworld.simulators.play, 0

  def killed(*args, **kwargs):
    nonlocal count
    count += 1
    if count > kill:
      raise KeyboardInterrupt
    return play(*args, **kwargs)

  monkeypatch.setattr(metaworld.simulators, 'play', killed)
  with pytest.raises(KeyboardInterrupt):
    run(config(), tmp_path / 'killed')
  before = outcomes(tmp_path / 'killed')
  assert SCRATCH.name in before and OURS.name not in before
  monkeypatch.setattr(metaworld.simulators, 'play', play)
  played.clear()
  assert run(config(), tmp_path / 'killed') == rows
  assert SCRATCH not in [p[1] for p in played]
  whole, again = (outcomes(tmp_path / n) for n in ('whole', 'killed'))
  assert whole.keys() == again.keys()
  for name in whole:
    np.testing.assert_array_equal(whole[name], again[name])


def test_pipelines_that_end_at_other_episodes(monkeypatch, tmp_path):
  """Rows over both: the least of them, and no interval if any ended early."""
  inputs, c = {}, config(pipelines=2)

  def later(cell, seeds):
    """Here the probe ends early, and what is fine-tuned does not."""
    return (np.array(seeds) % 3 == 0) | (cell.method == 'probe')

  for name, each in (('1', succeeds), ('2', later)):
    simulated.fake(monkeypatch, each)
    folder = tmp_path / name
    rows = run(c, folder)
    (folder / 'artifact.json').write_text(json.dumps({'rows': rows}))
    inputs[f'{name}/evaluate'] = folder
  rows = compare.run(c, inputs, tmp_path)
  tags = {'env': TASK, 'sample': 'pipelines'}
  for cell in (OURS, PROBE):  # Each ended early in one of them.
    (score,) = select(rows, Acting.SCORE, **cell.tags, **tags)
    assert score['interval'] is None
    assert score['tags']['episodes'] == SEEDS * 14
    (decided,) = select(rows, Acting.DECIDED, **cell.tags)
    assert decided['value'] == 0.5
    for name in (Acting.OVER_SCRATCH, Acting.WORTH, Acting.SUCCESS):
      assert not select(rows, name, **cell.tags)
  (score,) = select(rows, Acting.SCORE, **SCRATCH.tags, **tags)
  assert score['interval'] and score['tags']['episodes'] == SEEDS * EPISODES
  every = cells.cells(c.finetune, Runs(c.pretrain, c.quantize, c.iterations))
  assert len(select(rows, Acting.SCORE, **tags)) == len(every)
