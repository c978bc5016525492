"""The training loop: resume, then per step save -> batch -> step -> log.

Metrics of a step are read after the next one is dispatched, so that the
device never waits for the host to print.
"""

import pathlib
import signal
import sys
import threading
import time
from collections.abc import Callable

import jax

from rpt_jax.training.checkpoint import Checkpoints
from rpt_jax.training.metrics import Writer
from rpt_jax.training.step import TrainState, read_metrics
from rpt_jax.types import PyTree

MAX_SKIPPED = 10  # Steps in a row without a finite gradient.
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
    FloatingPointError: no finite gradient for MAX_SKIPPED steps in a row.
  """
  directory = pathlib.Path(directory)
  checkpoints = Checkpoints(directory / 'checkpoints')
  restored = checkpoints.restore(state)
  start, state = restored or (0, state)
  log = _Log(directory, label, start, num_steps, log_every)
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


class _Log:
  """Holds the metrics of one step until the next one is under way."""

  def __init__(self, directory, label, start, total, every):
    self._writer = Writer(directory, start)
    self._label, self._total, self._every = label, total, every
    self._pending = None
    self._skipped = 0
    self._since = (start, time.perf_counter())
    self.waited = 0.0
    if start:
      print(f'{label}: going on from step {start}', flush=True)

  @property
  def rows(self):
    return self._writer.rows

  def __call__(self, step, metrics):
    self.flush()
    self._pending = (step, metrics)

  def flush(self):
    """Reads, checks and writes what is pending."""
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    skipped = int(metrics['skipped'])
    self._skipped = self._skipped + 1 if skipped else 0
    if skipped:
      print(f'{self._label}: step {step} skipped, not finite', flush=True)
    if self._skipped >= MAX_SKIPPED:
      raise FloatingPointError(
        f'{self._label}: no finite gradient in {MAX_SKIPPED} steps up to '
        f'{step}; lower the learning rate or look at the data'
      )
    if step % self._every == 0 or step == self._total:
      values = read_metrics(metrics)
      self._writer.write(step, values)
      self._print(step, values)

  def _print(self, step, values):
    since, began = self._since
    now = time.perf_counter()
    self._since = (step, now)
    elapsed = max(now - began, 1e-9)
    rate = (step - since) / elapsed
    wait, self.waited = self.waited / elapsed, 0.0
    left = (self._total - step) / max(rate, 1e-9)
    if jax.process_index() == 0:
      print(
        f'{self._label} {step}/{self._total} loss {values["loss"]:.4f} '
        f'lr {values["learning_rate"]:.2e} '
        f'grad-norm {values["grad_norm"]:.3f} {rate:.1f} steps/s '
        f'wait {wait:.0%} ETA {left:.0f}s',
        flush=True,
      )

  def close(self):
    self._writer.close()


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
