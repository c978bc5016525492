"""Processes that simulate, each answering one call at a time.

Started by `python -m` of a module that calls `serve`, not forked or spawned:
they import neither JAX nor the caller's main module, and take no Ctrl-C of
their own. A process ends when its caller does: their socket closes then.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait

from rpt_jax.types import Episode

_PATIENCE = 10  # seconds to end by itself
_AHEAD = 4  # finished episodes a worker that wait for an earlier one, at most
_EVERY = 5.0  # seconds between lines of progress


class Worker:
  """The caller's end of `module`, which serves. `label` names it in errors."""

  def __init__(self, module: str, label: str, pass_fds: tuple[int, ...] = ()):
    parent_end, child_end = socket.socketpair()
    package = pathlib.Path(__file__).parents[2]
    path = os.pathsep.join(
      x for x in (str(package), os.environ.get('PYTHONPATH')) if x
    )
    with child_end:
      self._process = subprocess.Popen(
        [sys.executable, '-m', module, str(child_end.fileno())],
        env={**os.environ, 'PYTHONPATH': path},
        pass_fds=(child_end.fileno(), *pass_fds),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
      )
    self._label = label
    self.connection = Connection(parent_end.detach())

  def send(self, method: str, *args) -> None:
    """Asks for a method of the host; the answer comes by `receive`."""
    try:
      self.connection.send((method, args))
    except OSError as e:
      raise self._death() from e

  def receive(self):
    """Waits for the answer to the oldest call.

    Raises the ValueError the call raised, or ChildProcessError for any other
    failure, a process that died included.
    """
    try:
      kind, answer = self.connection.recv()
    except (EOFError, OSError) as e:
      raise self._death() from e
    if kind == 'invalid':
      raise ValueError(answer)
    if kind == 'failed':
      raise ChildProcessError(f'{self._label} failed:\n{answer}')
    return answer

  def close(self) -> None:
    """Ends the process, whatever it is at."""
    self.connection.close()
    self._process.terminate()
    try:
      self._process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()

  def _death(self):
    try:
      code = self._process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
      code = 'unknown'
    return ChildProcessError(
      f'{self._label} died (exit code {code}; -9 often means out of memory); '
      'see its messages above, or use fewer workers or lanes'
    )


def receive_all(workers: list[Worker]) -> list:
  """The answers of all, in their order; the first failure is raised at once."""
  answers, waiting = {}, {w.connection: i for i, w in enumerate(workers)}
  while waiting:
    for connection in wait(list(waiting)):
      i = waiting.pop(connection)
      answers[i] = workers[i].receive()
  return [answers[i] for i in range(len(workers))]


def in_order(
  pool: list[Worker], calls: Sequence[tuple], label: str
) -> Iterator[tuple[Episode, dict]]:
  """What 'demonstrate' answers to each of `calls`, its arguments, in order.

  Calls are dealt to whoever is free, a few ahead. Prints progress every 5 s.
  """
  progress = _Progress(label, len(calls))
  idle, busy, done, started = list(pool), {}, {}, 0
  for index in range(len(calls)):
    while index not in done:
      limit = min(len(calls), index + _AHEAD * len(pool))
      while idle and started < limit:
        worker = idle.pop()
        worker.send('demonstrate', *calls[started])
        busy[worker.connection] = worker, started
        started += 1
      for connection in wait(list(busy), timeout=_EVERY):
        worker, which = busy.pop(connection)
        done[which] = worker.receive()
        idle.append(worker)
        progress.add(done[which][0])
      progress.show()
    yield done.pop(index)


class _Progress:
  """Lines such as '  drawer-open-v3: 40/100 episodes, 610 frames/s, 12 s'."""

  def __init__(self, label, total):
    self._label, self._total = label, total
    self._episodes = self._frames = 0
    self._start = self._shown = time.monotonic()

  def add(self, episode):
    cameras = len(episode.observation) - 1
    self._episodes += 1
    self._frames += cameras * episode.length

  def show(self):
    now = time.monotonic()
    if now - self._shown < _EVERY or not self._episodes:
      return
    self._shown, took = now, now - self._start
    left = took / self._episodes * (self._total - self._episodes)
    print(
      f'  {self._label}: {self._episodes}/{self._total} episodes, '
      f'{self._frames / took:.0f} frames/s, {left:.0f} s left',
      flush=True,
    )


def serve(host) -> None:
  """Calls methods of `host` for whoever started this process, until it goes."""
  connection = Connection(int(sys.argv[1]))
  with contextlib.suppress(EOFError, ConnectionError):  # The caller is gone.
    while True:
      method, args = connection.recv()
      try:
        answer = 'done', getattr(host, method)(*args)
      except ValueError as e:
        answer = 'invalid', str(e)
      except Exception:
        answer = 'failed', traceback.format_exc()
      connection.send(answer)
