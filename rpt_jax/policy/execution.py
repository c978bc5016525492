"""How what a policy predicts becomes what it does."""

import dataclasses
import math

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
  """

  execute: int = 1
  ensemble: float | None = None
  temperature: float = 0.0

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
