"""The table behind a figure: the numbers that are drawn in it."""

from collections.abc import Mapping, Sequence

import numpy as np

from rpt_jax import results
from rpt_jax.reporting import html, tidy

_MOST_STEPS = 20  # Rows of a learning curve.


def rows(drawn: Sequence[results.Row]) -> str:
  """Rows of results: what tells them apart, value and interval."""
  drawn = [row for row in drawn if row['value'] is not None]
  tags = list(dict.fromkeys(key for row in drawn for key in row['tags']))
  tags = [key for key in tags if len({_tag(r, key) for r in drawn}) > 1]
  named = len({row['name'] for row in drawn}) > 1
  bounded = any(row.get('interval') for row in drawn)
  body = []
  for row in drawn:
    texts = [row['name']] if named else []
    texts += [_tag(row, key) for key in tags]
    numbers = [row['value'], *((row.get('interval') or ()) if bounded else ())]
    numbers = [tidy.number(x, 3) for x in numbers]
    numbers += [''] * (3 * bounded - len(numbers))
    body.append(_line(texts, numbers))
  head = [*(['measure'] if named else []), *tags, 'value']
  head += ['low', 'high'] if bounded else []
  return table(head, body, len(head) - (3 if bounded else 1))


def curves(panels: Mapping[str, Mapping[str, Sequence[tuple]]]) -> str:
  """{panel: {run: [(step, value)]}}, some steps of each."""
  body = []
  for title, lines in panels.items():
    for run, points in lines.items():
      picks = np.linspace(0, len(points) - 1, min(len(points), _MOST_STEPS))
      for step, value in (points[round(i)] for i in picks):
        body.append(_line([title, run, f'{step:g}'], [tidy.number(value, 4)]))
  return table(['measure', 'run', 'step', 'value'], body, 3)


def table(head: Sequence[str], body: Sequence[str], texts: int) -> str:
  """Folded; the first `texts` columns are words."""
  if not body:
    return ''
  head = [html.escape(name) for name in head]
  inner = html.table(head, body, text=head[:texts])
  return html.details('Data', f'<div class="scroll">{inner}</div>', 'data')


def _line(texts, numbers) -> str:
  cells = [f'<td class="text">{html.escape(text)}</td>' for text in texts]
  return ''.join(cells + [html.cell(text) for text in numbers])


def _tag(row, key) -> str:
  value = results.tag(row, key)
  return '' if value is None else str(value)
