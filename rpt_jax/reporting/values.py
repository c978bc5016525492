"""What became of values that were learned offline, as they went online."""

from rpt_jax import results
from rpt_jax.reporting import html
from rpt_jax.results import Values

_DIGITS = 0, 0, 0, 2, 2
_NAMES = {'cql': 'CQL', 'cal_ql': 'Cal-QL'}


def section(doc: html.Document, rows) -> list[str]:
  """A table of both methods on every environment; [] without values."""
  drops = [row for row in rows if row['name'] == Values.DROP]
  body = []
  for row in drops:
    env, method = (results.tag(row, key) for key in ('env', 'method'))
    own = {'env': env, 'method': method}
    line = [f'<td>{html.escape(env)}</td>']
    line.append(f'<td class="text">{html.escape(_NAMES[method])}</td>')
    each = [
      results.latest(rows, Values.PLAYED, steps=0, **own),
      row,
      results.latest(rows, Values.REGRET, **own),
      *(
        results.latest(rows, Values.BOUNDED, split=part, **own)
        for part in ('offline', 'online')
      ),
    ]
    line += [
      html.measured(x, digits) for x, digits in zip(each, _DIGITS, strict=True)
    ]
    body.append(''.join(line))
  if not body:
    return []
  head = (
    'Environment', 'Values', 'At the switch', 'Drop', 'Regret',
    'Held offline', 'Held online',
  )  # fmt: skip
  caption = (
    'Values learned from recorded episodes go online. Returns of the policy as '
    'it came from recorded episodes; how much worse the worst of the first '
    'rounds online is; the mean distance to the best round of all; and the '
    'share of values that Cal-QL’s bound holds up (of CQL there is none). '
    'Student’s 95 % intervals.'
  )
  return [doc.table(html.table(head, body, text=('Values',)), caption)]
