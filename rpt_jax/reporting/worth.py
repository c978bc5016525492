"""Section on the exchange rate: what pretraining is worth in demonstrations.

Takes rows of one measure, as `words.split` gives them.
"""

from rpt_jax import results
from rpt_jax.reporting import html, plots, tidy, words
from rpt_jax.reporting.words import Finding
from rpt_jax.results import Acting, Measure


def section(doc: html.Document, rows, run: str | None, say: Measure) -> str:
  """A table: environments and methods down, demonstrations across."""
  rows = _of_methods(rows, run)
  if not rows:
    return ''
  envs = sorted(
    results.unique(rows, 'env'), key=lambda env: env not in words.GROUPS
  )
  demos = sorted(results.unique(rows, 'demos'))
  methods = [m for m in plots.METHODS if results.select(rows, method=m)]
  body = []
  for env in envs:
    for i, method in enumerate(methods):
      name = '' if i else html.escape(plots.env_label(env))
      label = plots.METHODS[method].label
      cells = [f'<td>{name}</td><td class="text">{html.escape(label)}</td>']
      for count in demos:
        tags = {'env': env, 'method': method, 'demos': count}
        row = results.latest(rows, Acting.WORTH, **tags)
        cells.append(html.cell(*(_texts(row) if row else ('–', ''))))
      rule = '' if i else ' class="rule"'
      body.append(f'<tr{rule}>{"".join(cells)}</tr>')
  given = f'<th colspan="{len(demos)}">Demonstrations given</th>'
  head = [say.env.capitalize(), '', *map(str, demos)]
  return doc.table(
    html.table(head, body, f'<th colspan="2"></th>{given}'),
    'What pretraining is worth in demonstrations. How many of them training '
    'from scratch needs to do as well as the pretrained policy does with the '
    'number above, read off the curve of scratch between the numbers that were '
    'tried, on a logarithmic scale, with Fieller’s 95 % interval. “>” is more '
    'than the most that scratch was given, “≤” the fewest of them or less. '
    'Where an interval holds the number above, the policy is not told apart '
    'from scratch.',
  )


def findings(rows, run: str | None, say: Measure) -> list[Finding]:
  """What each method makes of the fewest demonstrations."""
  rows = _of_methods(rows, run)
  demos = min(results.unique(rows, 'demos'), default=None)
  rows = results.select(rows, demos=demos)
  conclusions = []
  for method in plots.METHODS:
    by_env = {r['tags']['env']: r for r in results.select(rows, method=method)}
    if not by_env:
      continue
    order = sorted(by_env, key=lambda env: env not in words.GROUPS)
    each = '; '.join(f'{_name(env)} {text(by_env[env])}' for env in order)
    count = words.sample(list(by_env.values()))
    conclusions.append(
      Finding(
        'fact',
        f'With {tidy.demonstrations(demos)}, {words.METHODS[method]} of the '
        'pretrained trunk does as well as training from scratch with this many '
        f'(95 % interval over {count}): {each}.',
      )
    )
  return conclusions


def text(row: results.Row) -> str:
  """'23 [11, > 64]', of demonstrations."""
  return ' '.join(_texts(row)).strip()


def _texts(row) -> tuple[str, str]:
  value, interval = _number(row['value'], row['tags']), row.get('interval')
  if not interval:
    return value, ''
  low, high = (_number(x, row['tags']) for x in interval)
  same = value == low == high  # All beyond one end of the curve.
  return value, '' if same else f'[{low}, {high}]'


def _number(x, tags) -> str:
  """A number of demonstrations, or that it lies beyond the curve's ends."""
  if x is None:
    return f'> {tags["most"]}'
  if x == 0:
    return f'≤ {tags["least"]}'
  return tidy.number(x, int(x < 9.95))


def _name(env) -> str:
  names = {
    results.ALL: 'all together',
    words.SEEN: 'all seen together',
    results.UNSEEN: 'all unseen together',
  }
  return names.get(env, plots.env_label(env))


def _of_methods(rows, run):
  return results.select(
    rows, Acting.WORTH, run=run, method=tuple(plots.METHODS)
  )
