"""What a critic that chooses among draws gained, and what it cost."""

from rpt_jax import results
from rpt_jax.reporting import html, tidy
from rpt_jax.results import Guiding

_CHOICES = {
  Guiding.BEST: 'best',
  Guiding.SOFTMAX: 'softmax',
  Guiding.SHUFFLED: 'best, shuffled critic',
  Guiding.ANY: 'any',
}


def section(doc: html.Document, rows) -> list[str]:
  """A table of every environment whose policy was guided; [] without."""
  guided = results.select(rows, Guiding.SUCCESS)
  return [
    _table(doc, [r for r in rows if results.tag(r, 'env') == env], env)
    for env in results.unique(guided, 'env')
  ]


def _table(doc, rows, env):
  """A way to choose a line."""
  body = []
  for row in results.select(rows, Guiding.SUCCESS):
    own = {key: results.tag(row, key) for key in ('choice', 'samples')}
    line = [f'<td class="text">{html.escape(_CHOICES[own["choice"]])}</td>']
    line.append(html.cell(str(own['samples'])))
    line += [
      html.measured(row),
      html.measured(results.latest(rows, Guiding.GAIN, **own)),
    ]
    line.append(html.cell(tidy.act_time(rows, samples=own['samples'])))
    body.append(''.join(line))
  head = 'Played', 'Chunks drawn', 'Success', 'Minus one draw', 'act, ms'
  return doc.table(
    html.table(head, body),
    f'A critic chooses among the chunks that a policy draws, {env}. It learned '
    'from demonstrations and the policy’s own episodes; the shuffled one from '
    'actions of other states, and “any” asks none: neither should gain. All '
    'meet the same episodes, by which differences are paired. An act of one '
    'robot takes so long with the best of as many.',
  )
