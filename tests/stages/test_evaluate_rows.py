"""What is taken together, and who plays, where domains are of several kinds."""

import types

import numpy as np
import pytest

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.domains.playing import Scored
from rpt_jax.results import Cell, select
from rpt_jax.stages import compare, evaluate

SCRATCH, OURS = Cell('none', 'scratch', 1), Cell('next', 'finetune', 1)


def domain(name, measure, seen=True, together=True):
  """A domain in name."""
  return types.SimpleNamespace(
    name=name,
    measure=measure,
    seen=seen,
    together=together,
    sequential=False,
  )


PLACES = (
  domain('pole', measures.RETURN),
  domain('door', measures.SUCCESS, together=False),
  domain('window', measures.SUCCESS, seen=False, together=False),
  domain('log', measures.PREDICTION, together=False),
)
VALUES = {'pole': 0.9, 'door': 0.5, 'window': 0.25, 'log': -3.0}


@pytest.fixture(scope='module')
def rows():
  score = {
    (place.name, cell): np.full((3, 1, 4), VALUES[place.name] * gain)
    for place in PLACES
    for cell, gain in ((SCRATCH, 0.5), (OURS, 1.0))
  }
  question = {'ours over scratch': ('next', 'none:scratch')}
  comparisons, foretold = (question, (1,)), ([[], [], []], {})
  return compare._rows_by_measure(PLACES, score, comparisons, foretold)


def test_numbers_of_unlike_scales_are_not_averaged(rows):
  ours = select(rows, 'score', **OURS.tags)
  assert {
    (r['tags']['env'], r['tags']['measure']): r['value'] for r in ours
  } == {
    ('pole', 'return'): 0.9,
    ('all', 'return'): 0.9,
    ('door', 'success'): 0.5,
    ('all', 'success'): 0.5,
    ('window', 'success'): 0.25,
    ('unseen', 'success'): 0.25,
    ('log', 'prediction'): -3.0,
    ('all', 'prediction'): -3.0,
  }


def test_every_measure_has_differences_and_comparisons(rows):
  for name in ('paired_difference', 'comparison'):
    by_measure = {
      measure: [r['value'] for r in select(rows, name, measure=measure)]
      for measure in ('return', 'success', 'prediction')
    }
    assert by_measure == {
      'return': [0.45, 0.45],
      'success': [0.25, 0.25, 0.125, 0.125],
      'prediction': [-1.5, -1.5],
    }


def test_a_domain_tells_of_itself_once_and_of_every_cell():
  scored = {
    cell: Scored(
      np.zeros((3, 4)), {'success': (0.5, (0.2, 0.8))}, {'copy': 0.7}
    )
    for cell in (SCRATCH, OURS)
  }
  own = evaluate._own_rows(PLACES[1], scored)
  (once,) = select(own, 'copy')
  assert once['tags'] == {'env': 'door', 'measure': 'success'}
  each = select(own, 'success')
  assert [r['tags']['method'] for r in each] == ['scratch', 'finetune']
  assert {(r['seeds'], r['tags']['episodes']) for r in each} == {(3, 12)}


@pytest.mark.parametrize('together', [False, True])
def test_others_wait_for_what_the_first_plays_alone(
  together, tmp_path, monkeypatch
):
  """Where all play, they are asked for each cell; else nobody asks them."""
  waited, asked = [], []

  def agree(value):
    asked.append(value)
    return False  # The first process has all cells.

  monkeypatch.setattr(evaluate.distributed, 'is_first', lambda: False)
  monkeypatch.setattr(evaluate.distributed, 'await_file', waited.append)
  monkeypatch.setattr(evaluate.distributed, 'agree', agree)
  monkeypatch.setattr(evaluate.cells, 'cells', lambda *_: [SCRATCH, OURS])
  policies = types.SimpleNamespace(finetune=None, runs=None)
  actors = {'': types.SimpleNamespace(policies=policies, evaluate=None)}
  place = domain('pole', measures.RETURN, together=together)
  evaluate._play(place, actors, None, tmp_path)
  paths = [tmp_path / f'{cell.name}.npz' for cell in (SCRATCH, OURS)]
  assert (waited, len(asked)) == (([], 2) if together else (paths, 0))


def test_means_are_over_what_all_pipelines_have_however_many_episodes():
  """Of failures each pipeline has another number, which is then not said."""

  def own(value, episodes):
    tags = {'env': 'x', 'monitor': 'stac'}
    return [
      results.row('evaluate', 'detected', value, episodes=episodes, **tags),
      results.row('evaluate', 'watched', 2 * value, episodes=8, **tags),
    ]

  alone = [results.row('evaluate', 'detected', 0.0, monitor='spread')]
  detected, watched = compare._means([own(0.2, 5), own(0.4, 7) + alone])
  assert detected['value'] == pytest.approx(0.3) and detected['seeds'] == 2
  assert 'episodes' not in detected['tags']
  assert watched['tags']['episodes'] == 8
