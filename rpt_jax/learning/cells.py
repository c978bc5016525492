"""The entries of the results table: run, method, demonstrations."""

from rpt_jax import settings
from rpt_jax.learning.runs import Runs
from rpt_jax.results import (
  FINETUNE,
  HEAD_FIRST,
  NO_RUN,
  PROBE,
  SCRATCH,
  TUNED,
  Cell,
)


def cells(finetune: settings.Finetune, runs: Runs) -> list[Cell]:
  """Every cell of a domain: the demo curve, controls, other runs, tuned ones.

  Controls learn from scratch on another encoder's latents.
  """
  c, main = finetune, runs.shared.main
  result = []
  for n in c.demos:
    result += [Cell(NO_RUN, SCRATCH, n)]
    result += [Cell(NO_RUN, SCRATCH, n, eyes=eyes) for eyes in c.eyes]
    result += [Cell(main, method, n) for method in c.methods]
  for run in runs.all():
    result += [
      Cell(run, method, n) for n in c.run_demos for method in c.run_methods
    ]
  for mode in c.tuned.modes:
    result += [Cell(main, TUNED, n, mode) for n in c.tuned.demos]
  return [cell for cell in dict.fromkeys(result) if _used(c, cell)]


def _used(c, cell):
  """Whether the method of a cell is used at as many demonstrations."""
  if cell.method == TUNED:
    return True
  demos = _method(c, cell).demos
  return not demos or cell.demos in demos


def _method(c, cell):
  return c.eyes[cell.eyes] if cell.eyes else getattr(c, cell.method)


def learning(finetune: settings.Finetune, cell: Cell) -> tuple[int, float]:
  """(steps, learning rate) of a cell, but for tuned ones."""
  method = _method(finetune, cell)
  at = finetune.demos.index(cell.demos)
  steps, rate = (
    x[min(at, len(x) - 1)] for x in (method.steps, method.learning_rate)
  )
  return steps, rate


def kept(finetune: settings.Finetune, runs: Runs) -> Cell:
  """The cell whose first policy is saved: most demonstrations, fine-tuned.

  Where nothing is fine-tuned it is a probe, head first, or scratch.
  """
  every = [c for c in cells(finetune, runs) if c.method != TUNED and not c.eyes]
  order = SCRATCH, HEAD_FIRST, PROBE, FINETUNE
  own = [c for c in every if c.run in (runs.shared.main, NO_RUN)]
  return max(own, key=lambda c: (order.index(c.method), c.demos))


def filmed(finetune: settings.Finetune, runs: Runs) -> list[Cell]:
  """The cells of which the page has a film: scratch, probe, fine-tuned."""
  few, main = finetune.run_demos[0], runs.shared.main
  methods = [m for m in (PROBE, FINETUNE) if m in finetune.methods]
  return [Cell(NO_RUN, SCRATCH, few), *(Cell(main, m, few) for m in methods)]


def compared(words: str, demos: int) -> Cell:
  """The cell that 'run' (fine-tuned), 'run:probe' or 'none:scratch' names.

  'none:scratch:edges' has other eyes.
  """
  run, method, eyes, *_ = *words.split(':'), '', ''
  return Cell(run, method or FINETUNE, demos, eyes=eyes)
