"""Section on choices: one pretraining run against another, by question.

Takes rows `comparison` and `score` of one measure, as `words.split` gives them.
"""

from typing import NamedTuple

from rpt_jax import results
from rpt_jax.reporting import (
  behind,
  evidence,
  html,
  plots,
  simulator,
  tidy,
  words,
)
from rpt_jax.reporting.words import Finding
from rpt_jax.results import Acting, Measure

VERDICTS = {1: 'better', 0: 'unclear', -1: 'worse'}


class Answer(NamedTuple):
  """What one question came to in one group of tasks."""

  question: str
  group: str  # One of words.GROUPS.
  demos: int
  difference: results.Row  # First run minus second.
  first: results.Row  # Scores; value None where there is none.
  second: results.Row

  @property
  def method(self) -> str:
    """How the first run is learnt with."""
    return words.METHODS[self.difference['tags']['method']]

  @property
  def runs(self) -> tuple[str, str]:
    """What both are called; the second with its method where that differs."""
    tags = self.difference['tags']
    other, method = tags['other'], tags['other_method']
    same = method == tags['method']
    return tags['run'], other if same else f'{other} ({method})'


def answers(rows) -> list[Answer]:
  """Every question in every group of domains, in the order of the rows."""
  all_answers = []
  for row in results.select(rows, Acting.COMPARISON, env=tuple(plots.GROUPS)):
    tags = row['tags']
    where = {'env': tags['env'], 'demos': tags['demos']}
    pair = (
      (tags['run'], tags['method']),
      (tags['other'], tags['other_method']),
    )
    scores = [
      results.latest(rows, Acting.SCORE, run=run, method=method, **where)
      for run, method in pair
    ]
    first, second = (score or {'value': None} for score in scores)
    question = row['tags']['question']
    all_answers.append(Answer(question, *where.values(), row, first, second))
  return all_answers


def comparisons(doc: html.Document, rows, say: Measure) -> list[str]:
  """A forest plot of all questions; beneath it both scores and a verdict."""
  all_answers = answers(rows)
  if not all_answers:
    return []
  limits = plots.span_of([a.difference for a in all_answers], include=(0.0,))
  counts = sorted({a.demos for a in all_answers})
  over = words.sample([a.difference for a in all_answers])
  panels, tables = [], []
  for demos in counts:
    of_demos = [a for a in all_answers if a.demos == demos]
    rows_of = {
      group: [a.difference for a in of_demos if a.group == group]
      for group in plots.GROUPS
    }
    rows_of = {group: of for group, of in rows_of.items() if of}
    questions = list(dict.fromkeys(a.question for a in of_demos))
    title = f'with {tidy.demonstrations(demos)}'
    picture = plots.comparisons(rows_of, questions, title, limits, say.score)
    panels.append(html.image(picture, f'Differences, {title}', 'plot'))
    tables.append(
      doc.table(
        _table(of_demos),
        f'Both runs of every question, {title}. {say.score.capitalize()}: '
        f'{say.statistic.format(seeds=over)}. “Better” and “worse”: the '
        'difference decides; “unclear”: it does not.',
      )
    )
  groups = dict.fromkeys(a.group for a in all_answers)
  legend = [plots.GROUPS[g]._replace(dash='-') for g in groups]
  figure = doc.figure(
    html.legend(legend) + ''.join(panels),
    f'One choice at a time. {say.score.capitalize()} of the first run minus '
    'that of the second, both with the same demonstrations and paired '
    f'over {over}, with 95 % intervals. {say.intervals} Filled: '
    'the difference decides, as said under the findings.',
    'one' if len(panels) == 1 else 'wide',
    behind.rows([a.difference for a in all_answers]),
  )
  return [figure, *tables, _by_domain(rows, say)]


def findings(rows, say: Measure) -> list[Finding]:
  """Each choice that made a difference, and those that cannot be told."""
  conclusions, unclear = [], {}
  for a in answers(rows):
    side, doubt = tidy.side(a.difference), evidence.doubt(a.difference)
    if not side:
      unclear.setdefault(a.question, []).append(a.group)
      continue
    first, second = a.runs
    verdict = 'yes' if side > 0 else 'no-effect'
    conclusions.append(
      Finding(
        'mixed' if doubt else verdict,
        f'{a.question[:1].upper()}{a.question[1:]}: '
        f'{words.over(a.group, say).lower()}, “{first}” {say.scores} '
        f'{tidy.number(a.first["value"])} and “{second}” '
        f'{tidy.number(a.second["value"])}, a paired difference of '
        f'{tidy.with_interval(a.difference, sign=True)} ({a.method}, '
        f'{tidy.demonstrations(a.demos)}){f"; but {doubt}" if doubt else ""}.',
      )
    )
  if unclear:
    names = '; '.join(
      f'{question} ({" and ".join(dict.fromkeys(groups))})'
      for question, groups in unclear.items()
    )
    conclusions.append(
      Finding(
        'mixed',
        f'Not told apart: {names}.',
      )
    )
  return conclusions


def _table(answers) -> str:
  body, before = [], None
  for a in answers:
    first, second = a.runs
    new = a.question != before
    before = a.question
    kind = VERDICTS[evidence.decided(a.difference)]
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


def _by_domain(rows, say) -> str:
  rows = [
    row
    for row in results.select(rows, Acting.COMPARISON)
    if row['tags']['env'] not in plots.GROUPS
  ]
  envs, body = results.unique(rows, 'env'), []
  for demos in sorted(results.unique(rows, 'demos')):
    of_demos = results.select(rows, demos=demos)
    for question in results.unique(of_demos, 'question'):
      tags = {'question': question, 'demos': demos}
      differences = [
        results.latest(rows, Acting.COMPARISON, env=env, **tags) for env in envs
      ]
      cells = map(simulator.difference, differences)
      body.append(
        f'<td class="wrap">{html.escape(question)}</td><td>{demos}</td>'
        f'{"".join(cells)}'
      )
  if not body:
    return ''
  names = (html.escape(plots.env_label(env)) for env in envs)
  table = html.table(('Question', 'Demos', *names), body)
  return html.details(
    f'Differences by {say.env}', f'<div class="scroll">{table}</div>'
  )
