"""How a key of a section is declared."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from rpt_jax.settings.plugins import settings_of

UNSET = object()


def key(
  default,
  meaning: str,
  *,
  low: float | None = None,
  above: float | None = None,
  high: float | None = None,
  choices: tuple | None = None,
  match: str = '',
  length: int | None = None,
  distinct: bool = False,
  plugins: str = '',
  kind: str = '',
  optional: bool = False,
  how: bool = False,
  absent: Any = UNSET,
) -> Any:
  """A field of a section.

  Args:
    meaning: what it is, with its unit.
    low, above, high: bounds of a number or of all numbers of a tuple: at least,
      more than, at most.
    choices: all values there are.
    match: a regular expression that a text (each text of a tuple) must match.
    length: least entries of a tuple or mapping.
    distinct: no entry of a tuple comes twice.
    plugins: the room whose files give the kinds of this section.
    kind: the one that is meant where none is given; '': one must be.
    optional: of a section with kinds, it may be left out.
    how: changes how it is made, not what.
    absent: what it meant before there was such a key.
  """
  metadata = {
    'meaning': meaning,
    'low': low,
    'above': above,
    'high': high,
    'choices': choices,
    'match': match,
    'length': length,
    'distinct': distinct,
    'plugins': plugins,
    'optional': optional,
    'how': how,
    'absent': absent,
  }
  if kind:
    return dataclasses.field(
      default_factory=lambda: settings_of(plugins, kind)(), metadata=metadata
    )
  if isinstance(default, dict):
    return dataclasses.field(
      default_factory=lambda: Named(default), metadata=metadata
    )
  if isinstance(default, type):  # Its own defaults are looked up when read.
    return dataclasses.field(default_factory=default, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


def refuse(where: str, value, expected: str) -> None:
  """Raises the ValueError of a key, 'config.a.b', that holds what it cannot."""
  shown = ' '.join(repr(value).split())  # Sections are shown on many lines.
  if len(shown) > 300:
    shown = f'{shown[:300]}...'
  raise ValueError(f'{where}: found {shown}, expected {expected}')


class Named(Mapping):
  """Named values that do not change, so that they can be hashed."""

  def __init__(self, values: Mapping = types.MappingProxyType({})):
    self._values = dict(values)

  def __getitem__(self, name):
    return self._values[name]

  def __iter__(self):
    return iter(self._values)

  def __len__(self):
    return len(self._values)

  def __hash__(self):
    return hash(tuple(self._values.items()))

  def __repr__(self):
    return f'Named({self._values})'


def ordered(pair: tuple[float, float], where: str) -> None:
  """Raises ValueError unless a pair is (low, high)."""
  if pair[0] > pair[1]:
    refuse(where, pair, '(low, high)')


def divides(width: int, heads: int, where: str) -> None:
  """Raises ValueError unless `heads` divides `width`."""
  if width % heads:
    refuse(f'{where}num_heads', heads, f'a divisor of width={width}')
