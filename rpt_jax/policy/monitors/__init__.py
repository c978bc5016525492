"""Monitors: what watches a policy act and says when to stop, one file a kind.

A monitor scores every step, and its scores add up over an episode. An alarm is
raised where the sum passes a threshold that few successful episodes reach
(`calibrate`). A file has

  Settings      frozen dataclass
  check(settings, program, model)
                ValueError where it cannot watch such a policy; `model` is what
                foresees, a SequenceModel, or None
  start(settings, program, model, batch)
                its state as episodes begin
  update(settings, watched, state)
                (state, score [B]): what a step adds, never below 0

with chunks that the policy may do next where its settings have `samples`. It is
pure, so that it watches in a jitted rollout as beside a robot.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from rpt_jax import settings as keys
from rpt_jax.types import Array, PyTree

ROOM = 'policy/monitors'
_STILL_GOING = 10  # Episodes that say how sums stand at a step.


class Watched(NamedTuple):
  """A step as monitors are shown it, before its action is chosen.

  Attributes:
    program, weights, memory: of `policy.program`, the memory after `remember`:
      this step's observation is in its windows, and no action.
    seen: {stream: [B, D]}, unscaled, as `program.see` gives it.
    done: the action of the step before, [B, A] in the robot's units or
      integers [B]; zeros at the first step.
    chunk_BNCA: chunks that the policy may do next, in scaled actions, where one
      is due, as many as the monitor with the most `samples` asks for; elsewhere
      zeros.
    model: what foresees, or None.
    foresight: its arrays (`watching.Foresight`), or None.
  """

  program: Any
  weights: Any
  memory: Any
  seen: dict[str, Array]
  done: Array
  chunk_BNCA: Array
  model: Any
  foresight: Any

  @property
  def due(self) -> Array:
    """Whether a new chunk is predicted in this step."""
    return self.memory.count % self.program.execution.execute == 0


def module(settings: Any):
  """The file of a monitor."""
  return keys.module(ROOM, keys.kind(settings))


def check_draws(kind: str, program: Any) -> None:
  """Raises ValueError where no whole chunks are drawn."""
  if program.num_actions:
    raise ValueError(
      f'monitor {kind!r}: discrete actions, expected continuous ones, of which '
      'whole chunks are drawn'
    )


def least(delta: float) -> int:
  """The fewest successful episodes that a rate `delta` can be kept with.

  Raises ValueError unless `delta` is between 0 and 1.
  """
  if not 0.0 < delta < 1.0:
    raise ValueError(f'delta: found {delta}, expected between 0 and 1')
  return math.ceil(round(1.0 / delta, 9)) - 1


def calibrate(score_M: PyTree, delta: float) -> float:
  """The threshold that a further success passes with a chance of at most delta.

  Of M sums of successful episodes the one at rank ceil((M + 1)(1 - delta)):
  split conformal prediction (Vovk et al. 2005; for monitors Sentinel, Agia et
  al. 2024, arXiv 2410.04640, equation 5). It holds over draws of calibration
  and episode, where they are exchangeable: in the same world, of the same
  policy. Of one calibration the rate scatters about delta, with a deviation
  of about sqrt(delta (1 - delta) / M).

  Raises ValueError for scores that are not finite, and for too few of them.
  """
  score_M = np.asarray(score_M, np.float64)
  fewest, count = least(delta), score_M.size
  if score_M.ndim != 1 or not np.isfinite(score_M).all():
    raise ValueError(
      f'calibrate: found scores of shape {score_M.shape}, not all of them '
      'finite, or not one of each episode; expected [M] finite sums'
    )
  if count < fewest:
    raise ValueError(
      f'calibrate: found {count} successful episodes for delta={delta}, '
      f'expected at least {fewest}: with fewer no threshold keeps false '
      f'alarms at {delta:.2%}; play more, or raise delta'
    )
  rank = math.ceil(round((count + 1) * (1.0 - delta), 9))
  return float(np.sort(score_M)[rank - 1])


def least_paced(delta: float) -> int:
  """The same for thresholds by step (`paced`)."""
  return 2 * max(least(delta), _STILL_GOING)


def paced(sum_MT: np.ndarray, steps_M: np.ndarray, delta: float) -> np.ndarray:
  """Thresholds [T], one a step, that a success passes with that chance at most.

  Sums grow while an episode goes on, so that one threshold says of a slow
  episode what a clock would say. Here half of M successful episodes tell how
  sums stand at every step, their mean and deviation over those that still go
  on; of the others the threshold is that of the largest excess, in deviations,
  so that the rate is that of whole episodes (a conformal band, Lei et al. 2018,
  arXiv 1604.04173, section 3.2, here one-sided). Where too few still go on
  there is none (inf).

  Args:
    sum_MT: sums at every step, finite.
    steps_M: how many steps of each episode there were; later ones do not count.

  Raises ValueError as `calibrate` does, of the second half of the episodes, and
  for fewer than `least_paced`.
  """
  if len(sum_MT) < least_paced(delta):
    raise ValueError(
      f'paced: found {len(sum_MT)} successful episodes for delta={delta}, '
      f'expected at least {least_paced(delta)}; play more, or raise delta'
    )
  going_MT = np.arange(sum_MT.shape[1]) < np.asarray(steps_M)[:, None]
  half = len(sum_MT) // 2
  first_MT = np.where(going_MT, sum_MT, np.nan)[:half]
  count_T = going_MT[:half].sum(0)
  enough_T = count_T >= _STILL_GOING
  # Sums of no step are looked at where there is no threshold.
  first_MT = np.where(enough_T, first_MT, 0.0)
  mean_T, std_T = np.nanmean(first_MT, axis=0), np.nanstd(first_MT, axis=0)
  std_T = np.maximum(std_T, 1e-3 * std_T.max(initial=1e-9))
  counted_MT = going_MT[half:] & enough_T
  excess_MT = np.where(counted_MT, (sum_MT[half:] - mean_T) / std_T, -np.inf)
  most = calibrate(excess_MT.max(1), delta)
  return np.where(enough_T, mean_T + most * std_T, np.inf)
