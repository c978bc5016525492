"""Runs test files in forks of a process that has imported JAX.

What each of them executes is recorded once, each file in a process of its own,
as one that finds functions compiled already does not trace them again.
"""

import json
import os
import pathlib
import resource
import shutil
import signal
import sys
import time

from tests.mutants import tracing

_OPTIONS = ('-x', '-p', 'no:cacheprovider', '-p', 'no:xdist')
# A mutant that hangs is killed: CPU seconds of each process, and by the clock.
_CPU, _CLOCK = (lambda usual: 60 + 5 * usual), (lambda usual: 600 + 20 * usual)


class _Watch:
  """A plugin: traces tests, or sorts them; notes seconds and what failed."""

  def __init__(self, first=(), traced=False):
    self.first, self.traced = first, traced
    self.seconds, self.failed = {}, ''

  def pytest_collection_modifyitems(self, items):
    items.sort(key=lambda item: self.first.get(item.nodeid, float('inf')))

  def pytest_runtest_logstart(self, nodeid):
    if self.traced:
      tracing.begin(nodeid)

  def pytest_runtest_logreport(self, report):
    spent = self.seconds.get(report.nodeid, 0.0) + report.duration
    self.seconds[report.nodeid] = spent
    if report.failed:
      self.failed = self.failed or report.nodeid

  def pytest_collectreport(self, report):
    if report.failed:
      self.failed = self.failed or f'{report.nodeid} (collecting)'


def record(path: pathlib.Path, package: pathlib.Path, folder) -> dict:
  """What a test file executes of the package, and how long it takes.

  Returns:
    {test file: {'seconds': CPU, 'tests': {id: seconds}, 'lines':
    {path: {line: ids of tests, '' for what is imported}}}}.

  Raises RuntimeError where a test fails: it would kill every mutant.
  """
  shutil.copy(tracing.__file__, folder / 'sitecustomize.py')
  log = folder / 'lines' / 'all'
  shutil.rmtree(log.parent, ignore_errors=True)
  log.parent.mkdir()
  before = os.environ.get('PYTHONPATH', '')
  os.environ |= {
    'PYTHONPATH': f'{folder}:{before}',
    tracing.PACKAGE: f'{package}/',
    tracing.LOG: str(log),
    tracing.TEST: '',
  }
  end = run([path], traced=True)
  del os.environ[tracing.LOG]
  os.environ['PYTHONPATH'] = before
  if end['code'] not in (0, 5):
    raise RuntimeError(f'{path} fails as it is: {end["failed"]}')
  print(f'recorded {path}: {end["cpu"]:.0f} s', flush=True)
  about = {'seconds': end['cpu'], 'tests': end['seconds']}
  return {str(path): about | {'lines': _lines(log.parent)}}


def _lines(folder):
  lines: dict[str, dict[str, list]] = {}
  for log in folder.iterdir():
    for row in log.read_text().splitlines():
      path, line, test = row.split('\t')
      lines.setdefault(path, {}).setdefault(line, []).append(test)
  return lines


def chosen(reached, path: str, lines: range) -> tuple[list, dict, float]:
  """Test files that execute some of a file's lines, cheapest to tell first.

  Returns:
    (files, {id of a test: its turn}, CPU seconds of the files). Tests seen to
    execute a line come first; others of their files may do so in what was
    compiled before, and come after.
  """
  meets, files, usual = {}, [], 0.0
  for name, about in reached.items():
    rows = about['lines'].get(path, {})
    tests = {t for line in lines for t in rows.get(str(line), ())}
    if tests:
      files.append(name)
      usual += about['seconds']
      meets |= {t: about['tests'].get(t, 0.0) for t in tests if t}
  order = sorted(meets, key=meets.get)
  return files, {test: turn for turn, test in enumerate(order)}, usual


def run(paths, first=(), traced=False, usual=1e4) -> dict:
  """Runs test files until one fails, in a process of its own.

  Returns:
    {'code': of pytest, 'failed': the first test that did, 'seconds': {id:
    seconds}, 'cpu': CPU seconds}; a process that was ended for taking too long
    has a code below zero.
  """
  reading, writing = os.pipe()
  before = _cpu()
  child = os.fork()
  if not child:
    os.close(reading)
    _be_tests(paths, dict(first), traced, usual, writing)
  os.close(writing)
  os.set_blocking(reading, False)
  said, status = b'', None
  deadline = time.monotonic() + _CLOCK(usual)
  try:
    while status is None and time.monotonic() < deadline:
      said += _read(reading)
      ended, code = os.waitpid(child, os.WNOHANG)
      status = code if ended else None
      time.sleep(0.0 if ended else 0.05)
  finally:
    if status is None:  # Too late, or this process is to end itself.
      os.killpg(child, signal.SIGKILL)
      status = os.waitpid(child, 0)[1]
  said += _read(reading)
  os.close(reading)
  end = json.loads(said) if said else {'failed': 'took too long', 'seconds': {}}
  code = os.waitstatus_to_exitcode(status)
  return end | {'code': code, 'cpu': _cpu() - before}


def _read(reading):
  parts = []
  try:
    while part := os.read(reading, 1 << 16):
      parts.append(part)
  except BlockingIOError:
    pass
  return b''.join(parts)


def _be_tests(paths, first, traced, usual, writing):
  """The child: never returns."""
  os.setsid()
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  silence = os.open(os.devnull, os.O_WRONLY)
  os.dup2(silence, 1)
  os.dup2(silence, 2)
  limit = int(_CPU(usual))
  resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
  if traced:
    tracing.start()
  import pytest

  watch = _Watch(first, traced)
  code = pytest.main([*_OPTIONS, *map(str, paths)], plugins=[watch])
  sys.settrace(None)
  end = json.dumps({'failed': watch.failed, 'seconds': watch.seconds})
  os.set_blocking(writing, True)
  with os.fdopen(writing, 'wb') as file:
    file.write(end.encode())
  os._exit(code)


def _cpu():
  spent = os.times()
  return spent.children_user + spent.children_system
