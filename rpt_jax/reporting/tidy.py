"""Picking rows out of tidy results.

A row is {"stage", "name", "value", "interval": [low, high] or null, "seeds",
"tags": {...}}, one line of `results.jsonl`.
"""

from typing import Any

Row = dict[str, Any]
_TINY = 1e-9


def select(rows: list[Row], name: str | None = None, **tags) -> list[Row]:
  """Rows with this name and these tags, in order.

  A tag given as a tuple accepts any of its values; costs (tag kind 'cost') are
  left out unless asked for with `kind='cost'`.
  """
  tags.setdefault('kind', None)
  return [
    row
    for row in rows
    if (name is None or row['name'] == name)
    and all(_matches(row['tags'].get(k), v) for k, v in tags.items())
  ]


def latest(rows: list[Row], name: str, **tags) -> Row | None:
  """The last such row (a later row replaces an earlier one), or None."""
  found = select(rows, name, **tags)
  return found[-1] if found else None


def unique(rows: list[Row], tag: str) -> list:
  """Values of a tag in order of appearance, without repeats."""
  values = (row['tags'].get(tag) for row in rows)
  return list(dict.fromkeys(v for v in values if v is not None))


def check(rows: list[Row]) -> list[Row]:
  """The rows themselves; raises ValueError naming the first malformed one."""
  for i, row in enumerate(rows):
    missing = {'stage', 'name', 'value', 'tags'} - set(row)
    if missing:
      raise ValueError(
        f'results row {i}: found {sorted(row)}, expected also '
        f'{sorted(missing)}: every stage writes all of them'
      )
    interval = row.get('interval')
    if interval is not None and len(interval) != 2:
      raise ValueError(
        f'results row {i} ({row["name"]}): found interval {interval}, '
        'expected [low, high] or null'
      )
  return rows


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
  """A number as it is printed: true minus sign, en dash where there is none."""
  if value is None or value != value:
    return '–'
  text = f'{value:+.{digits}f}' if sign else f'{value:.{digits}f}'
  if float(text) == 0:
    text = text.replace('-', '+' if sign else '')
  return text.replace('-', '\N{MINUS SIGN}')


def span(interval, digits: int = 2, sign: bool = False) -> str:
  """An interval as it is printed: [low, high], or nothing."""
  if interval is None:
    return ''
  low, high = (number(x, digits, sign) for x in interval)
  return f'[{low}, {high}]'


def with_interval(row: Row, sign: bool = False) -> str:
  """A row's value and, where it has one, its interval."""
  value = number(row['value'], sign=sign)
  return f'{value} {span(row.get("interval"), sign=sign)}'.strip()


def side(row: Row) -> int:
  """+1 where the interval lies above zero, -1 below, 0 where it holds zero.

  Ends that are zero but for rounding, as those of rates may be, are zero.
  """
  if row.get('interval') is None:
    return 0
  low, high = row['interval']
  return int(low > _TINY) - int(high < -_TINY)


def duration(seconds: float) -> str:
  """Seconds as a reader says them: 8.2 s, 12 min 31 s, 1 h 05 min."""
  if seconds < 59.5:
    return f'{seconds:.1f} s' if seconds < 9.95 else f'{seconds:.0f} s'
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f'{minutes} min {rest:02d} s'
  hours, minutes = divmod(minutes, 60)
  return f'{hours} h {minutes:02d} min'


def demonstrations(count: int) -> str:
  return f'{count} demonstration' + ('' if count == 1 else 's')


def _matches(found, wanted) -> bool:
  return found in wanted if isinstance(wanted, tuple) else found == wanted
