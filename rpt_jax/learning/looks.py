"""A policy looked at as it learns: the parameters that do best are kept.

With `config.finetune.heldout` a policy does not learn from some of its own
demonstrations, the last in its order. Ten times in its training its loss on
them is looked at, and what it was at the least of them is kept. No other label
is used, and nothing that scores are made with is seen. One demonstration has
none to hold out: the last parameters are kept, as they are without the key.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import files, settings
from rpt_jax.learning import cells, cloning, demonstrations
from rpt_jax.learning.runs import Runs
from rpt_jax.models import sequence
from rpt_jax.results import NO_RUN, TUNED, Cell
from rpt_jax.training import sharding
from rpt_jax.types import Array

_LOOKS = 10
_WINDOWS = 128  # Held-out ones of a look.


class Looks(NamedTuple):
  """What was seen of each seed [S]: of its kept parameters, and the last.

  Attributes:
    step: after which the parameters are kept.
    loss: theirs on the held-out windows.
    last: the same after the last step.
  """

  step: Array
  loss: Array
  last: Array


class Kept(NamedTuple):
  """The cell whose first policy is saved, and why it is that, in words."""

  cell: Cell
  why: str


def count(demos: int, share: float) -> int:
  """How many of so many demonstrations are held out; none of one."""
  return min(max(1, round(share * demos)), demos - 1) if share else 0


def windows(
  demos: demonstrations.Demos, num_demos: int, held: int, seed: int, seeds: int
) -> np.ndarray:
  """Windows [S, W] of the last `held` demonstrations of each seed, evenly."""
  size = len(demos.data['action'])
  picks_SN, count_S = demonstrations.picks(
    demos, num_demos, size, seed, seeds, first=num_demos - held
  )
  places_S = [np.linspace(0, n - 1, _WINDOWS).round() for n in count_S]
  return np.stack(
    [
      picks_N[places.astype(int)]
      for picks_N, places in zip(picks_SN, places_S, strict=True)
    ]
  )


@functools.cache
def trainer(
  model: sequence.SequenceModel,
  c: settings.Finetune,
  frozen: bool,
  mesh: jax.sharding.Mesh,
):
  """As `cloning.trainer`, with held-out windows [S, W] before its arguments.

  It returns (params, loss of the last tenth, Looks)_S.
  """

  def train(look_W, *own):
    one = cloning.loop(model, c, frozen, mesh, *own)
    every = one.steps // _LOOKS

    def look(i, carry):
      run, kept, seen = carry
      stop = jnp.where(i == _LOOKS - 1, one.steps, (i + 1) * every)
      run = jax.lax.fori_loop(i * every, stop, one.body, run)
      params, _ = one.learned(run)
      loss = one.judge(params, look_W)
      is_best = (loss < seen.loss) & (stop > 0)
      kept = jax.tree.map(lambda x, y: jnp.where(is_best, x, y), params, kept)
      step, least = (
        jnp.where(is_best, x, y)
        for x, y in ((stop, seen.step), (loss, seen.loss))
      )
      return run, kept, Looks(step, least, loss)

    params, _ = one.learned(one.start)
    nothing = Looks(jnp.int32(0), jnp.float32(jnp.inf), jnp.float32(jnp.inf))
    start = one.start, params, nothing
    run, kept, seen = jax.lax.fori_loop(0, _LOOKS, look, start)
    return kept, one.learned(run)[1], seen

  return jax.jit(
    jax.vmap(train, in_axes=(0, *cloning.LANES)),
    out_shardings=sharding.replicated(mesh),
  )


def save(path: Path, looks: Looks) -> None:
  """Writes what was seen of a cell beside its parameters."""
  values = {
    k: np.asarray(x, float).tolist() for k, x in looks._asdict().items()
  }
  files.write_json(path.with_suffix('.looks.json'), values)


def load(path: Path) -> Looks | None:
  """What was seen of a cell; None where nobody looked."""
  path = path.with_suffix('.looks.json')
  if not path.exists():
    return None
  return Looks(**files.read_json(path, *Looks._fields))


def kept(
  finetune: settings.Finetune, runs: Runs, looks: Mapping[Cell, Looks]
) -> Kept:
  """The cell that is saved: the best on held-out windows, where some looked.

  Of the main run and of scratch, on most demonstrations, by the first seed's
  loss on those that none of them learned from. Otherwise as `cells.kept` says.
  """
  usual = cells.kept(finetune, runs)
  if usual not in looks:
    return Kept(
      usual,
      f'It is {_called(usual)} on {usual.demos} demonstrations, the first of '
      f'{finetune.seeds} seeds, after its last step; no score chose it.',
    )
  loss = {
    cell: seen.loss[0]
    for cell, seen in looks.items()
    if cell.demos == usual.demos
    and not cell.eyes
    and cell.method != TUNED
    and cell.run in (runs.shared.main, NO_RUN)
  }
  best = min(loss, key=loss.get)
  held = count(best.demos, finetune.heldout)
  steps, _ = cells.learning(finetune, best)
  against = ', '.join(f'{_called(c)} {x:.4g}' for c, x in loss.items())
  step, last = looks[best].step[0], looks[best].last[0]
  more = f' (after the last step: {last:.4g})' if step < steps else ''
  return Kept(
    best,
    f'It is {_called(best)}, the first of {finetune.seeds} seeds, after step '
    f'{step:.0f} of {steps}: the least loss on {held} of its {best.demos} '
    f'demonstrations, from which it did not learn{more}. Compared on them: '
    f'{against}.',
  )


def _called(cell):
  return cell.method if cell.run == NO_RUN else f'{cell.method} ({cell.run})'
