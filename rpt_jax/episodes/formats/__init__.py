"""Formats of datasets: a file each, found by what lies at a path.

A file here, or a module of one's own, has

  MARK                  what tells its datasets apart, for messages
  sniff(path) -> float  how sure it is that a pathlib.Path is one: 0 no, 1 by a
                        mark of its own, less by what its files are called
  open(path, split, size) -> store   see `episodes.source`; it may take `fps`
                        and `clip_steps`, and leaves to others to obey `size`

Whoever is surest reads it. Nothing heavy is imported before it is needed.
"""

import functools
import importlib
import inspect
import pathlib
import pkgutil
import re

from rpt_jax.episodes import listing

_registered = []
_INNER = (
  'dataset_info.json',
  'meta/info.json',
  'data/main_data.hdf5',
  'data/metadata.json',
  'meta/episode_ends/0',  # A chunk: what describes it is a hidden file.
  'meta/episode_ends/zarr.json',
)
_MOST_NAMED = 5


def register(reader) -> None:
  """Lets `episodes.open` try a reader of one's own: a module, or an object.

  Raises ValueError for what lacks a part of the protocol above.
  """
  for part in ('MARK', 'sniff', 'open'):
    if not hasattr(reader, part):
      raise ValueError(
        f'{_word(reader)}: found no {part}, expected it of a reader; see '
        'episodes/formats'
      )
  if reader not in _registered:
    _registered.append(reader)


def find(path: pathlib.Path, kind: str = ''):
  """The reader of what lies at `path`, or the one called `kind`.

  A dotted `kind` is a module of one's own. Raises ValueError where nobody, or
  more than one, knows the layout, and for a folder that holds datasets.
  """
  if kind:
    return _named(kind)
  readers = {**_own(), **{_word(reader): reader for reader in _registered}}
  with listing.walked_once():
    sure = {name: reader.sniff(path) for name, reader in readers.items()}
    best = max(sure.values())
    if best < 1:
      _refuse_above(path)
  chosen = [name for name, each in sure.items() if each == best]
  if not best and not path.exists():
    raise ValueError(f'{path}: no such file or folder')
  if not best:
    marks = '; '.join(f'{name}: {r.MARK}' for name, r in readers.items())
    raise ValueError(f'{path}: no dataset found; expected one of {marks}')
  if len(chosen) > 1:
    raise ValueError(
      f'{path}: could be any of {chosen}; say which, as in format={chosen[0]!r}'
    )
  return readers[chosen[0]]


def options(reader) -> set[str]:
  """What else than a path, a split and a size its `open` takes."""
  return set(inspect.signature(reader.open).parameters)


@functools.cache
def _own():
  names = [module.name for module in pkgutil.iter_modules(__path__)]
  return {n: importlib.import_module(f'{__name__}.{n}') for n in names}


def _word(reader):
  return getattr(reader, '__name__', type(reader).__name__)


def _named(kind):
  if kind in _own():
    return _own()[kind]
  if not re.fullmatch(r'[A-Za-z_]\w*(\.\w+)+', kind):
    raise ValueError(
      f'format: found {kind!r}, expected one of {sorted(_own())}, or a module '
      'of your own as a dotted name'
    )
  try:
    reader = importlib.import_module(kind)
  except ImportError as error:
    raise ValueError(f'format: {kind!r} cannot be imported: {error}') from error
  register(reader)
  return reader


def _refuse_above(path):
  """Raises ValueError for a folder in which whole datasets lie."""
  below = len(path.as_posix()) + 1
  names = (file.as_posix()[below:] for file in listing.walk(path))
  inner = {
    name.removesuffix(mark).rstrip('/')
    for name in names
    for mark in _INNER
    if name.endswith(f'/{mark}')
  }
  if inner:
    named = ', '.join(sorted(inner)[:_MOST_NAMED])
    more = ', ...' if len(inner) > _MOST_NAMED else ''
    raise ValueError(f'{path}: holds the datasets {named}{more}; give one')
