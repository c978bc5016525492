"""Which columns of a dataset make which streams, by wish or by default."""

from collections.abc import Mapping

from rpt_jax.episodes.columns import STEP_FIELDS

_FROM_EXTENT = ('is_first', 'is_last')


def resolve(store, mapping: Mapping[str, str]) -> dict[str, list[str]]:
  """{stream: its columns}, observations first, those of a store by default.

  Raises ValueError for a column that the store does not have or cannot read.
  """
  if extent := [k for k in mapping if k in _FROM_EXTENT]:
    raise ValueError(
      f'{store.path}: {extent[0]} cannot be mapped, it follows from where an '
      'episode begins and ends; leave it out'
    )
  chosen = {k: v for k, v in mapping.items() if k not in STEP_FIELDS}
  defaults = {k: v for k, v in store.defaults.items() if k not in _FROM_EXTENT}
  if not chosen:
    chosen = {k: v for k, v in defaults.items() if k not in STEP_FIELDS}
  if not chosen:
    raise ValueError(
      f'{store.path}: found no observation among {sorted(store.columns)}; '
      "name one, as in image='path/to/image'"
    )
  fields = {k: v for k, v in defaults.items() if k in STEP_FIELDS}
  fields |= {k: v for k, v in mapping.items() if k in STEP_FIELDS}
  return {k: split(store, k, v) for k, v in {**chosen, **fields}.items()}


def split(store, stream: str, expression: str) -> list[str]:
  """The columns that `a+b` names for a stream; errors as `resolve`."""
  columns = _summands(store.columns, expression.split('+'))
  for column in columns:
    is_text = column in store.columns and store.columns[column].kind == 'text'
    if is_text and len(columns) > 1:
      raise ValueError(
        f'{store.path}: {stream}={expression!r}: {column} is text, expected '
        'numbers to be joined'
      )
    if why := getattr(store, 'left_out', {}).get(column):
      raise ValueError(
        f'{store.path}: {stream}={expression!r}: {column} cannot be read '
        f'({why}); name another of {sorted(store.columns)}'
      )
    if column not in store.columns:
      raise ValueError(
        f'{store.path}: {stream}={expression!r} is not among its columns; it '
        f'has {sorted(store.columns)}'
      )
  return columns


def _summands(columns, parts) -> list[str]:
  """The columns that are joined by '+', which may be in a name itself."""
  if not parts:
    return []
  sizes = range(len(parts), 0, -1)
  size = next((n for n in sizes if '+'.join(parts[:n]) in columns), 1)
  return ['+'.join(parts[:size]), *_summands(columns, parts[size:])]
