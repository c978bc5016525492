"""Section on what the image model sees, beside controls and a ceiling.

Takes rows `visible_r2`: the linear R^2 of what one frame shows of the state.
"""

from rpt_jax import results
from rpt_jax.reporting import evidence, html, plots, tidy, words
from rpt_jax.reporting.words import Finding
from rpt_jax.results import EDGES, LATENT, Probe

# Features -> what a table calls them. The state itself is the ceiling.
CEILING = f'{LATENT}/state'
FEATURES = {
  LATENT: 'image model, learned',
  f'{LATENT}/random': 'image model, untrained',
  f'{LATENT}/pixels': 'pixels',
  EDGES: 'edges',
  CEILING: 'true state (ceiling)',
}


def section(doc: html.Document, rows) -> str:
  """Features down, environments across, the best but the ceiling marked."""
  rows = results.select(rows, Probe.VISIBLE_R2, features=tuple(FEATURES))
  if not rows:
    return ''
  envs = results.unique(rows, 'env')
  best = {env: _best(results.select(rows, env=env)) for env in envs}
  body = []
  for features, name in FEATURES.items():
    own = results.select(rows, features=features)
    if not own:
      continue
    cells = [f'<td>{html.escape(name)}</td>']
    for env in envs:
      row = results.latest(own, Probe.VISIBLE_R2, env=env) or {'value': None}
      value, interval = row['value'], tidy.span(row.get('interval'))
      is_best = features != CEILING and value is not None and value == best[env]
      cells.append(html.cell(tidy.number(value), interval, is_best))
    rule = ' class="rule"' if features == CEILING else ''
    body.append(f'<tr{rule}>{"".join(cells)}</tr>')
  head = ['Seen by', *(html.escape(plots.env_label(env)) for env in envs)]
  over = f' {_over(rows)}' if _over(rows) else ''
  return doc.table(
    html.table(head, body),
    'What of the state one frame shows, read by a linear map. R² on held-out '
    f'clips, over all numbers of the state that a frame shows.{over} The best '
    'is marked, but for the ceiling. “Edges” learn nothing: directions of '
    'brightness in a coarse grid.',
  )


def findings(rows) -> list[Finding]:
  """Whether the image model shows more of the state than `edges` do."""
  visible = results.select(rows, Probe.VISIBLE_R2)
  behind, parts = evidence.unseeing(rows), []
  for env in results.unique(visible, 'env'):
    ours, edges = (
      results.latest(visible, Probe.VISIBLE_R2, features=each, env=env)
      for each in (LATENT, EDGES)
    )
    if ours and edges:
      parts.append(
        f'{tidy.with_interval(ours)} against {tidy.with_interval(edges)} on '
        f'{plots.env_label(env)}'
      )
  if not parts:
    return []
  verdict, said = 'fact', 'more than edges do'
  if behind:
    verdict = 'no-effect' if len(behind) == len(parts) else 'mixed'
    where = ', '.join(map(plots.env_label, behind))
    said = (
      f'no more than edges do on {where} (what it gains on them is not told '
      'from zero), '
      'so that nothing below is claimed of acting'
    )
  return [
    Finding(
      verdict,
      f'The image model shows, of the visible state, {said}: R² '
      f'{"; ".join(parts)}.',
    )
  ]


def _best(rows) -> float | None:
  values = [r['value'] for r in rows if r['tags']['features'] != CEILING]
  return max((x for x in values if x is not None), default=None)


def _over(rows) -> str:
  """What intervals are over, where there are any."""
  with_interval = [row for row in rows if row.get('interval')]
  if not with_interval:
    return ''
  return f'Intervals are of the mean over {words.sample(with_interval)}.'
