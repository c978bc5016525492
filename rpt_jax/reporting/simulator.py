"""Where episodes succeed or fail: rates, and what experts showed.

Takes rows of one measure, as `words.split` gives them, and of `collect`.
"""

from collections.abc import Sequence

from rpt_jax import results
from rpt_jax.reporting import evidence, html, plots, tidy, words
from rpt_jax.results import (
  FINETUNE,
  HEAD_FIRST,
  PROBE,
  SCRATCH,
  Acting,
  Collect,
)

HEADS = {
  SCRATCH: 'Scratch',
  PROBE: 'Probe',
  FINETUNE: 'Fine-tuned',
  HEAD_FIRST: 'Probe, then fine-tuned',
}
_GAINS = {
  FINETUNE: 'Fine-tuned \N{MINUS SIGN} scratch',
  PROBE: 'Probe \N{MINUS SIGN} scratch',
  HEAD_FIRST: 'Probe, then fine-tuned \N{MINUS SIGN} scratch',
}


def success(
  doc: html.Document, rows, run: str | None, unseen: Sequence[str] = ()
) -> list[str]:
  """A table of success rates for each number of demonstrations.

  Tasks in rows, those in `unseen` marked and last; methods, and what is gained
  over scratch, in columns.
  """
  rows = results.select(rows, method=tuple(HEADS), run=(run, results.NO_RUN))
  parts = []
  rates = results.select(rows, Acting.SUCCESS)
  for demos in sorted(results.unique(rates, 'demos')):
    about = f'Success with {tidy.demonstrations(demos)}.'
    if not parts:
      about += (
        ' Share of all episodes that succeed, the best method marked. '
        f'{_intervals(rates)} Differences are paired, and bold '
        'where they decide.'
      )
      if results.select(rows, Acting.DECIDED):
        about += (
          ' Where a policy was decided against scratch before all episodes '
          'were played, its rate has no interval, and that decision stands '
          'for the difference, of several pipelines their mean, 1 for better '
          'and −1 for worse; each is wrong with a chance of at most 5 %.'
        )
    of_demos = results.select(rows, demos=demos)
    parts.append(doc.table(_table(of_demos, unseen), about))
  return parts


def shown(rows) -> str:
  """What the experts showed: episodes of every task and split, folded."""
  body = []
  for kept in results.select(rows, Collect.KEPT):
    env, split = kept['tags']['env'], kept['tags']['split']
    counts = [
      (results.latest(rows, name, env=env, split=split) or {'value': None})[
        'value'
      ]
      for name in (Collect.EPISODES, Collect.FRAMES, Collect.STEPS)
    ]
    texts = [tidy.number(x, int(i == 2)) for i, x in enumerate(counts)]
    body.append(
      f'<td>{html.escape(plots.env_label(env))}</td>'
      f'<td class="text">{html.escape(split)}</td>'
      + ''.join(map(html.cell, texts))
      + html.cell(tidy.number(kept['value']), tidy.span(kept.get('interval')))
    )
  if not body:
    return ''
  head = ('Task', 'Split', 'Episodes', 'Steps', 'Steps an episode', 'Kept')
  table = html.table(head, body, text=('Split',))
  table = f'<div class="scroll">{table}</div>'
  note = html.paragraph(
    'Kept is the share of the expert’s attempts that could be used, with its '
    '95 % interval: successes, or failures where those were wanted.'
  )
  return html.details('What the experts showed', note + table)


def _intervals(rates) -> str:
  """What the intervals of single tasks are; of others `Measure` says it."""
  if all(results.tag(row, 'sample') == results.PIPELINES for row in rates):
    return f'Intervals are Student’s, over {words.sample(rates)}.'
  return (
    'Under the rate of a task stands its Wilson 95 % interval, which takes '
    'episodes for independent, also those of one policy; under means and '
    'differences Student’s over seeds.'
  )


def _table(rows, unseen) -> str:
  methods = [m for m in HEADS if results.select(rows, method=m)]
  gain = Acting.OVER_SCRATCH, Acting.DECIDED
  gains = [
    m for m in _GAINS if any(results.select(rows, n, method=m) for n in gain)
  ]
  tasks = results.unique(results.select(rows, Acting.SUCCESS), 'env')
  tasks = sorted(tasks, key=lambda task: task in unseen)
  groups = [
    g for g in words.GROUPS if results.select(rows, Acting.SCORE, env=g)
  ]
  body = []
  for env in (*tasks, *groups):
    is_task = env in tasks
    names = (Acting.SUCCESS, Acting.SCORE) if is_task else (Acting.SCORE,)
    cells = [_first(rows, names, env=env, method=m) for m in methods]
    rates = {c['value'] for c in cells if c}
    best = max(rates) if len(rates) > 1 else None
    mark = ' <span class="mark">unseen</span>' if env in unseen else ''
    line = [f'<td>{html.escape(plots.env_label(env))}{mark}</td>']
    for row in cells:
      row = row or {'value': None}
      is_best = best is not None and row['value'] == best
      interval = tidy.span(row.get('interval'))
      line.append(html.cell(tidy.number(row['value']), interval, is_best))
    line += [_gain(rows, env=env, method=method) for method in gains]
    rule = ' class="rule"' if groups and env == groups[0] else ''
    body.append(f'<tr{rule}>{"".join(line)}</tr>')
  head = ('Task', *(HEADS[m] for m in methods), *(_GAINS[m] for m in gains))
  return html.table(head, body)


def _first(rows, names, **tags) -> results.Row | None:
  """A row of the first name that has one: what ended early has a score."""
  each = (results.latest(rows, name, **tags) for name in names)
  return next((row for row in each if row), None)


def _gain(rows, **tags) -> str:
  """A cell: the difference to scratch, or the decision of what ended early."""
  row = results.latest(rows, Acting.OVER_SCRATCH, **tags)
  decided = results.latest(rows, Acting.DECIDED, **tags)
  if row or not decided:
    return difference(row)
  after = results.latest(rows, Acting.PAIRS, **tags)['value']
  number = tidy.number(decided['value'], sign=True)
  text = {1: 'better', -1: 'worse'}.get(decided['value'], number)
  tone = {1: 'sure above', -1: 'sure below'}.get(decided['value'], '')
  return html.cell(text, f'after {after:.0f} episodes a seed', tone=tone)


def difference(row: results.Row | None) -> str:
  """A cell: a difference, bold and coloured where it decides."""
  row = row or {'value': None}
  tone = {1: 'sure above', 0: '', -1: 'sure below'}[evidence.decided(row)]
  return html.cell(
    tidy.number(row['value'], sign=True),
    tidy.span(row.get('interval'), sign=True),
    tone=tone,
  )
