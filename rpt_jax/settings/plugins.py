"""Kinds of a room: files found by their names, each with its `Settings`."""

import dataclasses
import functools
import importlib
import importlib.util
import pkgutil
import re


def module(room: str, kind: str):
  """The file of a kind; a dotted name is a module of the user's own.

  Raises ValueError where there is none, naming the kinds there are.
  """
  name = kind if '.' in kind else f'rpt_jax.{room.replace("/", ".")}.{kind}'
  if not re.fullmatch(r'[A-Za-z_][\w.]*', kind) or not _exists(name):
    raise ValueError(f'found {kind!r}, expected one of {kinds(room)}')
  return importlib.import_module(name)


def settings_of(room: str, kind: str):
  """The dataclass `Settings` of a kind; ValueError where it has none."""
  file = module(room, kind)
  if not dataclasses.is_dataclass(getattr(file, 'Settings', None)):
    raise ValueError(f'found {kind!r}, expected one of {kinds(room)}')
  return file.Settings


@functools.cache
def kinds(room: str) -> list[str]:
  """The kinds of a room: its files that have `Settings`."""
  package = importlib.import_module(f'rpt_jax.{room.replace("/", ".")}')
  names = [m.name for m in pkgutil.iter_modules(package.__path__)]
  modules = {
    n: importlib.import_module(f'{package.__name__}.{n}') for n in names
  }
  return sorted(n for n, m in modules.items() if hasattr(m, 'Settings'))


def kind(settings) -> str:
  """The kind whose `Settings` these are."""
  module = type(settings).__module__
  return module.rsplit('.', 1)[-1] if module.startswith('rpt_jax.') else module


def _exists(name):
  try:
    return importlib.util.find_spec(name) is not None
  except ImportError:
    return False
