"""Actions that are there before they are asked for.

A program with a delay predicts while the robot does what was predicted before.
JAX computes in the background as it is; here is kept what of its results the
host has, so that nobody waits for one before its time has come.
"""

import collections

import jax
import numpy as np


class Ahead:
  """The actions of the coming steps, and predictions that are on their way.

  `late` counts predictions that were waited for, but for the first, before
  which there is nothing to do; `slowest` is the most steps that one took.
  """

  def __init__(self, execute: int, delay: int):
    self.late, self.slowest = 0, 0
    self._execute, self._delay, self._step = execute, delay, 0
    self._actions = collections.deque()
    self._coming = collections.deque()  # [step of the observation, actions]

  @property
  def due(self) -> bool:
    """Whether a chunk is predicted in this step."""
    return self._step % self._execute == 0

  def predicted(self, actions_CBA: jax.Array) -> None:
    """Takes the actions from this step on, which may not be computed yet."""
    self._coming.append([self._step, actions_CBA])

  def next(self) -> np.ndarray:
    """The action [B, A] of this step, and on to the next."""
    self._look()
    first = self._step == 0
    if first or (
      self._coming and self._coming[0][0] + self._delay <= self._step
    ):
      begun, actions_CBA = self._coming.popleft()
      if not first and not actions_CBA.is_ready():
        self.late += 1
        self.slowest = max(self.slowest, self._step - begun + 1)
      begin = 0 if first else self._delay
      end = self._delay + self._execute
      self._actions.extend(np.asarray(actions_CBA)[begin:end])
    self._step += 1
    return self._actions.popleft()

  def _look(self):
    """Notes how long what is there by now has taken."""
    for entry in self._coming:
      begun, actions_CBA = entry
      if actions_CBA.is_ready():
        self.slowest = max(self.slowest, self._step - begun)
