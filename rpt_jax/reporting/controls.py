"""Controls of acting: policies from scratch with other eyes, and the oracle.

They say what is left to win: `state` sees the simulator's state and is the
ceiling of whatever looks at frames; `oracle` was pretrained on true actions.
Takes rows of one measure, as `words.split` gives them.
"""

from rpt_jax import results
from rpt_jax.reporting import html, plots, simulator, tidy, words
from rpt_jax.reporting.words import Finding
from rpt_jax.results import (
  NO_RUN,
  ORACLE,
  SCRATCH,
  Acting,
  Measure,
)

CEILING = 'state'
_GOOD = 0.9  # What the ceiling should reach.


def scores(rows) -> list[results.Row]:
  """Scores of policies that learnt from scratch with other eyes.

  `results.select` leaves rows with a tag `eyes` out unless asked for them.
  """
  every = [row for row in rows if row['name'] == Acting.SCORE]
  names = tuple(results.unique(every, 'eyes'))
  return results.select(every, eyes=names, method=SCRATCH)


def eyes(rows) -> list[str]:
  """What such policies see, the ceiling first."""
  names = results.unique(scores(rows), 'eyes')
  return sorted(names, key=lambda name: name != CEILING)


def curves(rows, env: str) -> dict[str, list[results.Row]]:
  """Their scores in an environment, by their eyes."""
  of_env = {e: _by(rows, e, env=env) for e in eyes(rows)}
  return {e: curve for e, curve in of_env.items() if curve}


def section(doc: html.Document, rows, say: Measure) -> str:
  """Scores of controls and what they gain from scratch, by demonstrations."""
  lines = {
    plots.control(e).label: {'run': NO_RUN, 'method': SCRATCH, 'eyes': e}
    for e in eyes(rows)
  }
  shown = results.select(rows, Acting.SCORE, run=ORACLE)
  for method in plots.METHODS:
    if results.select(shown, method=method):
      label = f'oracle, {plots.METHODS[method].label}'
      lines[label] = {'run': ORACLE, 'method': method, 'eyes': None}
  shown += scores(rows)
  if not shown:
    return ''
  demos = sorted(results.unique(shown, 'demos'))
  envs = sorted(
    results.unique(shown, 'env'), key=lambda env: env not in words.GROUPS
  )
  body = []
  for env in envs:
    for i, (label, tags) in enumerate(lines.items()):
      name = '' if i else html.escape(plots.env_label(env))
      cells = f'<td>{name}</td><td class="text">{html.escape(label)}</td>'
      for count in demos:
        cells += _cells(rows, tags | {'env': env, 'demos': count})
      rule = '' if i else ' class="rule"'
      body.append(f'<tr{rule}>{cells}</tr>')
  groups = '<th colspan="2"></th>' + ''.join(
    f'<th colspan="2">{tidy.demonstrations(n)}</th>' for n in demos
  )
  head = [say.env.capitalize(), '', *('Score', 'Gain') * len(demos)]
  return doc.table(
    html.table(head, body, groups),
    'Controls. They learn from scratch on what another encoder makes of a '
    'frame: the whole true state (the ceiling), only what of it a frame '
    'shows, edges. The oracle was pretrained like the main run, on the true '
    'actions of the same clips in the place of units. “Gain” is over scratch '
    'on the frames of the run, paired, and bold where it decides.',
  )


def findings(rows, say: Measure) -> list[Finding]:
  """What a policy that sees the true state reaches on most demonstrations."""
  ceiling = _by(rows, CEILING)
  demos = max(results.unique(ceiling, 'demos'), default=None)
  ceiling = [
    row
    for row in _by(rows, CEILING, demos=demos)
    if row['tags']['env'] not in words.GROUPS
  ]
  if not ceiling:
    return []
  each = ', '.join(
    f'{tidy.with_interval(row)} on {plots.env_label(row["tags"]["env"])}'
    for row in ceiling
  )
  good = sum(row['value'] >= _GOOD for row in ceiling)
  return [
    Finding(
      'fact',
      f'The ceiling: from scratch on the true state, {say.score} with '
      f'{tidy.demonstrations(demos)} is {each}; it is at least '
      f'{tidy.number(_GOOD, 1)} on {good} of {len(ceiling)} {say.env}s.',
    )
  ]


def _by(rows, eyes, **tags):
  return results.select(scores(rows), eyes=eyes, **tags)


def _cells(rows, tags) -> str:
  score = results.latest(rows, Acting.SCORE, **tags) or {'value': None}
  text, interval = tidy.number(score['value']), tidy.span(score.get('interval'))
  gain = results.latest(rows, Acting.OVER_SCRATCH, **tags)
  return html.cell(text, interval) + simulator.difference(gain)
