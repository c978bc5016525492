"""A process that holds simulations and answers one call at a time.

Started by `python -m` of this module, not forked or spawned: it imports neither
JAX nor the caller's main module, and takes no Ctrl-C of its own. It ends when
its caller does: their socket closes then.
"""

import contextlib
import mmap
import os
import pathlib
import socket
import subprocess
import sys
import traceback
from multiprocessing.connection import Connection, wait

import numpy as np

from rpt_jax.envs.metaworld import Lanes, demonstrations

_MODULE = 'rpt_jax.envs.metaworld.worker'
_PATIENCE = 10  # seconds to end by itself


class Worker:
  """The caller's end. `label` names it in errors."""

  def __init__(self, label: str, pass_fds: tuple[int, ...] = ()):
    parent_end, child_end = socket.socketpair()
    package = pathlib.Path(__file__).parents[3]
    path = os.pathsep.join(
      x for x in (str(package), os.environ.get('PYTHONPATH')) if x
    )
    with child_end:
      self._process = subprocess.Popen(
        [sys.executable, '-m', _MODULE, str(child_end.fileno())],
        env={**os.environ, 'PYTHONPATH': path},
        pass_fds=(child_end.fileno(), *pass_fds),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
      )
    self._label = label
    self.connection = Connection(parent_end.detach())

  def send(self, method: str, *args) -> None:
    """Asks for a method of `_Host`; the answer comes by `receive`."""
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


def views(buffer, settings, num: int) -> dict[str, np.ndarray]:
  """{name: [N, ...]} of the observations in a shared buffer."""
  arrays, start = {}, 0
  for name, x in demonstrations.empty(settings, num).items():
    flat = np.frombuffer(buffer, x.dtype, x.size, start)
    arrays[name] = flat.reshape(x.shape)
    start += x.nbytes
  return arrays


class _Host:
  """What a worker does; its public methods are what can be called."""

  def open(self, task, settings, num):
    self._task, self._lanes = task, Lanes(task, settings, num)

  def share(self, file, num, first):
    """Observations go to lanes `first` and after, of `num` in a file."""
    settings, self._first = self._lanes.settings, first
    self._views = views(mmap.mmap(file, 0), settings, num)

  def reset(self, seeds):
    for lane, seed in enumerate(seeds):
      self._lanes.reset(lane, seed)
      self._observe(lane)

  def step(self, action_NA, running_N):
    success_N = np.zeros(len(running_N), bool)
    for lane in np.flatnonzero(running_N):
      success_N[lane] = self._lanes.step(lane, action_NA[lane])
      self._observe(lane)
    return success_N

  def experts(self, num):
    return np.stack([self._lanes.expert(lane) for lane in range(num)])

  def demonstrate(self, seed, behaviour):
    return demonstrations.episode(self._lanes, self._task, seed, behaviour)

  def _observe(self, lane):
    row = self._first + lane
    self._lanes.observe(lane, {k: v[row] for k, v in self._views.items()})


def _serve(connection):
  host = _Host()
  while True:
    method, args = connection.recv()
    try:
      answer = 'done', getattr(host, method)(*args)
    except ValueError as e:
      answer = 'invalid', str(e)
    except Exception:
      answer = 'failed', traceback.format_exc()
    connection.send(answer)


if __name__ == '__main__':
  with contextlib.suppress(EOFError, ConnectionError):  # The caller is gone.
    _serve(Connection(int(sys.argv[1])))
