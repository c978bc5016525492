"""Numbers of results as a page prints them."""

from rpt_jax import results
from rpt_jax.results import Costs, Row

_TINY = 1e-9


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


def act_time(rows: list[Row], **tags) -> str:
  """Milliseconds of an `act`, the mean of rows with these tags."""
  took = [
    row['value']
    for row in rows
    if row['name'] == Costs.ACT
    and all(results.tag(row, key) == value for key, value in tags.items())
  ]
  return number(sum(took) / len(took) if took else None, 1)


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
  """How many, in words."""
  return f'{count} demonstration' + ('' if count == 1 else 's')
