"""Section on success in the simulator: rates, and what experts showed.

Takes rows of the stages `control` (as `words.split` gives them) and `collect`.
"""

from collections.abc import Sequence

from rpt_jax.reporting import html, plots, tidy, words

HEADS = {'scratch': 'Scratch', 'probe': 'Probe', 'finetune': 'Fine-tuned'}
_GAINS = {
  'finetune': 'Fine-tuned \N{MINUS SIGN} scratch',
  'probe': 'Probe \N{MINUS SIGN} scratch',
}


def success(
  doc: html.Document, rows, run: str | None, unseen: Sequence[str] = ()
) -> list[str]:
  """A table of success rates for each number of demonstrations.

  Tasks in rows, those in `unseen` marked and last; methods, and what is gained
  over scratch, in columns.
  """
  rows = [
    row
    for row in rows
    if row['tags'].get('method') in HEADS
    and row['tags'].get('run') in (run, 'none')
  ]
  parts = []
  for demos in sorted(tidy.unique(tidy.select(rows, 'success'), 'demos')):
    about = f'Success with {tidy.demonstrations(demos)}.'
    if not parts:
      about += (
        ' Share of all seeds’ episodes that succeed, the best method in bold. '
        'Under the rate of a task stands its Wilson 95 % interval, which '
        'takes episodes for independent, also those of one seed; under means '
        'and differences a bootstrap interval over seeds and episodes, which '
        'has no width where all episodes ended alike. '
        'Differences are paired by seed and episode, and bold where the '
        'interval leaves zero out.'
      )
    of_demos = tidy.select(rows, demos=demos)
    parts.append(doc.table(_table(of_demos, unseen), about))
  return parts


def shown(rows) -> str:
  """What the experts showed: episodes of every task and split, folded."""
  body = []
  for kept in tidy.select(rows, 'kept'):
    env, split = kept['tags']['env'], kept['tags'].get('split', '')
    counts = [
      (tidy.latest(rows, name, env=env, split=split) or {'value': None})[
        'value'
      ]
      for name in ('episodes', 'frames', 'steps_per_episode')
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
    'Wilson 95 % interval: successes, or failures where those were wanted.'
  )
  return html.details('What the experts showed', note + table)


def _table(rows, unseen) -> str:
  methods = [m for m in HEADS if tidy.select(rows, method=m)]
  gains = [
    m for m in _GAINS if tidy.select(rows, 'paired_difference', method=m)
  ]
  tasks = tidy.unique(tidy.select(rows, 'success'), 'env')
  tasks = sorted(tasks, key=lambda task: task in unseen)
  groups = [g for g in words.GROUPS if tidy.select(rows, 'score', env=g)]
  body = []
  for env in (*tasks, *groups):
    is_task = env in tasks
    name = 'success' if is_task else 'score'
    cells = [tidy.latest(rows, name, env=env, method=m) for m in methods]
    rates = {c['value'] for c in cells if c}
    best = max(rates) if len(rates) > 1 else None
    mark = ' <span class="mark">unseen</span>' if env in unseen else ''
    line = [f'<td>{html.escape(plots.env_label(env))}{mark}</td>']
    for row in cells:
      row = row or {'value': None}
      is_best = best is not None and row['value'] == best
      interval = tidy.span(row.get('interval'))
      line.append(html.cell(tidy.number(row['value']), interval, is_best))
    for method in gains:
      line.append(
        difference(
          tidy.latest(rows, 'paired_difference', env=env, method=method)
        )
      )
    rule = ' class="rule"' if groups and env == groups[0] else ''
    body.append(f'<tr{rule}>{"".join(line)}</tr>')
  head = ('Task', *(HEADS[m] for m in methods), *(_GAINS[m] for m in gains))
  return html.table(head, body)


def difference(row: tidy.Row | None) -> str:
  """A cell: a difference, bold and coloured where it leaves zero out."""
  row = row or {'value': None}
  tone = {1: 'sure above', 0: '', -1: 'sure below'}[tidy.side(row)]
  return html.cell(
    tidy.number(row['value'], sign=True),
    tidy.span(row.get('interval'), sign=True),
    tone=tone,
  )
