"""The section of a config that reads a dataset, as Python to paste."""

import keyword
import re
from collections.abc import Mapping
from typing import Any

import ml_collections

_OWN = ('split', 'format')  # Keys of the section; others are of its mapping.
_FELT = ('state', 'action')


def write(source, options: Mapping[str, Any], survey) -> str:
  """Statements on a `config`, with `settings` imported; and what suits it.

  Args:
    source: `episodes.Source` of the dataset.
    options: what it was opened with.
    survey: `episodes.survey.Survey` of it; cameras that showed nothing are
      left out.
  """
  cameras = tuple(
    name
    for name, column in source.streams.items()
    if column.kind == 'image' and name not in survey.black
  )
  values = {'path': source.path}
  values |= {k: v for k, v in options.items() if k in _OWN}
  values |= {'cameras': cameras, 'mapping': _mapping(source, options, cameras)}
  lines = [f'config.domains.{_name(survey.name)} = settings.plugin(']
  lines += ["  'domains',", "  'recorded',"]
  for key, value in values.items():
    if isinstance(value, dict):
      lines += [
        f'  {key}={{',
        *(f'    {k!r}: {v!r},' for k, v in value.items()),
      ]
      lines.append('  },')
    else:
      lines.append(f'  {key}={value!r},')
  lines.append(')')
  if not cameras:
    lines.append("config.encoder = 'state'  # There is no camera.")
  if survey.stride:
    step = f"delta_{survey.stride}=('delta:{survey.stride}',)"
    lines.append(f'# config.quantize.recipes = settings.recipes({step})')
  return '\n'.join(lines)


def _mapping(source, options, cameras):
  """What was given, and the column of every stream unless a card has them."""
  given = {k: v for k, v in options.items() if k not in _OWN}
  if 'card' in given:
    return given
  names = [k for k in (*cameras, *_FELT) if k in source.streams]
  columns = source.columns_of(names)
  return {name: '+'.join(columns[name]) for name in names} | given


def _name(text):
  """An identifier that resembles a name."""
  name = re.sub(r'\W', '_', text, flags=re.ASCII)
  taken = keyword.iskeyword(name) or hasattr(ml_collections.ConfigDict, name)
  return f'dataset_{name}' if taken or not name.isidentifier() else name
