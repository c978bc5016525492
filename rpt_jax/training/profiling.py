"""Where the time of a training goes: a trace of a few of its steps.

Read `<directory>/profile` with TensorBoard's profile plugin (xprof), or the
`.trace.json.gz` in it with ui.perfetto.dev.
"""

import pathlib

import jax

_AFTER, _STEPS = 10, 5  # Steps 11 to 15: what is compiled is compiled by then.
_enabled = False


def enable(on: bool = True) -> None:
  """Has every training of this process traced, for `main --profile`."""
  global _enabled
  _enabled = on


class Profile:
  """Traces 5 steps of a training, or what a short one has after its first."""

  def __init__(self, directory, start: int, total: int):
    long = total - start >= _AFTER + _STEPS
    self._begin = start + (_AFTER if long else 1)
    self._end = min(self._begin + _STEPS, total)
    self._directory = pathlib.Path(directory) / 'profile'
    self._on = False

  def __call__(self, step: int, metrics) -> None:
    """To be told of every step under way, with what it will return."""
    if self._on and step >= self._end:
      jax.block_until_ready(metrics)
      self.close()
    elif _enabled and step == self._begin < self._end:
      jax.block_until_ready(metrics)
      jax.profiler.start_trace(str(self._directory))
      self._on = True

  def close(self) -> None:
    """Writes the trace, if one is being made."""
    if self._on:
      jax.profiler.stop_trace()
      self._on = False
