"""Stopping on a signal: SIGTERM, SIGINT (Ctrl-C) and SIGHUP are all alike.

A training saves the step it is at, and the process exits with code 0. What else
is under way goes on from what it has finished, so the process ends at once. A
second signal ends it whatever it does. A training that is stuck, in a compile
or in one long step, is not waited for: the step that was saved last is kept.

Signals of Python wait for the call that is going on, which may be minutes of
XLA; so a thread waits for them, too. In a job of several processes JAX takes
SIGTERM and has all save the same step; the other signals become one.

In a notebook, or where somebody types, SIGINT stays Python's KeyboardInterrupt:
it ends the cell and leaves all else as it is. The same cell goes on from what
was saved.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

from rpt_jax.training import live

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PATIENCE = 8.0  # Seconds for a training to come to the end of its step.
# JAX wants every process to ask about signals with the same, rising numbers.
_ASKED = itertools.count()
_trainings: list['Training'] = []
_at_leave: list[Callable[[], None]] = []


class Training:
  """Whether to save and stop, for the time of a training.

  Of a process that is alone the first signal is remembered here, and the second
  has its usual effect.
  """

  def __init__(self):
    self.received, self.noticed = '', False
    self._handled = contextlib.ExitStack()

  def __enter__(self):
    if _alone():
      self._handled.enter_context(_handled(self._receive, _signals()))
    _trainings.append(self)
    return self

  def reached(self) -> bool:
    """Whether this is the moment; to be asked by all processes alike."""
    if jax.process_count() > 1:
      self.noticed = multihost_utils.reached_preemption_sync_point(next(_ASKED))
      self.received = self.received or 'SIGTERM'
      return self.noticed
    self.noticed = bool(self.received)
    return self.noticed

  def _receive(self, number, frame):
    del frame
    self.received = signal.Signals(number).name
    for each in _signals():
      signal.signal(each, signal.SIG_DFL)

  def __exit__(self, *_):
    _trainings.remove(self)
    self._handled.close()


@contextlib.contextmanager
def watched(what: str) -> Iterator[None]:
  """Ends the process soon after a signal, while it is at `what`."""
  if jax.process_count() > 1:
    # JAX has taken SIGTERM; all agree on it at the next step of a training.
    as_sigterm = lambda *_: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    with _handled(as_sigterm, SIGNALS[1:]):
      yield
    return
  if not _alone():
    yield
    return
  reading, writing = os.pipe()
  os.set_blocking(writing, False)
  thread = threading.Thread(target=_end, args=(reading, what), daemon=True)
  with _handled(lambda *_: None, _signals()):
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread.start()
    try:
      yield
    finally:
      signal.set_wakeup_fd(woken)
      os.close(writing)  # The thread reads its end.
      thread.join()
      os.close(reading)


def _end(reading, what):
  """Waits for signals in a thread of its own."""
  while number := os.read(reading, 1):
    if number[0] not in _signals():  # Others', who have their own way.
      continue
    name = signal.Signals(number[0]).name
    trainings = list(_trainings)
    if not trainings:
      _leave(f'{name}: stopped at {what}; the same command goes on')
    training, until = trainings[-1], time.monotonic() + _PATIENCE
    while time.monotonic() < until and not training.noticed:
      time.sleep(0.05)
    if not training.noticed and training in _trainings:
      _leave(
        f'{name}: stopped at {what} in the middle of a step; the same command '
        'goes on from the step that was saved last'
      )
    if not training.noticed:  # It came as the training was ending.
      _leave(f'{name}: stopped at {what}; the same command goes on')


@contextlib.contextmanager
def at_leave(call: Callable[[], None]) -> Iterator[None]:
  """What is to be done where the process ends by a signal meanwhile."""
  _at_leave.append(call)
  try:
    yield
  finally:
    _at_leave.remove(call)


def _leave(message):
  for call in list(_at_leave):
    with contextlib.suppress(OSError):
      call()
  live.clear()
  print(message, flush=True)
  sys.stderr.flush()
  os._exit(0)  # What is being computed cannot be interrupted.


def _alone():
  """Whether Python handles the signals of this process, here."""
  main = threading.current_thread() is threading.main_thread()
  return jax.process_count() == 1 and main


def _signals():
  """Those that a process that is alone handles itself."""
  interactive = hasattr(sys, 'ps1')  # IPython's kernels have it, too.
  return [s for s in SIGNALS if not (interactive and s == signal.SIGINT)]


@contextlib.contextmanager
def _handled(handler, numbers):
  """Signals go to a handler meanwhile; only a main thread may ask for that."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {number: signal.signal(number, handler) for number in numbers}
  try:
    yield
  finally:
    for number, each in before.items():
      signal.signal(number, each)
