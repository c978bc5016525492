"""The training loop: resume, then per step save -> batch -> step -> log."""

import contextlib
import functools
import itertools
import pathlib
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rpt_jax.settings import Saving
from rpt_jax.training import ahead, distributed, live, stopping
from rpt_jax.training.checkpoint import Checkpoints
from rpt_jax.training.progress import Cost, Progress
from rpt_jax.training.step import TrainState
from rpt_jax.types import PyTree


def fit(
  init: Callable[[], TrainState],
  shapes: TrainState,
  train_step: Callable,
  batch_at: Callable[[int], PyTree],
  num_steps: int,
  *,
  directory,
  saving: Saving,
  label: str,
  cost: Cost | None = None,
) -> tuple[TrainState, list[dict]]:
  """Trains to `num_steps`, going on from the latest checkpoint.

  Killed at any moment and started again, it ends with the same bits. After a
  signal (`stopping`) to any process of the job, all save the same step and exit
  with code 0; a second one ends a process that is alone at once. A step that
  cannot be saved is told, and training goes on to the next that is due.

  Args:
    init: the state at step 0, where there is no checkpoint.
    shapes: that state, as arrays or shapes with shardings: the form and the
      place of what is restored.
    train_step: (state, batch) -> (state, metrics), of `training/step.py`.
    batch_at: step -> batch, a pure function; a thread of its own calls it.
    directory: for `checkpoints/`, `metrics.jsonl` and event files.
    saving: how often it is saved and tells how it goes.
    cost: of a step, for the log to tell tokens a second and MFU.

  Returns:
    (state, rows of metrics.jsonl: the metrics every `saving.log_steps`).

  Raises:
    FloatingPointError: no finite gradient for `progress.MAX_SKIPPED` steps, or
      a state that is not finite; the last checkpoint is kept.
    OSError: the last step could not be saved.
  """
  directory = pathlib.Path(directory)
  checkpoints = Checkpoints(directory / 'checkpoints')
  start, state = checkpoints.restore(shapes) or (0, None)
  state = init() if state is None else state
  log = Progress(directory, label, start, num_steps, saving.log_steps, cost)
  saver = _Saver(checkpoints, label, start, saving)
  batches = ahead.batches(batch_at, start, num_steps)
  closing = contextlib.closing(checkpoints)
  with stopping.Training() as signals, live.cleared(), closing:
    for step in itertools.count(start):
      stop = signals.reached()
      last = stop or step >= num_steps
      if last or step > start and saver.due(step):
        log.flush()
        saver.save(step, state)
      if last:
        saver.settle()
        break
      began = time.perf_counter()
      batch = next(batches)
      log.waited += time.perf_counter() - began
      state, metrics = train_step(state, batch)
      log(step + 1, metrics)
  log.close()
  saver.check()
  if stop:
    if distributed.is_first():
      print(
        f'{label}: {signals.received}, saved step {step}; the same command '
        'goes on from it',
        flush=True,
      )
    sys.exit(0)
  return state, log.rows


class _Saver:
  """Saves what is finite and not saved yet; counts the saves that failed."""

  def __init__(self, checkpoints, label, saved, saving):
    self._checkpoints, self._label, self._saved = checkpoints, label, saved
    self._saving, self._since = saving, time.monotonic()
    self._failed, self._error = 0, None
    self._begun = None  # The step that is being written.

  def due(self, step):
    """Whether to save, by steps or by seconds; to be asked by all processes.

    Of several, the first one looks at its clock, and only every `log_steps`, as
    the others must be told.
    """
    if step % self._saving.save_steps == 0:
      return True
    if jax.process_count() > 1 and step % self._saving.log_steps:
      return False
    late = time.monotonic() - self._since > self._saving.save_seconds
    return bool(distributed.agree(int(late)))

  def save(self, step, state):
    """Begins to save, once what was begun before is settled."""
    self.settle()
    if step == self._saved:
      return
    if not jax.device_get(_is_finite(state)):
      raise FloatingPointError(
        f'{self._label}: the state of step {step} is not finite and not saved; '
        f'step {self._saved} is kept; lower the learning rate'
      )
    self._begun, self._since = step, time.monotonic()
    with self._tolerated():
      self._checkpoints.save(step, state)

  def settle(self):
    """Waits until what was begun is whole, if anything was."""
    if self._begun is not None:
      with self._tolerated():
        self._checkpoints.settle()
        self._saved, self._error = self._begun, None
    self._begun = None

  @contextlib.contextmanager
  def _tolerated(self):
    """Tells of a step that cannot be saved, and keeps the error."""
    try:
      yield
    except OSError as error:
      self._failed += 1
      self._error = error
      live.clear()
      print(
        f'{self._label}: step {self._begun} not saved, {self._failed} failed '
        f'so far; step {self._saved} is kept: {error}',
        flush=True,
      )
      self._begun = None

  def check(self):
    """Raises what the last save failed with, if it did."""
    if self._error is not None:
      raise self._error


@jax.jit
def _is_finite(tree):
  leaves = [
    jnp.isfinite(x).all()
    for x in jax.tree.leaves(tree)
    if jnp.issubdtype(x.dtype, jnp.inexact)
  ]
  return functools.reduce(jnp.logical_and, leaves, True)
