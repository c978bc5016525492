"""Writes down every line of the package that this process executes, once.

Lines go to a file that is appended to, so that processes that fork, start
others or are killed leave theirs, too. A copy of this file as `sitecustomize`
in PYTHONPATH does the same in each Python that a test starts; so it imports
nothing of the project.
"""

import os
import resource
import sys
import threading
import time

# PACKAGE ends in a slash; paths are written as from the folder it lies in.
LOG, PACKAGE, TEST = 'MUTANTS_LOG', 'MUTANTS_PACKAGE', 'MUTANTS_TEST'
_now = {'test': ''}


def start():
  """Traces this process, and what it forks, from here on."""
  package = os.environ[PACKAGE]
  log = os.open(os.environ[LOG], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
  _now['test'] = os.environ.get(TEST, '')
  seen = set()

  def line(frame, event, _):
    del event
    key = (_now['test'], frame.f_code.co_filename, frame.f_lineno)
    if key not in seen:
      seen.add(key)
      path = os.path.relpath(key[1], os.path.join(package, '..'))
      _write(log, f'{path}\t{key[2]}\t{key[0]}\n'.encode())
    return line

  def call(frame, event, _):
    name = frame.f_code.co_filename
    return line(frame, event, _) if name.startswith(package) else None

  threading.settrace(call)
  sys.settrace(call)


def _write(log, row):
  """Appends a row, also where a test limits files, as if a disk were full."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  if limits != (resource.RLIM_INFINITY, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    mode = os.O_CREAT | os.O_WRONLY
    one = os.open(f'{os.environ[LOG]}.{os.getpid()}.{time.time_ns()}', mode)
    os.write(one, row)
    os.close(one)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    return
  os.write(log, row)


def begin(test: str) -> None:
  """Says which test executes lines from here on."""
  _now['test'] = os.environ[TEST] = test


if __name__ == 'sitecustomize' and LOG in os.environ:
  start()
