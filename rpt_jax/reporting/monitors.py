"""Which monitors saw failures coming, and how often they were wrong."""

from rpt_jax import results
from rpt_jax.reporting import html, tidy
from rpt_jax.results import COST, Watching


def section(doc: html.Document, rows) -> list[str]:
  """Tables of failures detected and of false alarms; [] without monitors."""
  watched = [row for row in rows if results.tag(row, 'monitor') is not None]
  rates = [r for r in watched if results.tag(r, 'kind') != COST]
  if not rates:
    return []
  names = results.unique(rates, 'monitor')
  by_step = {Watching.by_step(name) for name in names}
  single = [name for name in names if name not in by_step]
  by_step = [name for name in names if name in by_step]
  parts = []
  for env in results.unique(rates, 'env'):
    own = [row for row in rows if results.tag(row, 'env') == env]
    parts += [_detected(doc, own, env, x) for x in (single, by_step) if x]
    parts.append(_false(doc, own, env, names))
  return parts


def _detected(doc, rows, env, names):
  """A world a line: successes, and the failures that each detected."""
  body = []
  for world in results.unique(rows, 'world'):
    line = [f'<td>{html.escape(world)}</td>']
    line.append(
      html.measured(results.latest(rows, Watching.SUCCESS, world=world))
    )
    line += [_rate(rows, Watching.DETECTED, world, name) for name in names]
    body.append(''.join(line))
  head = ('World', 'Success', *map(html.escape, names))
  return doc.table(
    html.table(head, body),
    f'Failures with an alarm, {env}. The share of failed episodes in which a '
    'monitor raised an alarm before they ended. “any” is an alarm of any of '
    'them, each with its part of the rate; “by step” are thresholds that grow '
    'as sums of successes do. Success is the share of all episodes in that '
    'world.',
  )


def _false(doc, rows, env, names):
  """A monitor a line: false alarms, when it warns, what it costs."""
  body, where = [], Watching.WORLD
  for name in names:
    line = [f'<td>{html.escape(name)}</td>']
    line += [
      _rate(rows, row, where, name)
      for row in (Watching.FALSE, Watching.FALSE_MEAN)
    ]
    late = [
      row['value']
      for row in results.select(rows, Watching.WHEN, monitor=name)
      if row['value'] is not None
    ]
    line.append(html.cell(tidy.number(sum(late) / len(late) if late else None)))
    line.append(html.cell(tidy.act_time(rows, monitor=name)))
    body.append(''.join(line))
  bare = html.cell(tidy.act_time(rows, monitor='none'))
  body.append(f'<td>no monitor</td>{"<td>–</td>" * 3}{bare}')
  head = (
    'Monitor',
    'False alarms',
    'Over calibrations',
    'Warned at',
    'act, ms',
  )
  return doc.table(
    html.table(head, body),
    f'False alarms in the world as it was, {env}. The share of successes that '
    'no threshold was made of and that raised an alarm, and the same as a mean '
    'over many ways to draw the successes of the threshold, which is what the '
    'rate promises. Then at which share of a failure’s steps it was warned of, '
    'a mean over worlds, and how long an act of one robot takes.',
  )


def _rate(rows, row, world, name):
  return html.measured(results.latest(rows, row, world=world, monitor=name))
