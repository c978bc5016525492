"""Mutants of files: one small change of an expression each."""

import ast
import copy
import pathlib
from typing import NamedTuple

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
  """A file with one node changed: where, and its new text.

  `lines` are those of the statement that the node is in, of a block its head:
  what executes none of them never meets the change.
  """

  path: pathlib.Path
  line: int
  lines: range
  change: str
  text: str


def mutants(path: pathlib.Path) -> list[Mutant]:
  """All mutants of a file; what is only said in errors is left alone."""
  tree = ast.parse(path.read_text())
  quiet = {
    id(inner)
    for node in ast.walk(tree)
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.AnnAssign, ast.Assert))
    for inner in ast.walk(node)
  }
  heads, every = _heads(tree), []
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
        before, after = ' '.join(before.split()), ' '.join(after.split())
        change = f'{before[:70]}  ->  {after[:70]}'
        lines = heads[id(node)]
        every.append(Mutant(path, node.lineno, lines, change, text))
  return every


def _heads(tree):
  """{id of a node: the lines of its innermost statement, of a block its head}.

  Decorators and defaults of a function are lines of the function's head.
  """
  heads = {}
  for node in ast.walk(tree):  # Outer ones come first.
    if isinstance(node, ast.stmt):
      decorators = [d.lineno for d in getattr(node, 'decorator_list', ())]
      first, body = min([node.lineno, *decorators]), getattr(node, 'body', None)
      last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
      for inner in ast.walk(node):
        heads[id(inner)] = range(first, last + 1)
  return heads


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
