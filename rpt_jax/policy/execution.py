"""How what a policy predicts becomes what it does."""

import dataclasses
import math

import numpy as np

_STEEPEST = 80.0  # exp of it is still a float32.


@dataclasses.dataclass(frozen=True)
class Execution:
  """How predicted chunks of actions are played.

  `execute` actions of a chunk are played before the next one is predicted.
  `ensemble` m averages what all chunks say of the present step, those of i
  steps ago weighted exp(-m * i): 0 the mean, above it the newest counts most,
  below it the oldest, as in ACT (Zhao et al. 2023, whose 0.01 is -0.01 here).
  Of discrete actions the logits are averaged; one is then drawn from their
  softmax at `temperature`, at 0 the likeliest is taken.

  `delay` is how many actions are played between an observation and the first
  action that is predicted from it: what was predicted before covers them, so
  that the robot never waits. With `realtime` a new chunk goes on as the old one
  says where they overlap, firmly for the steps of the delay and less and less
  after (real-time chunking, Black et al. 2025, arXiv 2506.07339); without, it
  takes over as it is.
  """

  execute: int = 1
  ensemble: float | None = None
  temperature: float = 0.0
  delay: int = 0
  realtime: bool = False

  def check(self, chunk: int) -> None:
    """Raises ValueError for what means nothing with chunks of that length."""
    if type(self.execute) is not int or not 1 <= self.execute <= chunk:
      raise ValueError(
        f'execution: execute={self.execute!r}, expected a whole number from 1 '
        f'to {chunk}, the actions of a chunk'
      )
    if not 0 <= self.temperature < math.inf:  # Nor is NaN.
      raise ValueError(
        f'execution: temperature={self.temperature}, expected 0 (the likeliest '
        'action) or a number above it'
      )
    self._check_delay(chunk)
    if self.ensemble is None:
      return
    if self.execute != 1 or chunk == 1:
      raise ValueError(
        f'execution: ensemble={self.ensemble} with execute={self.execute} and '
        f'chunks of {chunk}; only with execute=1 and longer chunks is there '
        'more than one prediction for a step'
      )
    steepness = abs(float(self.ensemble)) * chunk
    if not steepness <= _STEEPEST:  # Nor is NaN.
      raise ValueError(
        f'execution: ensemble={self.ensemble}, expected a number within '
        f'{_STEEPEST / chunk:.3g} of 0'
      )

  def follows(self, chunk: int) -> np.ndarray:
    """How firmly each step [C] of a new chunk goes on as the old one says.

    1 for the steps of the delay, then falling as an exponential to the end of
    the old chunk, of which the new one begins `execute` steps later (equation
    5 of real-time chunking).
    """
    step_C = np.arange(chunk)
    old = chunk - self.execute  # Steps that the old chunk still has.
    share_C = (old - step_C) / (old - self.delay + 1)
    falling_C = share_C * np.expm1(share_C) / np.expm1(1)
    weight_C = np.where(step_C < self.delay, 1.0, falling_C)
    return np.where(step_C < old, weight_C, 0.0).astype(np.float32)

  def _check_delay(self, chunk):
    """Raises ValueError where the old chunk ends before the new one comes."""
    ensemble, execute = self.ensemble is not None, self.execute
    most = chunk - 1 if ensemble else min(execute, chunk - execute)
    if type(self.delay) is not int or not 0 <= self.delay <= most:
      raise ValueError(
        f'execution: delay={self.delay!r} with execute={execute} of chunks of '
        f'{chunk}, expected a whole number from 0 to {most}: a chunk is wanted '
        'when the one before it is there, and must last until it comes'
      )
    if self.realtime and (ensemble or execute == chunk):
      raise ValueError(
        f'execution: realtime with execute={execute}, ensemble='
        f'{self.ensemble} and chunks of {chunk}; expected execute below '
        f'{chunk} and no ensemble, so that a new chunk has an old one to go on '
        'from'
      )
