"""Mutants of the code, each against the tests of its room: can they fail?

python -m tests.mutants                        40 of them
python -m tests.mutants --count=200 --seed=1   others
python -m tests.mutants objectives units       of some rooms
python -m tests.mutants --out=mutants.jsonl    goes on where it was stopped

A mutant is one small change of an expression, drawn by a seed. It is killed by
any failing test of its room. Those that survive are printed: each is a hole in
the tests, or a change that means nothing.

Which test file executes which lines is recorded first. A mutant meets only the
files that execute its statement, as the others cannot tell it, and of their
tests first those that were seen to. They share what they compile.
"""

import importlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile

from tests.mutants import drawing, running

ROOT = pathlib.Path(__file__).parents[2]
# Rooms and files, and the tests that must kill their mutants; quick ones first.
TESTS = {
  'rpt_jax/evals': ('tests/evals',),
  'rpt_jax/training': ('tests/training', 'tests/faults/test_numbers.py'),
  'rpt_jax/episodes/windows.py': ('tests/episodes', 'tests/learning'),
  'rpt_jax/objectives': ('tests/objectives',),
  'rpt_jax/policy': ('tests/policy',),
  'rpt_jax/units': ('tests/units',),
}


def main(arguments) -> int:
  """Prints every mutant with its end; 1 where fewer than 90 % are killed."""
  options = dict(a[2:].split('=', 1) for a in arguments if a.startswith('--'))
  names = [a for a in arguments if not a.startswith('--')]
  count, seed = int(options.get('count', 40)), int(options.get('seed', 0))
  rooms = [r for r in TESTS if not names or any(n in r for n in names)]
  drawn = draw(rooms, count, seed)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  with tempfile.TemporaryDirectory(prefix='rpt_jax_mutants_') as folder:
    out = pathlib.Path(options.get('out') or f'{folder}/ends.jsonl').absolute()
    _prepare(pathlib.Path(folder))
    killed, reached = 0, _Reached(out.with_suffix('.reached'), folder)
    for index, (room, mutant) in enumerate(drawn):
      end = _end(index, room, mutant, reached, out)
      killed += bool(end['by'])
      told = f'killed by {end["by"]}' if end['by'] else 'SURVIVED'
      place, change = f'{end["path"]}:{end["line"]}', end['change']
      print(f'{index + 1}/{count} {place}  {change}  {told}', flush=True)
  print(f'seed {seed}: {killed} of {count} killed')
  return int(killed < 0.9 * count)


def draw(rooms, count: int, seed: int) -> list:
  """(room, mutant), as many of each room, by a seed, none of them twice."""
  drawn = []
  for index, room in enumerate(rooms):
    every = _of_room(room)
    random.Random(f'{seed} {room}').shuffle(every)
    share = len(range(index, count, len(rooms)))
    drawn += [(room, mutant) for mutant in every[:share]]
  return drawn


def _of_room(room):
  place = ROOT / room
  paths = [place] if place.is_file() else sorted(place.rglob('*.py'))
  return [mutant for path in paths for mutant in drawing.mutants(path)]


def _prepare(folder):
  """A copy of the project to change, and JAX imported as the tests do."""
  os.environ['JAX_COMPILATION_CACHE_DIR'] = f'{folder}/compiled'
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.05'
  copied = folder / 'main'
  ignored = shutil.ignore_patterns('.venv', '.git', '__pycache__', 'runs')
  shutil.copytree(ROOT, copied, ignore=ignored)
  (folder / 'shared').symlink_to(ROOT.parent / 'shared')
  os.chdir(copied)
  sys.path[0] = str(copied)
  sys.path.insert(1, str(copied / 'tests'))
  for name in ('conftest', 'pytest', 'optax', 'flax.linen', 'scipy.stats'):
    importlib.import_module(name)
  for name in [n for n in sys.modules if n == 'conftest' or n[:5] == 'tests']:
    del sys.modules[name]


class _Reached:
  """What test files execute, recorded when it is asked for and kept."""

  def __init__(self, kept: pathlib.Path, folder: str):
    self.kept, self.folder = kept, pathlib.Path(folder)
    self.files = json.loads(kept.read_text()) if kept.exists() else {}

  def of(self, tests) -> dict:
    """{test file: what it executes} of some folders and files."""
    places = [pathlib.Path(test) for test in tests]
    names = sorted({f for t in places for f in (*t.rglob('test_*.py'), t)})
    names = [str(f) for f in names if f.is_file()]
    for name in names:
      if name not in self.files:
        package = pathlib.Path.cwd() / 'rpt_jax'
        self.files |= running.record(pathlib.Path(name), package, self.folder)
        self.kept.write_text(json.dumps(self.files))
    return {name: self.files[name] for name in names}


def _end(index, room, mutant, reached, out):
  """What became of a mutant; what was tried before is not tried again."""
  path = mutant.path.relative_to(ROOT)
  about = {
    'index': index, 'path': str(path), 'line': mutant.line,
    'change': mutant.change,
  }  # fmt: skip
  for line in out.read_text().splitlines() if out.exists() else ():
    before = json.loads(line)
    if before | about == before:
      return before
  executed = reached.of(TESTS[room])
  files, first, usual = running.chosen(executed, str(path), mutant.lines)
  whole = path.read_text()
  path.write_text(mutant.text)
  try:
    end = running.run(files, first, usual=usual) if files else {}
  finally:
    path.write_text(whole)
  # 5: none of them is for this machine.
  lived = end.get('code', 0) in (0, 5)
  about |= {'tests': len(first), 'files': len(files)}
  about |= {'by': '' if lived else end['failed'] or 'its end'}
  about |= {'cpu': round(end.get('cpu', 0.0), 1)}
  with out.open('a') as file:
    file.write(json.dumps(about) + '\n')
  return about


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
