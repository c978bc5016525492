"""Settings as JSON has them, and what of them changes results."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rpt_jax.settings import plugins
from rpt_jax.settings.declare import UNSET


def floats(settings) -> dict[str, np.float32]:
  """The numbers of a plug-in that runs may differ in and share a compile.

  Put back with `dataclasses.replace(settings, **floats)`, traced or not.
  """
  values = dataclasses.asdict(settings)
  return {k: np.float32(v) for k, v in values.items() if isinstance(v, float)}


def plain(settings, *, essence: bool = False):
  """Settings as JSON has them; with `essence` only what changes results."""
  if isinstance(settings, Mapping):
    return {k: plain(v, essence=essence) for k, v in settings.items()}
  if isinstance(settings, tuple):
    return [plain(v, essence=essence) for v in settings]
  if not dataclasses.is_dataclass(settings):
    return settings
  values = {}
  for field in dataclasses.fields(settings):
    value, metadata = getattr(settings, field.name), field.metadata
    unchanged = metadata.get('how') or metadata.get('absent', UNSET) == value
    if essence and unchanged:
      continue
    values[field.name] = plain(value, essence=essence)
    if metadata.get('plugins') and value is not None:
      _name_kinds(values[field.name], value)
  return values


def _name_kinds(values, plugged):
  """Puts its kind into the values of a plug-in, or of each of named ones."""
  if isinstance(plugged, Mapping):
    for name, each in plugged.items():
      _name_kinds(values[name], each)
  else:
    values['kind'] = plugins.kind(plugged)


def plugged(settings) -> dict[str, Any]:
  """The settings of a plug-in and its kind, as JSON has them."""
  return plain(settings) | {'kind': plugins.kind(settings)}


def essence(settings) -> Any:
  """What of settings changes results, as JSON has it: what is hashed."""
  return plain(settings, essence=True)


def leaves(settings, prefix: str = '') -> Iterator[tuple[str, Any]]:
  """('a.b', value) of nested dictionaries."""
  for name, value in settings.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value
