"""Section on choices: one pretraining run against another, by question.

Takes rows `comparison` and `score` of the stage `control`, as `words.split`
gives them.
"""

from typing import NamedTuple

from rpt_jax.reporting import html, plots, simulator, tidy, words
from rpt_jax.reporting.words import Finding

VERDICTS = {1: 'better', 0: 'unclear', -1: 'worse'}


class Answer(NamedTuple):
  """What one question came to in one group of tasks."""

  question: str
  group: str  # 'seen' or 'unseen'
  demos: int
  difference: tidy.Row  # First run minus second.
  first: tidy.Row  # Scores; value None where there is none.
  second: tidy.Row

  @property
  def runs(self) -> tuple[str, str]:
    """What both are called; the second with its method where that differs."""
    tags = self.difference['tags']
    other, method = tags['other'], tags.get('other_method', tags['method'])
    same = method == tags['method']
    return tags['run'], other if same else f'{other} ({method})'


def answers(rows) -> list[Answer]:
  """Every question in every group of tasks, in the order of the rows."""
  found = []
  for row in tidy.select(rows, 'comparison', env=tuple(plots.GROUPS)):
    tags = row['tags']
    env, demos, method = (tags[k] for k in ('env', 'demos', 'method'))
    pair = (
      (tags['run'], method),
      (tags['other'], tags.get('other_method', method)),
    )
    scores = [
      tidy.latest(rows, 'score', env=env, demos=demos, method=method, run=run)
      for run, method in pair
    ]
    first, second = (score or {'value': None} for score in scores)
    question = row['tags']['question']
    found.append(Answer(question, env, demos, row, first, second))
  return found


def comparisons(doc: html.Document, rows) -> list[str]:
  """A forest plot of all questions; beneath it both rates and a verdict."""
  found = answers(rows)
  if not found:
    return []
  limits = plots.span_of([a.difference for a in found], include=(0.0,))
  counts = sorted({a.demos for a in found})
  panels, tables = [], []
  for demos in counts:
    mine = [a for a in found if a.demos == demos]
    rows_of = {
      group: [a.difference for a in mine if a.group == group]
      for group in plots.GROUPS
    }
    rows_of = {group: of for group, of in rows_of.items() if of}
    questions = list(dict.fromkeys(a.question for a in mine))
    title = f'fine-tuned on {tidy.demonstrations(demos)}'
    picture = plots.comparisons(rows_of, questions, title, limits)
    panels.append(html.image(picture, f'Differences, {title}', 'plot'))
    tables.append(
      doc.table(
        _table(mine),
        f'Both runs of every question, {title}. Success rates are means over '
        'seeds and episodes. “Better” and “worse”: the interval of the '
        'difference lies above or below zero; “unclear”: it holds zero.',
      )
    )
  groups = dict.fromkeys(a.group for a in found)
  legend = [plots.GROUPS[g]._replace(dash='-') for g in groups]
  figure = doc.figure(
    html.legend(legend) + ''.join(panels),
    'One choice at a time. Success rate of the first run minus that of the '
    'second, both fine-tuned on the same demonstrations and paired by seed '
    'and episode, with 95 % intervals that resample seeds and episodes. '
    f'Filled: the interval leaves zero out. {many(len(found))}',
    'one' if len(panels) == 1 else 'wide',
  )
  return [figure, *tables, _by_task(rows)]


def findings(rows) -> list[Finding]:
  """Each choice that made a difference, and those that cannot be told."""
  every, found, unclear = answers(rows), [], {}
  for a in every:
    side = tidy.side(a.difference)
    if not side:
      unclear.setdefault(a.question, []).append(a.group)
      continue
    first, second = a.runs
    found.append(
      Finding(
        'yes' if side > 0 else 'no-effect',
        f'{a.question[:1].upper()}{a.question[1:]}: '
        f'{words.OVER[a.group].lower()}, “{first}” succeeds at a rate of '
        f'{tidy.number(a.first["value"])} and “{second}” at '
        f'{tidy.number(a.second["value"])}, a paired difference of '
        f'{tidy.with_interval(a.difference, sign=True)} (fine-tuning, '
        f'{tidy.demonstrations(a.demos)}).',
      )
    )
  if unclear:
    names = '; '.join(
      f'{question} ({" and ".join(dict.fromkeys(groups))})'
      for question, groups in unclear.items()
    )
    found.append(
      Finding(
        'mixed',
        f'Not told apart, in tasks seen or unseen: {names}. {many(len(every))}',
      )
    )
  return found


def many(count: int) -> str:
  """What to make of so many intervals."""
  return (
    f'These are {count} intervals, not corrected for being many: by chance '
    f'alone about {tidy.number(0.05 * count, 1)} would leave zero out.'
  )


def _table(found) -> str:
  body, before = [], None
  for a in found:
    first, second = a.runs
    new = a.question != before
    before = a.question
    kind = VERDICTS[tidy.side(a.difference)]
    tone = {'better': 'above', 'worse': 'below'}.get(kind, '')
    cells = (
      f'<td class="wrap">{html.escape(a.question) if new else ""}</td>'
      f'<td class="text">{a.group}</td>{_rate(a.first, first)}'
      f'{_rate(a.second, second)}{simulator.difference(a.difference)}'
      f'{html.cell(kind, tone=tone)}'
    )
    rule = ' class="rule"' if new else ''
    body.append(f'<tr{rule}>{cells}</tr>')
  head = ('Question', 'Tasks', 'First', 'Second', 'Difference', 'Verdict')
  return html.table(head, body, text=('Tasks',))


def _rate(row, run) -> str:
  return html.cell(tidy.number(row['value']), run)


def _by_task(rows) -> str:
  rows = [
    row
    for row in tidy.select(rows, 'comparison')
    if row['tags']['env'] not in plots.GROUPS
  ]
  envs, body = tidy.unique(rows, 'env'), []
  for demos in sorted(tidy.unique(rows, 'demos')):
    for question in tidy.unique(tidy.select(rows, demos=demos), 'question'):
      tags = {'question': question, 'demos': demos}
      cells = [
        simulator.difference(tidy.latest(rows, 'comparison', env=env, **tags))
        for env in envs
      ]
      body.append(
        f'<td class="wrap">{html.escape(question)}</td><td>{demos}</td>'
        f'{"".join(cells)}'
      )
  if not body:
    return ''
  names = (html.escape(plots.env_label(env)) for env in envs)
  table = html.table(('Question', 'Demos', *names), body)
  return html.details(
    'Differences by task', f'<div class="scroll">{table}</div>'
  )
