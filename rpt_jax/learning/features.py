"""What a trunk makes of every frame, frozen: for probes and for new units."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from rpt_jax import sharing
from rpt_jax.episodes import windows
from rpt_jax.learning import runs as runs_lib
from rpt_jax.learning import streams, texts
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.types import UNIT, StreamSpec

_BATCH = 512


def reader(
  run: PretrainingRun,
  inputs: Mapping[str, Path],
  discrete: Sequence[StreamSpec],
  *,
  untrained: int | None = None,
  layer: int = -1,
) -> Callable[..., np.ndarray]:
  """(clips of the run's streams, in parts; rows) -> features [N, D] of those.

  Rows are counted over all parts; without them it is every frame.

  A frame's feature is that of the window ending there, so that it has seen
  nothing later whatever the trunk could see: nor what was done there, nor
  units, which may look ahead.

  Args:
    discrete: what streams that have no scale are.
    untrained: the seed of a trunk that has not learned, in place of the run's.
    layer: counts blocks from 1; 0 is before them, -1 the normed end.
  """
  measured = sharing.load_scales(inputs['pretrain'] / runs_lib.SCALES)
  instructions = texts.load(inputs['pretrain'], run.shared)
  specs = streams.specs(measured, discrete, instructions)
  inputs_of = [run.spec(s, specs) for s in run.streams]
  body = run.body(inputs_of, (), run.objective.VISIBILITY)
  if untrained is None:
    params, _ = runs_lib.split_heads(runs_lib.params(inputs, run.name))
  else:
    params = sequence.init(body, jax.random.key(untrained))
  features = _features(body, layer)

  def read(parts, rows_N=None):
    clips = streams.join(
      [_without_units(part) for part in parts], inputs_of, ()
    )
    table = windows.Table(clips.lengths, run.context, lead=run.context - 1)
    rows_N = np.arange(table.size) if rows_N is None else rows_N
    features_ND = []
    for start in range(0, len(rows_N), _BATCH):
      # A window ends at each row, and they are in the order of rows.
      picks = np.resize(rows_N[start : start + _BATCH], _BATCH)
      rows_BT, valid_BT = windows.rows(table.take(picks), run.context)
      seen = windows.gather(clips.arrays, rows_BT)
      present_BTM = seen.pop('present')
      seen = streams.in_windows(streams.scaled(seen, measured))
      features_ND.append(
        np.asarray(features(params, seen, valid_BT, present_BTM))
      )
    return np.concatenate(features_ND)[: len(rows_N)]

  return read


def _without_units(clips):
  arrays = {k: x for k, x in clips.arrays.items() if k != UNIT}
  return windows.Clips(arrays, clips.lengths)


@functools.cache
def _features(body, layer):
  """Jitted (params, streams, valid_BT, present_BTM) -> last step's [B, D]."""

  def features(params, seen, valid_BT, present_BTM):
    hide_BTM = behaviour_cloning.hidden(valid_BT, body.streams)
    output = sequence.bind(body, params)(seen, valid_BT, hide_BTM, present_BTM)
    read = output['features'] if layer < 0 else output['layers'][layer]
    return read[:, -1]

  return jax.jit(features)
