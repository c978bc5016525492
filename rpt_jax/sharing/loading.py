"""Which parameters of a saved model become which of another one.

Nothing is guessed: a parameter that one side lacks, or that has two shapes, is
an error unless a `Surgery` names it, and so is a pattern that names nothing.
"""

import dataclasses
import math
import os
import re
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax.training.optimizer import path_name
from rpt_jax.types import PyTree
from rpt_jax.vision import weights

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Surgery:
  """How a saved model may differ from the one it is loaded into.

  Patterns are regular expressions that find a path 'stem_action/project/kernel'
  anywhere. `rename` has pairs (pattern, replacement) for the saved names, in
  order; `skip` is what of the saved model is left out, by its new names; `new`
  is what of the model starts untrained, whether or not one of that name was
  saved: a new camera, another action space.
  """

  new: tuple[str, ...] = ()
  skip: tuple[str, ...] = ()
  rename: tuple[tuple[str, str], ...] = ()


class Plan(NamedTuple):
  """What a loading does, by path.

  `loaded` {path in the model: path as saved}, `new` paths in the model,
  `left_out` paths as saved; `numbers` is how many are loaded.
  """

  loaded: dict[str, str]
  new: tuple[str, ...]
  left_out: tuple[str, ...]
  numbers: int

  def __str__(self):
    moved = [f'{b} as {a}' for a, b in self.loaded.items() if a != b]
    parts = {'renamed': moved, 'new': self.new, 'left out': self.left_out}
    clauses = [
      f'{what} {len(names)}: {", ".join(names)}'
      for what, names in parts.items()
      if names
    ]
    count = f'loaded {len(self.loaded)} ({self.numbers / 1e6:.2f}M numbers)'
    return '; '.join([count, *clauses])


def load(
  path: str | os.PathLike, like: PyTree, surgery: Surgery | None = None
) -> tuple[PyTree, Plan]:
  """Saved parameters in the place of those of `like`, and what was done.

  Args:
    path: a safetensors file, or a folder with model.safetensors.
    like: parameters or their shapes; where a leaf has a sharding its
      successor gets it, else it is a NumPy array. New ones stay as they are.
    surgery: what may differ; None: nothing.

  Raises ValueError for what `plan` refuses, and for files that are damaged.
  """
  tensors = weights.open_tensors(path)
  load_plan = plan(
    tensors.path, tensors.shapes, shapes(like), surgery or Surgery()
  )

  def read(key_path, leaf):
    saved = load_plan.loaded.get(path_name(key_path))
    return leaf if saved is None else _placed(tensors[saved], leaf)

  return jax.tree_util.tree_map_with_path(read, like), load_plan


def plan(where, saved: Shapes, needed: Shapes, surgery: Surgery) -> Plan:
  """What becomes of every parameter.

  Args:
    where: named in errors.
    saved, needed: {path: shape} in the file and in the model.

  Raises ValueError naming all that is missing, extra and misshaped, and every
  pattern that finds nothing.
  """
  source = _renamed(where, saved, surgery.rename)
  skipped = _matched(where, 'skip', surgery.skip, source)
  new = _matched(where, 'new', surgery.new, needed)
  loaded = {a: b for a, b in source.items() if a not in skipped | new}
  missing = [a for a in needed if a not in loaded.keys() | new]
  extra = [a for a in loaded if a not in needed]
  misshaped = [
    f'{a} {list(saved[b])} (the model has {list(needed[a])})'
    for a, b in loaded.items()
    if a in needed and tuple(saved[b]) != tuple(needed[a])
  ]
  wrong = {'missing': missing, 'extra': extra, 'misshaped': misshaped}
  if any(wrong.values()):
    problems = '; '.join(f'{k} {", ".join(v)}' for k, v in wrong.items() if v)
    raise ValueError(
      f'{where}: does not fit the model: {problems}; give those of this model, '
      'or name what is to differ as new, skip or rename'
    )
  left_out = tuple(b for a, b in source.items() if a not in loaded)
  numbers = sum(math.prod(needed[a]) for a in loaded)
  return Plan(loaded, tuple(a for a in needed if a in new), left_out, numbers)


def shapes(tree: PyTree) -> Shapes:
  """{path: shape} of parameters, or of their shapes."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_name(path): np.shape(x) for path, x in leaves}


def _renamed(where, saved, rename):
  """{new name: saved name} of all that was saved."""
  names = {name: name for name in saved}
  for pattern, replacement in rename:
    _matched(where, 'rename', (pattern,), names.values())
    names = {
      old: re.sub(pattern, replacement, name) for old, name in names.items()
    }
  source = {}
  for old, name in names.items():
    if name in source:
      raise ValueError(
        f'{where}: rename makes {name!r} of both {source[name]!r} and {old!r}'
      )
    source[name] = old
  return source


def _matched(where, what, patterns, names):
  """The names that any pattern finds; ValueError where one finds none."""
  matched = set()
  for pattern in patterns:
    matches = {name for name in names if re.search(pattern, name)}
    if not matches:
      raise ValueError(
        f'{where}: {what} {pattern!r} finds none of the {len(names)} '
        f'parameters, which are called like {sorted(names)[:3]}'
      )
    matched |= matches
  return matched


def _placed(value, leaf):
  value = value.astype(leaf.dtype)
  sharding = getattr(leaf, 'sharding', None)
  if sharding is None:
    return value
  return jax.make_array_from_callback(
    value.shape, sharding, lambda index: value[index]
  )
