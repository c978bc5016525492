"""What a long training says: metrics of a step, rate, waiting, time left."""

import time

import jax

from rpt_jax.training.metrics import Writer
from rpt_jax.training.step import read_metrics

MAX_SKIPPED = 10  # Steps in a row without a finite gradient.


class Progress:
  """Holds the metrics of one step until the next one is under way.

  So the device never waits for the host to print. `waited` is to be raised by
  the seconds that batches were waited for.
  """

  def __init__(self, directory, label: str, start: int, total: int, every: int):
    self._writer = Writer(directory, start)
    self._label, self._total, self._every = label, total, every
    self._pending = None
    self._skipped = 0
    self._since = (start, time.perf_counter())
    self.waited = 0.0
    if start:
      self._say(f'going on from step {start}')

  @property
  def rows(self) -> list[dict]:
    """The metrics written so far, resumed ones included."""
    return self._writer.rows

  def __call__(self, step: int, metrics):
    """Takes the metrics of `step`, and tells those of the step before."""
    self.flush()
    self._pending = (step, metrics)

  def flush(self) -> None:
    """Reads, checks and writes what is pending.

    Raises FloatingPointError: no finite gradient for MAX_SKIPPED steps in a
    row.
    """
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    skipped = int(metrics['skipped'])
    self._skipped = self._skipped + 1 if skipped else 0
    if skipped:
      self._say(f'step {step} skipped, not finite')
    if self._skipped >= MAX_SKIPPED:
      raise FloatingPointError(
        f'{self._label}: no finite gradient in {MAX_SKIPPED} steps up to '
        f'{step}; lower the learning rate or look at the data'
      )
    if step % self._every == 0 or step == self._total:
      values = read_metrics(metrics)
      self._writer.write(step, values)
      self._tell(step, values)

  def _tell(self, step, values):
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

  def _say(self, what):
    if jax.process_index() == 0:
      print(f'{self._label}: {what}', flush=True)

  def close(self) -> None:
    """Closes the files."""
    self._writer.close()
