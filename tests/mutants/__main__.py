"""Mutants of the code, each against the tests of its room: can they fail?

python -m tests.mutants                        40 of them
python -m tests.mutants --count=200 --seed=1   others
python -m tests.mutants objectives units       of some rooms
python -m tests.mutants --jobs=2               two at a time

A mutant is one small change of an expression, drawn by a seed. It is killed by
any failing test of its room. Those that survive are printed: each is a hole in
the tests, or a change that means nothing. Each mutant's tests run in a fork of
a process that has imported JAX, and share what they compile.
"""

import ast
import concurrent.futures
import copy
import importlib
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
# Rooms and files, and the tests that must kill their mutants.
TESTS = {
  'rpt_jax/objectives': ('tests/objectives',),
  'rpt_jax/units': ('tests/units',),
  'rpt_jax/training': ('tests/training', 'tests/faults/test_numbers.py'),
  'rpt_jax/policy': ('tests/policy',),
  'rpt_jax/episodes/windows.py': ('tests/episodes', 'tests/learning'),
  'rpt_jax/evals': ('tests/evals',),
}
SECONDS = 900  # Of a room's tests; a mutant that hangs is killed.
_OPPOSITE = {
  ast.Lt: ast.LtE,
  ast.LtE: ast.Lt,
  ast.Gt: ast.GtE,
  ast.GtE: ast.Gt,
  ast.Eq: ast.NotEq,
  ast.NotEq: ast.Eq,
  ast.Add: ast.Sub,
  ast.Sub: ast.Add,
  ast.Mult: ast.Div,
  ast.Div: ast.Mult,
  ast.FloorDiv: ast.Mult,
  ast.And: ast.Or,
  ast.Or: ast.And,
  ast.BitAnd: ast.BitOr,
  ast.BitOr: ast.BitAnd,
}
_CALLS = {
  'all': 'any',
  'any': 'all',
  'max': 'min',
  'min': 'max',
  'maximum': 'minimum',
  'minimum': 'maximum',
  'argmax': 'argmin',
  'argmin': 'argmax',
  'ones': 'zeros',
  'zeros': 'ones',
  'sum': 'mean',
  'mean': 'sum',
}


class Mutant(NamedTuple):
  """A file with one node changed: where, and its new text."""

  path: pathlib.Path
  line: int
  change: str
  text: str


def mutants(path: pathlib.Path) -> list[Mutant]:
  """All mutants of a file; what is only said in errors is left alone."""
  source = path.read_text()
  tree = ast.parse(source)
  quiet = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.AnnAssign, ast.Assert))
    for inner in ast.walk(node)
  }
  every = []
  for node in ast.walk(tree):
    if id(node) in quiet:
      continue
    for field, value in _changes(node):
      before = ast.unparse(node)
      old = getattr(node, field)
      setattr(node, field, value)
      after, text = ast.unparse(node), ast.unparse(tree)
      setattr(node, field, old)
      if after != before:
        change = f'{before[:70]}  ->  {after[:70]}'
        every.append(Mutant(path, node.lineno, change, text))
  return every


def _changes(node):
  """(field, another value) of an expression."""
  if isinstance(node, ast.Compare) and type(node.ops[0]) in _OPPOSITE:
    yield 'ops', [_OPPOSITE[type(node.ops[0])](), *node.ops[1:]]
  elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in _OPPOSITE:
    yield 'op', _OPPOSITE[type(node.op)]()
  elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
    yield 'op', ast.UAdd()
  elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
    yield 'value', node.value + 1
  elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
    yield 'value', not node.value
  elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
    if node.func.attr in _CALLS:
      func = copy.copy(node.func)
      func.attr = _CALLS[func.attr]
      yield 'func', func
  elif isinstance(node, (ast.If, ast.IfExp)):
    yield 'test', ast.UnaryOp(ast.Not(), node.test)


def main(arguments) -> int:
  """Prints every mutant with its end; 1 where fewer than 90 % are killed."""
  options = dict(a[2:].split('=') for a in arguments if a.startswith('--'))
  names = [a for a in arguments if not a.startswith('--')]
  count, seed = int(options.get('count', 40)), int(options.get('seed', 0))
  rng = random.Random(seed)
  rooms = [r for r in TESTS if not names or any(n in r for n in names)]
  every = {room: _of_room(room) for room in rooms}
  drawn = [(r, rng.choice(every[r])) for r in _in_turn(rooms, count)]
  survivors = 0
  with tempfile.TemporaryDirectory() as folder:
    os.environ['JAX_COMPILATION_CACHE_DIR'] = f'{folder}/compiled'
    os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.2'
    jobs = int(options.get('jobs', 1))
    with concurrent.futures.ProcessPoolExecutor(
      jobs, initializer=_prepare, initargs=(folder,)
    ) as pool:
      ends = pool.map(_killed, drawn)
      for index, ((_, mutant), killed) in enumerate(
        zip(drawn, ends, strict=True)
      ):
        place = f'{mutant.path.relative_to(ROOT)}:{mutant.line}'
        end = 'killed  ' if killed else 'SURVIVED'
        print(f'{index + 1}/{count} {end} {place}  {mutant.change}', flush=True)
        survivors += not killed
  share = 1 - survivors / count
  print(f'seed {seed}: {share:.0%} of {count} killed')
  return int(share < 0.9)


def _in_turn(rooms, count):
  return [rooms[index % len(rooms)] for index in range(count)]


def _prepare(folder):
  """This worker's copy of the project, and JAX imported as the tests do."""
  copied = pathlib.Path(folder) / str(os.getpid()) / 'main'
  ignored = shutil.ignore_patterns('.venv', '.git', '__pycache__', 'runs')
  shutil.copytree(ROOT, copied, ignore=ignored)
  (copied.parent / 'shared').symlink_to(ROOT.parent / 'shared')
  os.chdir(copied)
  sys.path[0] = str(copied)
  sys.path.insert(1, str(copied / 'tests'))
  for name in ('conftest', 'pytest', 'optax', 'flax.linen', 'scipy.stats'):
    importlib.import_module(name)
  for name in [n for n in sys.modules if n == 'conftest' or n[:5] == 'tests']:
    del sys.modules[name]


def _of_room(room):
  place = ROOT / room
  paths = [place] if place.is_file() else sorted(place.rglob('*.py'))
  return [mutant for path in paths for mutant in mutants(path)]


def _killed(drawn):
  """Whether a test of the room fails; those of the file's name come first."""
  room, mutant = drawn
  path = mutant.path.relative_to(ROOT)
  before = path.read_text()
  stem = mutant.path.stem
  rooms = [pathlib.Path(test) for test in TESTS[room]]
  own = sorted(p for t in rooms for p in t.rglob(f'test_{stem}*.py'))
  path.write_text(mutant.text)
  try:
    return any(_fails(chosen) for chosen in (own, rooms) if chosen)
  finally:
    path.write_text(before)


def _fails(chosen):
  """Whether these tests fail, or take too long, in a process of their own."""
  child = os.fork()
  if not child:
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import pytest

    options = ('-x', '-p', 'no:cacheprovider', '-p', 'no:xdist')
    os._exit(pytest.main([*options, *map(str, chosen)]))
  deadline = time.monotonic() + SECONDS
  while time.monotonic() < deadline:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
      # 5: none of them is for this machine.
      return os.waitstatus_to_exitcode(status) not in (0, 5)
    time.sleep(0.1)
  os.killpg(child, signal.SIGKILL)
  os.waitpid(child, 0)
  return True


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
