"""From a config to the sections that the code works with, checked."""

import dataclasses
import difflib
import functools
import math
import os
import re
import sys
import typing
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from rpt_jax import files
from rpt_jax.settings import plugins
from rpt_jax.settings.declare import Named, refuse
from rpt_jax.settings.essence import leaves


def read(cls, config: Mapping, where: str = 'config'):
  """The section that a config means, with all its defaults.

  Raises ValueError, in one line that names the key, for one that is unknown
  (with the closest name), of another type, or out of range.
  """
  if not isinstance(config, (Mapping, ml_collections.ConfigDict)):
    refuse(where, config, 'a section')
  fields = {f.name: f for f in dataclasses.fields(cls)}
  hints, values = types_of(cls), {}
  for name in config:
    if name not in fields:
      raise ValueError(f'{where}.{unknown(name, fields)}')
  for name, field in fields.items():
    if name in config:
      place = f'{where}.{name}'
      values[name] = _value(field.metadata, hints[name], config[name], place)
    elif _required(field):
      expected = plugins.kinds(field.metadata['plugins'])
      raise ValueError(
        f'{where}.{name}: found none, expected one of {expected}'
      )
  settings = cls(**values)
  if hasattr(settings, 'check'):
    settings.check(where)
  return settings


def saved(cls, path: str | os.PathLike):
  """The section that a JSON file holds, as `plain` wrote it; errors as `read`.

  What is read runs no code: kinds of other packages are refused unless these
  have been imported.
  """
  config = files.read_json(path)
  for place, kind in leaves(config):
    name = place.rpartition('.')[2]
    if name in ('kind', 'format') and isinstance(kind, str) and '.' in kind:
      if kind not in sys.modules:
        raise ValueError(
          f'{path}: {place}: found {kind!r}, a module of another package; '
          'import it before, if you trust it; beside --report and --compare '
          'give the --config that names it'
        )
  try:
    return read(cls, config)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def _required(field):
  chosen = field.metadata
  has_default = field.default_factory is not dataclasses.MISSING
  return chosen.get('plugins') and not (chosen['optional'] or has_default)


@functools.cache
def types_of(cls):
  """{key: its type} of a section."""
  return typing.get_type_hints(cls)


def section_of(hint):
  """The dataclass of a section, optional or not; None for other types."""
  for cls in (hint, *typing.get_args(hint)):
    if dataclasses.is_dataclass(cls):
      return cls
  return None


def _value(metadata, hint, value, where):
  """What a key holds, checked."""
  if value is None and metadata.get('optional'):
    return None
  if typing.get_origin(hint) is Mapping:
    return _named(metadata, typing.get_args(hint)[1], value, where)
  if metadata.get('plugins'):
    return unplugged(metadata['plugins'], value, where)
  if section_of(hint):
    return None if value is None else read(section_of(hint), value, where)
  if typing.get_origin(hint) is tuple:
    return _tuple(metadata, typing.get_args(hint), value, where)
  return _scalar(metadata, hint, value, where)


def unplugged(room: str, value: Mapping, where: str):
  """The settings that a section with a `kind` means; errors as `read`."""
  if not isinstance(value, (Mapping, ml_collections.ConfigDict)):
    refuse(where, value, f'a section whose kind is in {plugins.kinds(room)}')
  chosen = dict(value.items())
  name = chosen.pop('kind', '')
  if not isinstance(name, str):
    refuse(f'{where}.kind', name, f'one of {plugins.kinds(room)}')
  try:
    cls = plugins.settings_of(room, name)
  except (ValueError, TypeError) as error:
    raise ValueError(f'{where}.kind: {error}') from error
  return read(cls, chosen, where)


def _named(metadata, hint, value, where):
  if not isinstance(value, (Mapping, ml_collections.ConfigDict)):
    refuse(where, value, 'names with values')
  if len(value) < (metadata.get('length') or 0):
    raise ValueError(
      f'{where}: found none, expected at least {metadata["length"]} '
      f'({metadata["meaning"]})'
    )
  room = metadata.get('plugins', '')
  for name in value:
    if (room or section_of(hint)) and not re.fullmatch(r'[\w-]+', str(name)):
      refuse(where, name, 'names of letters, digits, - and _')
  free = {'meaning': metadata.get('meaning', ''), 'plugins': room}
  return Named(
    {k: _value(free, hint, v, f'{where}.{k}') for k, v in value.items()}
  )


def _tuple(metadata, hints, value, where):
  pair = len(hints) == 2 and hints[1] is not Ellipsis
  expected = f'{len(hints)} values' if pair else 'values in parentheses'
  if not isinstance(value, (tuple, list)) or pair and len(value) != len(hints):
    refuse(where, value, expected)
  if len(value) < (metadata.get('length') or 0):
    refuse(
      where,
      tuple(value),
      f'at least {metadata["length"]} ({metadata["meaning"]})',
    )
  each = hints if pair else (hints[0],) * len(value)
  values = tuple(
    _value({**metadata, 'length': None}, hint, v, where)
    for hint, v in zip(each, value, strict=True)
  )
  if metadata.get('distinct') and len(set(values)) < len(values):
    refuse(where, values, 'each once')
  return values


_NAMES = {
  int: 'an integer',
  float: 'a number',
  bool: 'True or False',
  str: 'text of one line',
}


def _scalar(metadata, hint, value, where):
  if hint is Any:
    return tuple(value) if isinstance(value, list) else value
  if isinstance(value, (np.integer, np.floating)):
    value = value.item()
  if hint is float and type(value) is int and _finite(value):
    value = float(value)
  fits = type(value) is hint
  if fits and hint in (int, float):
    fits = _finite(value) and _in_range(metadata, value)
  if fits and hint is str:
    fits = value.isprintable()  # No line breaks: messages are of one line.
  if fits and metadata.get('choices'):
    fits = value in metadata['choices']
  if fits and metadata.get('match'):
    fits = re.fullmatch(metadata['match'], value) is not None
  if fits:
    return value
  refuse(where, value, f'{_expected(metadata, hint)}{_meaning(metadata)}')


def _finite(value):
  try:
    return math.isfinite(value)
  except OverflowError:  # An integer beyond all floats.
    return False


def _in_range(metadata, value):
  low, above, high = (metadata.get(k) for k in ('low', 'above', 'high'))
  return (
    (low is None or value >= low)
    and (above is None or value > above)
    and (high is None or value <= high)
  )


def _expected(metadata, hint):
  if metadata.get('choices'):
    return f'one of {", ".join(map(repr, metadata["choices"]))}'
  words = {'low': 'at least', 'above': 'above', 'high': 'at most'}
  bounds = [
    f'{word} {metadata[k]:g}'
    for k, word in words.items()
    if metadata.get(k) is not None
  ]
  return ' '.join([_NAMES[hint], ' and '.join(bounds)]).strip()


def _meaning(metadata):
  return f' ({metadata["meaning"]})' if metadata.get('meaning') else ''


def unknown(name, expected):
  """What is said of a key that there is not."""
  hint = closest(name, expected)
  return f'{name}: no such key, expected {", ".join(expected)}{hint}'


def closest(name, expected):
  """ "; perhaps 'name'" of the most alike of what is expected; '' of none."""
  close = difflib.get_close_matches(name, list(expected), 1, cutoff=0.5)
  return f"; perhaps '{close[0]}'" if close else ''
