"""The table of faults of README.md, made of the tests' names and docstrings.

python -m tests.faults
"""

import ast
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent


def rows():
  """(number, fault, behaviour, test) of every test, in order of numbers."""
  found = []
  for path in FOLDER.glob('test_*.py'):
    for node in ast.parse(path.read_text()).body:
      name = re.fullmatch(r'test_(\d\d)_\w+', getattr(node, 'name', ''))
      if name:
        words = ' '.join(ast.get_docstring(node).split())
        fault, behaviour = words.split(' -> ', 1)
        test = f'{path.name}::{name[0]}'
        found.append((int(name[1]), fault, behaviour, test))
  return sorted(found)


def table() -> str:
  """The table, in markdown."""
  lines = ['| # | Fault | What happens | Test |', '|---|---|---|---|']
  lines += [
    f'| {number} | {fault} | {behaviour} | `{test}` |'
    for number, fault, behaviour, test in rows()
  ]
  return '\n'.join(lines)


if __name__ == '__main__':
  print(table())
