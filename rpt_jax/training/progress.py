"""What a long training says: metrics of a step, rates, time left, memory.

A terminal gets one line that is rewritten (`live`), and a plain one at the end.
"""

import resource
import sys
import time
from typing import NamedTuple

import jax

from rpt_jax.training import distributed, hardware, live
from rpt_jax.training.metrics import Writer
from rpt_jax.training.profiling import Profile
from rpt_jax.training.step import read_metrics

MAX_SKIPPED = 10  # Steps in a row without a finite gradient.


class Cost(NamedTuple):
  """What one step is, over all devices: `costs.flops`, and tokens it reads."""

  flops: float
  tokens: float


class Progress:
  """Holds the metrics of one step until the next one is under way.

  So the device never waits for the host to print. `waited` is to be raised by
  the seconds that batches were waited for. With a `cost` the lines tell tokens
  a second and MFU, the share of the devices' peak that the model's FLOPs are.
  Rates leave out the first step, which compiles.
  """

  def __init__(
    self,
    directory,
    label: str,
    start: int,
    total: int,
    every: int,
    cost: Cost | None = None,
  ):
    self._writer = Writer(directory, start)
    self._profile = Profile(directory, start, total)
    self._label, self._total, self._every = label, total, every
    self._cost = cost
    self._peak = hardware.peak_flops() if cost else None
    self._pending = None
    self._skipped = 0
    self._start = start
    self._since = (start, time.perf_counter())
    self._loss = ''  # Of the last line, for a terminal.
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
    self._profile(step, metrics)

  def flush(self) -> None:
    """Reads, checks and writes what is pending.

    Raises FloatingPointError: no finite gradient for MAX_SKIPPED steps in a
    row.
    """
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    skipped = int(jax.device_get(metrics['skipped']))
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
      return
    if step == self._start + 1:
      self._since, self.waited = (step, time.perf_counter()), 0.0
    if distributed.is_first() and live.possible():
      self._draw(step, *self._rate(step, time.perf_counter()))

  def _tell(self, step, values):
    now = time.perf_counter()
    elapsed = max(now - self._since[1], 1e-9)
    rate, left = self._rate(step, now)
    self._since = (step, now)
    wait, self.waited = self.waited / elapsed, 0.0
    self._loss = f' loss {values["loss"]:.4f}'
    if step < self._total and distributed.is_first() and live.possible():
      self._draw(step, rate, left)
      return
    self._say(
      f'loss {values["loss"]:.4f} lr {values["learning_rate"]:.2e} '
      f'grad-norm {values["grad_norm"]:.3f} {rate:.3g} steps/s '
      f'{self._speed(rate)}wait {wait:.0%} ETA {left:.0f}s '
      f'memory {peak_memory() / 2**30:.2f} GiB',
      f' {step}/{self._total} ',
    )

  def _rate(self, step, now):
    """(steps a second since the last line, seconds left)."""
    since, began = self._since
    rate = (step - since) / max(now - began, 1e-9)
    return rate, (self._total - step) / max(rate, 1e-9)

  def _draw(self, step, rate, left):
    """The one line of a terminal; before a rate is known it has none."""
    text = f'{rate:.3g} steps/s ETA {left:.0f}s{self._loss}' if rate else ''
    live.draw(self._label, step, self._total, text)

  def _speed(self, rate):
    if self._cost is None:
      return ''
    mfu = self._cost.flops * rate / self._peak
    doubt = '' if mfu <= 1 else '(the peak was measured on a busy machine) '
    return f'{self._cost.tokens * rate:.3g} tokens/s MFU {mfu:.1%} {doubt}'

  def _say(self, what, after=': '):
    if distributed.is_first():
      live.clear()
      print(f'{self._label}{after}{what}', flush=True)

  def close(self) -> None:
    """Closes the files."""
    self._profile.close()
    self._writer.close()


def peak_memory() -> float:
  """Most bytes ever in use: on a device, or of this process on a CPU."""
  stats = jax.local_devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    return float(stats['peak_bytes_in_use'])
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return float(peak * (1 if sys.platform == 'darwin' else 1024))
