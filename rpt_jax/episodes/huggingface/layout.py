"""Where the episodes of a dataset of Hugging Face lie.

A row is a step, of the episode that a column names, or it is an episode, whose
columns are lists.
"""

import json
import pathlib
from typing import Any, NamedTuple

from rpt_jax.episodes import parquet
from rpt_jax.episodes.columns import FIELDS
from rpt_jax.episodes.huggingface import cells

EPISODE = ('episode_index', 'episode_id', 'episode')
_STEP = ('frame_index', 'step_index', 'step', 'timestep', 'step_id', 'frame')


class Layout(NamedTuple):
  """Whether a row is a whole episode, and which columns say what.

  `episode` tells the episode of a row and `step` their order, '' if none does;
  `once` are those with one value for an episode, `longer` those that may have
  one step more than its actions.
  """

  whole: bool
  episode: str
  step: str
  once: list[str]
  longer: list[str]


def look(
  path: pathlib.Path,
  splits: list[list[pathlib.Path]],
  tables: parquet.Tables,
  folder: pathlib.Path,
) -> dict[str, Any]:
  """What there is to know of a dataset, for JSON.

  'rows' of each file, 'layout' (see `Layout`), 'cells' {column: Cell},
  'left_out' {column: why}; 'first' row and 'lengths' of each episode. Frames
  that are in files lie in `folder`. Raises ValueError for what is no dataset of
  episodes.
  """
  schema, rows = _schema(path, splits, tables)
  features = _features(schema)
  names = schema.names
  lists = [f.name for f in schema if _is_steps(f.type, features.get(f.name))]
  episode = next((name for name in EPISODE if name in names), '')
  is_ordered = bool({*_STEP} & {*names})
  of_splits = _runs(tables, splits, episode, is_ordered) if episode else []
  alone = all(count == 1 for runs in of_splits for _, _, count in runs)
  whole = alone and any(_is_nested(schema.field(name).type) for name in lists)
  if whole:
    measure = _measure(schema, lists)
    first, lengths = [*range(sum(rows))], _counts(tables, splits, measure)
  elif episode:
    lists, measure = names, ''
    first, lengths = _together(path, of_splits, episode)
  else:
    raise _unknown(path, names)
  row = _first_row(splits, rows, tables, names)
  held, left_out = _cells(row, features, whole, lists, folder)
  fields = {*sum(FIELDS.values(), ())}
  is_longer = measure in FIELDS['action']
  layout = Layout(
    whole=whole,
    episode=episode,
    step='' if whole else _step(held),
    once=[name for name in held if name not in lists],
    longer=[name for name in lists if is_longer and name not in fields],
  )
  return {
    'rows': rows,
    'layout': layout._asdict(),
    'cells': held,
    'left_out': left_out,
    'first': first,
    'lengths': lengths,
  }


def _unknown(path, names) -> ValueError:
  return ValueError(
    f'{path}: found the columns {names}; expected one of {EPISODE}, which '
    'tells the episode of a row, or rows that are episodes, with lists of '
    'frames or vectors'
  )


def _first_row(splits, rows, tables, names):
  """The first row of the first file that has one."""
  places = [file for group in splits for file in group]
  start = next(i for i, count in enumerate(rows) if count)
  return tables.rows(places[start], names, 0, 1)


def _features(schema) -> dict[str, Any]:
  """{column: feature} as `datasets` describes them; {} where it did not."""
  try:
    about = json.loads((schema.metadata or {}).get(b'huggingface', b'{}'))
    return dict(about['info']['features'])
  except (ValueError, KeyError, TypeError, RecursionError):
    return {}


def _kind(feature: Any) -> str:
  """What the lists of a feature are of, at any depth; '' of what is unclear."""
  while isinstance(feature, list) and feature or _is_list(feature):
    inner = feature if isinstance(feature, list) else [feature.get('feature')]
    feature = inner[0]
  return str(feature.get('_type', '')) if isinstance(feature, dict) else ''


def _is_list(feature):
  lists = ('Sequence', 'List', 'LargeList')
  return isinstance(feature, dict) and feature.get('_type') in lists


def _step(held) -> str:
  """The column that orders rows."""
  numbers = {n for n, c in held.items() if c.kind == 'values' and not c.shape}
  return next((name for name in _STEP if name in numbers), '')


def _schema(path, splits, tables):
  """(the schema that all files share, how many rows each has)."""
  places = [file for group in splits for file in group]
  abouts = [tables.about(file) for file in places]
  rows = [count for _, count in abouts]
  if not sum(rows):
    raise ValueError(f'{path}: found no rows; copy the dataset again')
  schema = abouts[0][0]
  for file, (other, _) in zip(places, abouts, strict=True):
    if not other.equals(schema):
      columns, expected = (
        ', '.join(f'{field.name}: {field.type}' for field in each)
        for each in (other, schema)
      )
      raise ValueError(
        f'{file}: found the columns {columns}, expected {expected} as in '
        f'{places[0]}; open them apart'
      )
  return schema, rows


def _is_nested(type_) -> bool:
  """Whether it can only be of an episode: a list of vectors, or of frames."""
  levels = cells.depth(type_)
  return levels > 1 or levels == 1 and cells.holds_images(type_)


def _is_steps(type_, feature) -> bool:
  """Whether it is a list of any length, or of vectors, and no array of one."""
  shape = feature.get('shape') if isinstance(feature, dict) else None
  if isinstance(shape, list) and shape and shape[0] is not None:
    return False
  return cells.depth(type_) > cells.is_vector(type_)


def _measure(schema, lists) -> str:
  """The list that says how long an episode is: the actions, or a cheap one."""
  actions = [name for name in FIELDS['action'] if name in lists]
  cheap = [n for n in lists if not cells.holds_images(schema.field(n).type)]
  return [*actions, *cheap, *lists][0]


def _counts(tables, splits, column) -> list[int]:
  lengths, compute = [], parquet.library().compute
  for file in (file for group in splits for file in group):
    for table in tables.groups(file, [column]):
      items = cells.plain(table[column])
      lengths += compute.list_value_length(items).fill_null(0).to_pylist()
  return lengths


def _cells(row, features, whole, lists, folder):
  """({column: Cell}, {column: why it cannot be read}) of one row."""
  held, left_out = {}, {}
  for name in row.column_names:
    items, is_step = cells.plain(row[name]), name in lists
    if whole and is_step:
      items = items.flatten()
    try:
      cell = cells.cell(items, _kind(features.get(name)), folder)
    except (OSError, ValueError) as error:
      why = str(error).removeprefix(f'{folder}: ')
      raise ValueError(
        f'{folder}: {name}: the first step cannot be read ({why}); copy the '
        'dataset again'
      ) from error
    if isinstance(cell, cells.Cell) and not is_step and cell.shape:
      cell = 'numbers of a whole episode, expected some for each step'
    (left_out if isinstance(cell, str) else held)[name] = cell
  return held, left_out


def _together(path, of_splits, episode):
  """(first rows, lengths), if the rows of each episode lie together."""
  for runs in of_splits:
    seen = set()
    for value, first, _ in runs:
      if value in seen:
        raise ValueError(
          f'{path}: row {first} is of {episode} {value!r} again, expected its '
          f'rows together; write it again after dataset.sort({episode!r}), or, '
          'if these are two episodes, with a number of its own for each'
        )
      seen.add(value)
  runs = [run for runs in of_splits for run in runs]
  return [first for _, first, _ in runs], [count for _, _, count in runs]


def _runs(
  tables, splits, column, is_ordered
) -> list[list[tuple[Any, int, int]]]:
  """For each split, (value, first row, rows) of every run of one value."""
  of_splits, first = [], 0
  for group in splits:
    of_splits.append([])
    for file in group:
      start, runs = first, of_splits[-1]
      for table in tables.groups(file, [column]):
        chunk = cells.plain(table[column])
        _add(runs, chunk, first, f'{file}: {column}')
        first += len(chunk)
      if runs and runs[-1][1] < start and not is_ordered:
        raise ValueError(
          f'{file}: {column} begins with {runs[-1][0]!r}, as the file before '
          f'ends, and no column of {_STEP} tells whether it goes on; give each '
          'episode a number of its own'
        )
  return of_splits


def _add(of_split, chunk, first, where):
  """Appends the runs of a chunk, or makes the last one longer."""
  types, start = parquet.library().pa.types, 0
  is_text = types.is_string(chunk.type) or types.is_large_string(chunk.type)
  if not (is_text or types.is_integer(chunk.type)):
    raise ValueError(
      f'{where}: found {chunk.type}, expected whole numbers or texts'
    )
  if chunk.null_count:
    raise ValueError(f'{where}: found a row without a value')
  encoded = parquet.library().compute.run_end_encode(chunk)
  values, ends = encoded.values.to_pylist(), encoded.run_ends.to_pylist()
  for value, end in zip(values, ends, strict=True):
    begin, count = first + start, end - start
    if of_split and of_split[-1][0] == value:
      _, begin, before = of_split.pop()
      count += before
    of_split.append((value, begin, count))
    start = end
