"""Pretraining one run: its windows, its loss, its trainer."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import settings
from rpt_jax.episodes import loader, mixture, scales, stack, windows
from rpt_jax.learning import streams
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models import heads, sequence
from rpt_jax.training import optimizer, sharding, step, trainer
from rpt_jax.types import UNIT, Batch, PyTree, StreamSpec

SETTINGS = 'settings'  # Of the objective: numbers that are traced.
_FITTED = 1 << 18  # Rows at most that constants of heads are fitted to.
Constants = Mapping[str, dict[str, np.ndarray]]  # {head: {name: array}}


class Part(NamedTuple):
  """Clips of one domain, and the share of windows that comes from them."""

  clips: windows.Clips
  weight: float = 0.0  # 0: by their number


def needed(runs: Mapping[str, PretrainingRun]) -> tuple[str, ...]:
  """The streams that runs read or predict, of those that are recorded."""
  names = [s for run in runs.values() for s in (*run.streams, *run.targets)]
  return tuple(s for s in dict.fromkeys(names) if s != UNIT)


def clips(
  run: PretrainingRun,
  parts: Sequence[Part],
  specs: Mapping[str, StreamSpec],
  unit_NL: np.ndarray | None,
  **drawn,
) -> windows.Clips:
  """What a run learns from: clips of all parts, units beside them.

  Args:
    unit_NL: of the first parts, in order; later parts have none.
    drawn: `labelled`, `instructed` and `seed` of `streams.join`.
  """
  inputs, targets = (
    [run.spec(s, specs) for s in names] for names in (run.streams, run.targets)
  )
  chosen = {s.name for s in (*inputs, *targets)}
  parts = [_only(part.clips, chosen) for part in parts]
  if UNIT in chosen:
    parts = _with_units(parts, unit_NL)
  return streams.join(parts, inputs, targets, **drawn)


def _only(clips, names):
  arrays = {k: x for k, x in clips.arrays.items() if k in names}
  return windows.Clips(arrays, clips.lengths)


def _with_units(parts, unit_NL):
  start, joined = 0, []
  for part in parts:
    stop = start + int(part.lengths.sum())
    own = stop <= len(unit_NL)
    unit = {UNIT: stack.cut(unit_NL, start, stop)} if own else {}
    joined.append(windows.Clips(part.arrays | unit, part.lengths))
    start = stop
  return joined


def constants(
  model: sequence.SequenceModel,
  clips: Callable[[], windows.Clips],
  measured: Mapping[str, scales.Scale],
) -> Constants:
  """What the heads of a model fit to the streams they give.

  `clips` joins what a run learns from; it is called where a head has constants.
  """
  fitted = {spec.name: spec for spec in model.heads if heads.fits(spec)}
  if not fitted:
    return {}
  arrays = clips().arrays
  arrays = {
    name: arrays[name][windows.spread(len(arrays[name]), _FITTED)]
    for name in fitted
  }
  arrays = streams.scaled(arrays, measured)
  return {name: heads.fit(spec, arrays[name]) for name, spec in fitted.items()}


def loss_fn(
  run: PretrainingRun,
  model: sequence.SequenceModel,
  constants: Constants,
  heldout: bool = False,
) -> Callable:
  """(params, batch of `batches`, key, teacher=None) -> (loss, metrics).

  `teacher` are the parameters that the objective asks for, if it does; where
  windows are `heldout`, it may measure more on them.
  """

  def loss(params, batch, key, teacher=None):
    traced = dataclasses.replace(run.settings.objective, **batch[SETTINGS])
    windows = _windows(model, batch)
    apply = sequence.bind(model, params, constants)
    if teacher is not None:
      teacher = sequence.bind(model, teacher, constants)
    value, metrics = run.objective.loss(apply, windows, key, traced, teacher)
    if heldout and hasattr(run.objective, 'heldout'):
      metrics |= run.objective.heldout(apply, windows, key, traced)
    return value, metrics

  return loss


def _windows(model, batch) -> Batch:
  """A batch of `batches` as objectives take it."""
  masks, steps = ('valid', 'present', SETTINGS), slice(None, model.context)
  arrays = {k: x for k, x in batch.items() if k not in masks}
  seen = {s.name: arrays[s.name][:, steps] for s in model.streams}
  return Batch(
    inputs=streams.in_windows(seen),
    targets=arrays,
    valid=batch['valid'][:, steps],
    target_valid=batch['valid'],
    present=batch['present'][:, steps],
  )


def futures(
  run: PretrainingRun,
  model: sequence.SequenceModel,
  params: PyTree,
  clips: windows.Clips,
  parts: Sequence[Part],
  measured: Mapping[str, scales.Scale],
  key: jax.Array,
  draws: int,
) -> dict[str, np.ndarray]:
  """What a run that generates units makes of a window of every part.

  Returns:
    'row_BS', the steps of each window, around the middle of the longest clip of
    its part, counted over all `clips`; 'unit_SBKL', the units drawn in the
    place of the last K of them, `draws` times.
  """
  ends = np.cumsum(clips.lengths)
  stops = np.cumsum([len(part.clips.lengths) for part in parts])
  longest = [
    start + int(np.argmax(part.clips.lengths))
    for start, part in zip((0, *stops[:-1]), parts, strict=True)
  ]
  half = int(clips.lengths[longest].min()) // 2
  if not half:
    raise ValueError(
      f'pretrain {run.name}: found held-out clips of a frame, expected two or '
      'more: it generates what follows'
    )
  prompt, steps = min(run.context, half), min(run.reach, half)
  middle_B = ends[longest] - clips.lengths[longest] // 2
  row_BS = middle_B[:, None] + np.arange(-prompt, steps)[None]
  seen = windows.gather(clips.arrays, row_BS[:, :prompt])
  batch = streams.scaled(seen, measured)
  batch = _windows(
    model, batch | {'valid': np.ones(row_BS[:, :prompt].shape, bool)}
  )
  apply, keys = sequence.bind(model, params), jax.random.split(key, draws)
  unit_SBKL = [run.objective.futures(apply, batch, k, steps) for k in keys]
  return {'row_BS': row_BS, 'unit_SBKL': np.stack(unit_SBKL)}


def make_trainer(
  run: PretrainingRun, model: sequence.SequenceModel, loss, mesh
) -> trainer.Trainer:
  """The trainer of a run's model."""
  c = run.shared
  tx = optimizer.adamw(
    c.learning_rate,
    c.steps,
    weight_decay=c.weight_decay,
    warmup=c.warmup,
    b2=0.98,
    freeze=c.freeze,
    rates=run.rates,
  )
  return trainer.make(
    functools.partial(sequence.init, model),
    loss,
    tx,
    mesh,
    rules=sequence.sharding(model),
    accumulate=c.accumulate,
    means=step.Means(run.teacher, c.ema),
  )


def batches(
  run: PretrainingRun,
  clips: windows.Clips,
  mesh: jax.sharding.Mesh,
  seed: int,
  measured: Mapping[str, scales.Scale],
  *,
  parts: Sequence[Part] = (),
  chosen: slice = slice(None),
) -> Callable[[int], dict]:
  """step -> batch on the mesh: windows, and targets that run on beyond them.

  Numbers are put on their scale here and not in the step, which is then the
  same program whatever was measured.

  Windows come as often as there are of them, or from `parts` in shares of
  their weights. `chosen` clips alone are looked at. A process loads the rows
  that its devices hold.
  """
  size, context = run.shared.batch_size, run.context
  rows = sharding.local_rows(size, mesh)
  table = windows.Table(clips.lengths, context, lead=context - 1, chosen=chosen)
  if any(part.weight for part in parts):
    order = _weighted(table, parts, size, seed, rows)
  else:
    order = loader.Order(table.size, size, seed, rows)
  steps = context + run.reach
  batch_at = loader.window_batches(clips.arrays, table, steps, order)
  fixed = {SETTINGS: settings.floats(run.settings.objective)}

  def batch(i):
    scaled = streams.scaled(batch_at(i), measured)
    return sharding.shard_batch(scaled, mesh, size) | fixed

  return batch


def example(
  run: PretrainingRun, specs: Mapping[str, StreamSpec]
) -> dict[str, np.ndarray]:
  """A batch of one window, of nothing, as `batches` gives it on the host."""
  nothing = Part(windows.Clips({}, np.array([1])))
  unit_NL = np.zeros((1, run.levels), np.int32)
  joined = clips(run, [nothing], specs, unit_NL)
  table = windows.windows(joined.lengths, run.context, lead=run.context - 1)
  steps, order = run.context + run.reach, loader.Order(1, 1, 0)
  return loader.window_batches(joined.arrays, table, steps, order)(0)


def _weighted(table, parts, batch_size, seed, rows):
  """step -> `rows` of its windows, parts in shares of their weights."""
  stops = np.cumsum([len(part.clips.lengths) for part in parts])
  ends = table.starts[stops]
  sizes = np.diff(ends, prepend=0)
  weights = [part.weight for part in parts]
  mix = mixture.Mixture(sizes, weights, batch_size, seed, rows)

  def order(step):
    picks = mix(step)
    return (ends - sizes)[picks.dataset] + picks.row

  return order
