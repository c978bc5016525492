"""Mutants of the code, each against the tests of its room: can they fail?

python -m tests.mutants                        40 of them, about an hour
python -m tests.mutants --count=200 --seed=1   others
python -m tests.mutants objectives units       of some rooms

A mutant is one small change of an expression, drawn by a seed. It is killed by
any failing test of its room. Those that survive are printed: each is a hole in
the tests, or a change that means nothing.
"""

import ast
import copy
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
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
  survived = []
  with tempfile.TemporaryDirectory() as folder:
    copied = pathlib.Path(folder) / 'main'
    ignored = shutil.ignore_patterns('.venv', '.git', '__pycache__', 'runs')
    shutil.copytree(ROOT, copied, ignore=ignored)
    for index in range(count):
      room = rooms[index % len(rooms)]
      mutant = rng.choice(every[room])
      killed = _killed(mutant, TESTS[room], copied)
      place = f'{mutant.path.relative_to(ROOT)}:{mutant.line}'
      end = 'killed  ' if killed else 'SURVIVED'
      print(f'{index + 1}/{count} {end} {place}  {mutant.change}', flush=True)
      survived += [] if killed else [mutant]
  share = 1 - len(survived) / count
  print(f'seed {seed}: {share:.0%} of {count} killed')
  return int(share < 0.9)


def _of_room(room):
  place = ROOT / room
  paths = [place] if place.is_file() else sorted(place.rglob('*.py'))
  return [mutant for path in paths for mutant in mutants(path)]


def _killed(mutant, tests, copied):
  """Whether a test of the room fails; those of the file's name come first."""
  path = copied / mutant.path.relative_to(ROOT)
  before = path.read_text()
  stem = mutant.path.stem
  own = sorted(p for t in tests for p in (copied / t).rglob(f'test_{stem}*.py'))
  path.write_text(mutant.text)
  try:
    for chosen in (own, [copied / t for t in tests]):
      if chosen and _fails(chosen, copied):
        return True
    return False
  finally:
    path.write_text(before)


def _fails(chosen, copied):
  command = [sys.executable, '-m', 'pytest', '-x', '-p', 'no:cacheprovider']
  try:
    done = subprocess.run(
      [*command, *map(str, chosen)],
      cwd=copied,
      capture_output=True,
      timeout=SECONDS,
    )
  except subprocess.TimeoutExpired:
    return True
  return done.returncode not in (0, 5)  # 5: none of them is for this machine.


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
