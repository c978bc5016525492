"""Section on goals that were imagined: what they show, what is made of them.

Takes rows of `results.Imagine`, and pictures of its file.
"""

from collections.abc import Mapping

import numpy as np

from rpt_jax import results
from rpt_jax.reporting import html, pictures, tidy
from rpt_jax.reporting.words import Finding
from rpt_jax.results import Imagine

NAMES = {
  Imagine.TRUE: 'true goal',
  Imagine.CODED: 'true goal, as its codes show it',
  Imagine.BEST: 'imagined, the best of several',
  Imagine.ONE: 'imagined, one draw',
  Imagine.SHUFFLED: 'imagined of another sentence',
  Imagine.OTHER: 'true goal of another scene',
  Imagine.LATENT_TRUE: 'true latent, no picture',
  Imagine.LATENT: 'imagined latent, no picture',
}
_MEASURES = {
  Imagine.SUCCESS: 'success',
  Imagine.RIGHT: 'all blocks in place',
  Imagine.OFF: 'asked block off by',
  Imagine.MATCH: 'score',
}
_COLUMNS = {
  'first': 'before',
  Imagine.TRUE: 'true',
  Imagine.BEST: 'best',
  Imagine.ONE: 'one',
  Imagine.SHUFFLED: 'shuffled',
}
_ENOUGH = 0.5  # Success with the true goal; below, the rest says nothing.


def section(
  doc: html.Document, rows, shown: Mapping[str, np.ndarray]
) -> list[str]:
  """Tables of what goals are worth and of differences, and pictures of some."""
  rows = [row for row in rows if row['stage'] == Imagine.STAGE]
  if not rows:
    return []
  return [_values(doc, rows), _differences(doc, rows), _scenes(doc, shown)]


def findings(rows) -> list[Finding]:
  """Whether what is imagined of a sentence is worth acting on."""
  rows = [row for row in rows if row['stage'] == Imagine.STAGE]
  if not rows:
    return []
  true = results.latest(rows, Imagine.SUCCESS, goal=Imagine.TRUE)
  if not true:
    return []
  if true['value'] < _ENOUGH:
    return [
      Finding(
        'no-effect',
        'With the true goal the policy does what was asked for in '
        f'{tidy.with_interval(true)} of the scenes, less than half, so that '
        'its success says nothing of imagined ones.',
      )
    ]
  over = results.latest(
    rows,
    Imagine.over(Imagine.SUCCESS),
    goal=Imagine.ONE,
    other_goal=Imagine.SHUFFLED,
  )
  verdict = 'fact' if tidy.side(over) > 0 else 'no-effect'
  each = ', '.join(
    f'{NAMES[goal]} {tidy.with_interval(row)}'
    for goal in NAMES
    if (row := results.latest(rows, Imagine.SUCCESS, goal=goal))
  )
  return [
    Finding(
      verdict,
      'One draw of a goal is acted on with more success than one of another '
      f'sentence, by {tidy.with_interval(over)}; success with a {each}.',
    )
  ]


def _values(doc, rows):
  body = []
  for goal, name in NAMES.items():
    own = results.select(rows, goal=goal, other_goal=None)
    if own:
      cells = [f'<td>{html.escape(name)}</td>']
      cells += [_cell(results.latest(own, key)) for key in _MEASURES]
      body.append(''.join(cells))
  head = ['The policy is shown', *_MEASURES.values()]
  seeds = max(row['seeds'] or 1 for row in rows)
  return doc.table(
    html.table(head, [f'<tr>{x}</tr>' for x in body]),
    'Goals and what is made of them. Success: at the end of some stroke the '
    'block that was asked for is in its corner and no other is displaced. '
    'Where blocks are is read from the goal by a linear map of its pixels, in '
    'sides of a frame; the score is the cosine of goal and sentence. Intervals '
    f'are over {seeds} seeds of draws and policies; the models that draw are '
    'trained once.',
  )


def _differences(doc, rows):
  texts, body = ['goal', 'minus', 'in'], []
  for row in rows:
    other = results.tag(row, 'other_goal')
    measure = row['name'].removesuffix('_difference')
    if other and measure in _MEASURES:
      names = NAMES[results.tag(row, 'goal')], NAMES[other], _MEASURES[measure]
      cells = [f'<td class="text">{html.escape(name)}</td>' for name in names]
      body.append(f'<tr>{"".join(cells)}{_cell(row)}</tr>')
  return doc.table(
    html.table([*texts, 'difference'], body, text=texts),
    'Differences between goals of the same scenes, paired by seed.',
  )


def _cell(row):
  if row is None:
    return '<td></td>'
  return html.cell(tidy.number(row['value']), tidy.span(row['interval']))


def _scenes(doc, shown):
  """A tile a scene, the best imagined first, its sentence below."""
  if not shown:
    return ''
  titles = ''.join(f'<span>{html.escape(t)}</span>' for t in _COLUMNS.values())
  tiles = []
  for i, text in enumerate(shown['text']):
    row = np.stack([shown[name][i] for name in _COLUMNS])
    sheet = pictures.contact_sheet(row, len(row), 3)
    off = tidy.number(float(shown['off'][i]))
    tiles.append(
      f'<div class="tile"><div class="columns">{titles}</div>'
      f'{html.image(pictures.encode(sheet), f"Goals of: {text}")}'
      f'<span class="under">{html.escape(str(text))}<br>{off} off</span></div>'
    )
  return doc.figure(
    ''.join(tiles),
    'Imagined goals beside true ones. Held-out scenes, the best first, the '
    'worst last, by how far the block that was asked for is, in the one draw, '
    'from where it is in the true goal.',
    'medium',
  )
