"""Configs by name: `hubert_units:quicktest` is configs/hubert_units.py's.

They lie beside the package in a checkout, and in it where it is installed.
"""

import ast
import importlib.util
import pathlib
import re
from typing import NamedTuple

import ml_collections

from rpt_jax.settings import reading

_HERE = pathlib.Path(__file__).parent


class About(NamedTuple):
  """What a config says of itself."""

  purpose: str  # The first line of its docstring.
  variants: tuple[str, ...]  # Arguments that its `get_config` says it takes.


def names() -> list[str]:
  """Those that come with the package."""
  return sorted(path.stem for path in _folder().glob('*.py'))


def about(name: str) -> About:
  """What a config that comes with the package is for; nothing is imported."""
  tree = ast.parse((_folder() / f'{name}.py').read_text('utf-8'))
  functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
  get_config = next(f for f in functions if f.name == 'get_config')
  purpose, _, _ = (ast.get_docstring(tree) or '').partition('\n')
  variants = re.findall(r"'(\S+?)'", ast.get_docstring(get_config) or '')
  return About(purpose, tuple(variants))


def resolve(spec: str) -> str:
  """`path[:argument]` of what may be a name; a path is returned as it is."""
  name, colon, argument = spec.partition(':')
  if name not in names() or pathlib.Path(name).is_file():
    return spec
  return f'{_folder() / name}.py{colon}{argument}'


def expected(path: str) -> str:
  """What to say of a path where nothing lies: what there is, and what is like.

  The name of a variant is none of a config.
  """
  have, stem = names(), pathlib.Path(path.partition(':')[0]).stem
  return f'expected a file, or one of {have}{reading.closest(stem, have)}'


def title(spec: str) -> str:
  """`hubert_units-quicktest` for `configs/hubert_units.py:quicktest`."""
  path, _, argument = spec.partition(':')
  stem = pathlib.Path(path).stem
  return f'{stem}-{argument.replace(",", "-")}' if argument else stem


def load(spec: str) -> ml_collections.ConfigDict:
  """A config by name or path, as `rpt_jax.main.run` takes it.

  `spec` is what --config is given, as `'hubert_units:quicktest'`. Raises
  ValueError where there is none, and what its `get_config` raises.
  """
  path, _, argument = resolve(spec).partition(':')
  if not pathlib.Path(path).is_file():
    raise ValueError(f'config: no such file {path!r}, {expected(path)}')
  loader = importlib.util.spec_from_file_location(title(path), path)
  module = importlib.util.module_from_spec(loader)
  loader.loader.exec_module(module)
  return module.get_config(argument) if argument else module.get_config()


def _folder():
  """Of configs: in the package, or in the checkout beside it."""
  inside = _HERE / 'configs'
  return inside if inside.is_dir() else _HERE.parent / 'configs'
