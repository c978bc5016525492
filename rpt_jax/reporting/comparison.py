"""Runs beside each other, as lines of a terminal and as a page."""

from typing import Any, NamedTuple

from rpt_jax.reporting import html, plots, tidy
from rpt_jax.results import ENOUGH_PIPELINES, NO_RUN, Cell, Measure, Row

NONE = '–'  # What a run has not.
_MOST = 40  # Rows of a table in a terminal.
_SEEDS = 12  # Of pipelines, on the page.
DECIDES = (
  'Differences are to the first run. Where both runs have pipelines of the '
  'same seeds, settings of the domain and episodes, they are paired by '
  "pipeline, with Student's 95 % interval over the pairs; elsewhere they have "
  'no interval. Bold: the difference decides, as its interval leaves zero out, '
  'its p is below 0.05 once corrected for its table (Holm), and it is over '
  f'{ENOUGH_PIPELINES} pipelines or more.'
)


class Run(NamedTuple):
  """One of those compared."""

  name: str
  path: str
  command: str
  revision: str
  seeds: list[int]  # Of its pipelines.
  seconds: float  # All of its stages.


class Difference(NamedTuple):
  """A run minus the first one."""

  value: float
  interval: tuple[float, float] | None
  p: float | None  # Corrected for its table.
  pipelines: int  # Of the same seeds.
  doubt: str  # Why it decides nothing; '' where its interval and p may.

  @property
  def side(self) -> int:
    """+1 or -1 where it decides, 0 where it does not."""
    return 0 if self.doubt else tidy.side({'interval': self.interval})


class Line(NamedTuple):
  """One policy in one place, in all runs."""

  place: str
  cell: Cell
  scores: tuple[Row | None, ...]
  differences: tuple[Difference | None, ...]  # Of all runs but the first.

  @property
  def policy(self) -> str:
    """What it learned from, and how: 'next, probe'."""
    run = '' if self.cell.run == NO_RUN else self.cell.run
    parts = run, self.cell.method, self.cell.eyes
    tuned = self.cell.encoder if self.cell.method == 'tuned' else ''
    return ', '.join(part for part in (*parts, tuned) if part)


class Table(NamedTuple):
  """Lines of one measure, which p is corrected for."""

  measure: Measure
  title: str
  lines: list[Line]


class Comparison(NamedTuple):
  """All that is said of runs."""

  runs: list[Run]
  settings: list[tuple[str, tuple[Any, ...]]]  # (key, its values).
  tables: list[Table]
  others: dict[str, list[tuple[str, tuple[Row | None, ...]]]]  # By stage.
  pairing: list[str]  # Which pipelines are pairs, a sentence each.


def lines(c: Comparison) -> list[str]:
  """What a terminal shows."""
  names = [run.name for run in c.runs]
  said = [
    f'{run.name}: {_seeds(run)}, {tidy.duration(run.seconds)}, '
    f'revision {run.revision}'
    for run in c.runs
  ]
  said.append(f'settings that differ: {len(c.settings)}')
  rows = [(key, *map(str, values)) for key, values in c.settings]
  said += _columns([('', *names), *rows]) if rows else []
  said += c.pairing
  for table in c.tables:
    head = ('', 'policy', 'demos', *names, *_minus(names))
    body = [_texts(line) for line in table.lines]
    title = table.title.capitalize()
    said += ['', f'{title}: {table.measure.score}, {table.measure.scale}']
    said += _columns([head, *body])
    said += _doubts(table)
  for stage, measured in {} if c.tables else c.others.items():
    body = [(of, *map(_number, rows)) for of, rows in measured]
    said += ['', stage, *_columns([('', *names), *body])]
  return said


def _seeds(run):
  plural = '' if len(run.seeds) == 1 else 's'
  return f'{len(run.seeds)} pipeline{plural}'


def _minus(names):
  first, *others = names
  return [f'{other} \N{MINUS SIGN} {first}' for other in others]


def _texts(line):
  """A line of a table as plain cells."""
  label = plots.env_label(line.place)
  scores = map(_number, line.scores)
  about = label, line.policy, str(line.cell.demos)
  return (*about, *scores, *map(_difference, line.differences))


def _number(row):
  return tidy.with_interval(row) if row else NONE


def _difference(one):
  """As in '+0.10 [+0.02, +0.18]*': a star where it decides."""
  if one is None:
    return NONE
  bounds = tidy.span(one.interval, sign=True) or 'no interval'
  return f'{tidy.number(one.value, sign=True)} {bounds}{"*" * abs(one.side)}'


def _doubts(table):
  """Why differences have no interval or decide nothing, each reason once."""
  doubts = {}
  for line in table.lines:
    for one in filter(None, line.differences):
      doubts[one.doubt] = doubts.get(one.doubt, 0) + 1
  decided = sum(
    bool(one and one.side) for line in table.lines for one in line.differences
  )
  said = [f'  * differences that decide: {decided}'] if decided else []
  return said + [
    f'  differences that do not decide: {count}, {doubt}'
    for doubt, count in doubts.items()
    if doubt
  ]


def _columns(rows):
  """Cells in columns; what a terminal would drown in is left to the page."""
  shown = rows[: _MOST + 1]
  widths = [max(len(row[i]) for row in shown) for i in range(len(rows[0]))]
  said = [
    '  ' + '  '.join(map(str.ljust, row, widths)).rstrip() for row in shown
  ]
  if len(rows) > len(shown):
    said.append(f'  ... and {len(rows) - len(shown)} more on the page')
  return said


def render(c: Comparison, command: str) -> str:
  """One self-contained HTML page."""
  doc = html.Document()
  doc.section('runs', 'Runs', [_runs(doc, c)])
  doc.section('settings', 'Settings that differ', [_settings(doc, c)])
  for table in c.tables:
    anchor = f'{table.measure.name}-{table.title.replace(" ", "-")}'
    title = f'{table.measure.title}: {table.title}'
    doc.section(anchor, title, [_table(doc, c, table)])
  doc.section('others', 'What else was measured', _others(c))
  title = ', '.join(run.name for run in c.runs)
  footer = f'Made by python -m rpt_jax.main {command}'
  return doc.render(f'Compared: {title}', DECIDES, footer)


def _text(text):
  return f'<td class="text">{html.escape(text)}</td>'


def _head(c, *first):
  names = [run.name for run in c.runs]
  return [html.escape(name) for name in (*first, *names)]


def _runs(doc, c):
  body = []
  for run in c.runs:
    more = ', ...' if len(run.seeds) > _SEEDS else ''
    seeds = ', '.join(map(str, run.seeds[:_SEEDS])) + more
    texts = (run.name, seeds, tidy.duration(run.seconds), run.revision)
    cells = ''.join(map(html.cell, texts))
    body.append(f'{cells}{_text(run.path)}{_text(run.command)}')
  head = ('Run', 'Seeds', 'Took', 'Revision', 'Where', 'Command')
  table = html.table(head, body, text=('Where', 'Command'))
  caption = '. '.join(('Runs and their pipelines', *c.pairing))
  return doc.table(table, f'{caption}.')


def _settings(doc, c):
  if not c.settings:
    return html.paragraph('None that changes results.')
  body = [
    ''.join(map(html.cell, (key, *map(str, values))))
    for key, values in c.settings
  ]
  table = html.table(_head(c, 'Key'), body)
  caption = 'Settings that change results and differ. All others are alike.'
  return doc.table(table, caption)


def _table(doc, c, table):
  names = [run.name for run in c.runs]
  head = [*_head(c, table.measure.env.capitalize(), 'Policy', 'Demos')]
  head += [html.escape(words) for words in _minus(names)]
  body, before = [], None
  for line in table.lines:
    label = plots.env_label(line.place) if line.place != before else ''
    rule = ' class="rule"' if label else ''
    before = line.place
    cells = html.cell(label) + _text(line.policy)
    cells += html.cell(str(line.cell.demos))
    cells += ''.join(map(html.measured, line.scores))
    cells += ''.join(map(_difference_cell, line.differences))
    body.append(f'<tr{rule}>{cells}</tr>')
  doubts = (text.strip('* ') for text in _doubts(table))
  doubts = ''.join(f' {text[0].upper()}{text[1:]}.' for text in doubts)
  return doc.table(
    html.table(head, body, text=('Policy',)),
    f'{table.measure.score.capitalize()}, {table.measure.scale}.{doubts}',
  )


def _difference_cell(one):
  if one is None:
    return html.cell(NONE)
  tone = {1: 'sure above', 0: '', -1: 'sure below'}[one.side]
  under = one.doubt
  if one.interval:
    under = f'{tidy.span(one.interval, sign=True)}, p {one.p:.2g}'
  return html.cell(tidy.number(one.value, sign=True), under, tone=tone)


def _others(c):
  parts = []
  for stage, measured in c.others.items():
    body = [
      html.cell(of) + ''.join(map(html.measured, rows)) for of, rows in measured
    ]
    table = html.table(_head(c, 'Measure'), body)
    parts.append(html.details(stage, f'<div class="scroll">{table}</div>'))
  return parts
