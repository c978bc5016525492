"""The training loop: resume, then per step save -> batch -> step -> log."""

import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable

from rpt_jax.training.checkpoint import Checkpoints
from rpt_jax.training.progress import Progress
from rpt_jax.training.step import TrainState
from rpt_jax.types import PyTree

INTERRUPTED = 143  # Exit code after SIGTERM, as the shell gives it.


def fit(
  state: TrainState,
  train_step: Callable,
  batch_at: Callable[[int], PyTree],
  num_steps: int,
  *,
  directory,
  log_every: int,
  save_every: int,
  label: str,
) -> tuple[TrainState, list[dict]]:
  """Trains to `num_steps`, going on from the latest checkpoint.

  Killed at any moment and started again, it ends with the same bits. After
  SIGTERM it saves and exits with code 143; a second SIGTERM ends it at once.

  Args:
    state: at step 0, and the form checkpoints must have; may be donated.
    train_step: (state, batch) -> (state, metrics), of `training/step.py`.
    batch_at: step -> batch, a pure function.
    directory: for `checkpoints/`, `metrics.jsonl` and event files.

  Returns:
    (state, rows of metrics.jsonl: the metrics every `log_every` steps).

  Raises:
    FloatingPointError: no finite gradient for `progress.MAX_SKIPPED` steps.
  """
  directory = pathlib.Path(directory)
  checkpoints = Checkpoints(directory / 'checkpoints')
  restored = checkpoints.restore(state)
  start, state = restored or (0, state)
  log = Progress(directory, label, start, num_steps, log_every)
  with _Sigterm() as sigterm:
    for step in range(start, num_steps):
      due = step > start and step % save_every == 0
      if due or sigterm.received:
        log.flush()
        _save(checkpoints, step, state)
      if sigterm.received:
        break
      began = time.perf_counter()
      batch = batch_at(step)
      log.waited += time.perf_counter() - began
      state, metrics = train_step(state, batch)
      log(step + 1, metrics)
    else:
      step = num_steps
      log.flush()
      _save(checkpoints, num_steps, state)
  log.close()
  checkpoints.close()
  if sigterm.received:
    print(f'{label}: SIGTERM, saved step {step}', flush=True)
    sys.exit(INTERRUPTED)
  return state, log.rows


def _save(checkpoints, step, state):
  if step not in checkpoints.steps():
    checkpoints.save(step, state)


class _Sigterm:
  """Remembers the first SIGTERM; the second has its usual effect."""

  def __enter__(self):
    self.received = False
    self._main = threading.current_thread() is threading.main_thread()
    if self._main:
      self._before = signal.signal(signal.SIGTERM, self._handle)
    return self

  def _handle(self, *_):
    self.received = True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

  def __exit__(self, *_):
    if self._main:
      signal.signal(signal.SIGTERM, self._before)
