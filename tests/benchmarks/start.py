"""Time from a command to its answer, and what a second run need not compile.

Medians of five commands each, less the import of JAX, which is not ours: all of
them answer within a second of it. Then `hubert_units:quicktest` twice, with a
cache of compiled programs of its own that is empty at first: until the first
step of a training and until the end, where the second run is to take at most
0.4 of the first.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

CONFIG = '--config=configs/hubert_units.py'
COMMANDS = {
  'help': ('--help',),
  'doctor': ('--doctor',),
  'a refused setting': (CONFIG, '--config.pretrain.steps=-1'),
}
TURNS = 5


def run():
  """Rows: seconds beyond JAX's import, then the second run by the first."""
  jax = _median(['-c', 'import jax'])
  for name, arguments in COMMANDS.items():
    beyond = max(_median(['-m', 'rpt_jax.main', *arguments]) - jax, 1e-3)
    yield _row(f'{name} (peer: a second after JAX)', beyond, 1.0, 1.0)
  with tempfile.TemporaryDirectory() as cache:
    first, second = (_quicktest(cache, f'{cache}/{i}') for i in range(2))
  for what in ('first step', 'end'):
    name = f'quicktest again, to its {what} (peer: the first time)'
    target = 2.5 if what == 'end' else None
    yield _row(name, second[what], first[what], target)


def _row(name, ours, peer, target):
  about = {'ours': ours, 'peer': peer, 'ratio': peer / ours}
  return {'name': name, 'target': target, **about}


def _median(arguments):
  """Seconds of a command."""
  seconds = []
  for _ in range(TURNS):
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], capture_output=True)
    seconds.append(time.perf_counter() - began)
  return statistics.median(seconds)


def _quicktest(cache, workdir):
  """Seconds to the first step of a training, and to the end."""
  command = [sys.executable, '-m', 'rpt_jax.main', f'{CONFIG}:quicktest']
  began, first = time.perf_counter(), None
  with subprocess.Popen(
    [*command, f'--workdir={workdir}'],
    env=os.environ | {'XDG_CACHE_HOME': cache},
    stdout=subprocess.PIPE,
    text=True,
  ) as process:
    for line in process.stdout:
      if first is None and re.search(r' \d+/\d+ loss ', line):
        first = time.perf_counter() - began
  if process.returncode:
    raise SystemExit(f'{workdir}: exit code {process.returncode}')
  return {'first step': first, 'end': time.perf_counter() - began}
