"""Which cells there are, and what stands beside each."""

import pytest

from rpt_jax.learning import cells
from rpt_jax.results import Cell
from tests.learning import tiny

MODES = ('frozen', 'last:1', 'lora:2', 'full')


def of(**changes):
  c = tiny.experiment(**changes)
  return cells.cells(c.finetune, tiny.runs(c))


def test_every_run_has_a_cell_and_scratch_beside_it():
  entries = of(finetune__demos=(1, 4), finetune__run_demos=(4,))
  assert len(set(entries)) == len(entries)
  runs = {cell.run for cell in entries}
  assert runs == {'none', 'next', 'masked_raw', 'next_2'}
  for cell in entries:
    assert Cell('none', 'scratch', cell.demos) in entries


def test_runs_without_scratch_are_refused():
  with pytest.raises(ValueError, match='run_demos'):
    of(finetune__demos=(1,), finetune__run_demos=(4,))


def test_every_mode_is_a_cell_beside_its_frozen_twin():
  plain = of(finetune__tuned__demos=(4,))
  entries = of(finetune__tuned__demos=(4,), finetune__tuned__modes=MODES)
  through = [cell for cell in entries if cell.method == 'tuned']
  assert [cell.encoder for cell in through] == list(MODES)
  assert all(cell.untuned in entries for cell in through)
  names = [cell.name for cell in entries]
  assert len(set(names)) == len(names) and 'next-tuned-4-lora2' in names
  assert plain == [cell for cell in entries if cell.method != 'tuned']


def test_what_is_kept_and_filmed_is_among_them():
  c = tiny.experiment()
  entries = of()
  kept = cells.kept(c.finetune, tiny.runs(c))
  assert kept == Cell('next', 'finetune', 4) and kept in entries
  filmed = cells.filmed(c.finetune, tiny.runs(c))
  assert [cell.name for cell in filmed] == [
    'none-scratch-4',
    'next-probe-4',
    'next-finetune-4',
  ]
  assert set(filmed) <= set(entries)
