"""Sections on what was measured besides acting: units, probes, losses.

Each takes plain rows and returns HTML; without its content it returns ''.
"""

from rpt_jax import results
from rpt_jax.reporting import (
  behind,
  curves,
  findings,
  html,
  plots,
  sight,
  tidy,
  verdicts,
)
from rpt_jax.results import (
  FINETUNE,
  Pretrain,
  Probe,
  Quantize,
)

_BLUE = plots.METHODS[FINETUNE].colour
_NMI_CLIP = Quantize.nmi(Quantize.CLIP)
# Column heading, better direction (-1 lower, +1 higher, 0 neither), digits.
QUALITY = {
  _NMI_CLIP: ('NMI clip', -1, 3),
  Quantize.pnmi(Quantize.ACTION): ('PNMI action', 1, 3),
  Quantize.pnmi(Quantize.VELOCITY): ('PNMI velocity', 1, 3),
  Quantize.pnmi(Quantize.STATE): ('PNMI state', 1, 3),
  Quantize.pnmi(Quantize.PHASE): ('PNMI phase', 1, 3),
  Quantize.pnmi(Quantize.INSTRUCTION): ('PNMI instruction', 1, 3),
  Quantize.nmi(Quantize.ACTION): ('NMI action', 1, 3),
  Quantize.nmi(Quantize.VELOCITY): ('NMI velocity', 1, 3),
  Quantize.nmi(Quantize.STATE): ('NMI state', 1, 3),
  Quantize.PERPLEXITY: ('Perplexity', 0, 1),
  Quantize.DEAD: ('Dead units', -1, 1),
  Quantize.DISTINCT: ('Units per clip', 0, 1),
  Quantize.SEGMENT: ('Segment length', 0, 2),
}
# What is drawn of a training's log.
_LOGGED = (
  Pretrain.LOSS,
  Pretrain.LOSS_BITS,
  Pretrain.MASKED_ACCURACY,
  Pretrain.UNMASKED_ACCURACY,
  Pretrain.ACCURACY,
  Pretrain.NEXT_ACCURACY,
)
_ARROWS = {-1: '\N{DOWNWARDS ARROW}', 0: '', 1: '\N{UPWARDS ARROW}'}


def unit_quality(doc: html.Document, rows, base: str | None) -> list[str]:
  """Recipes x measures, the best of each column marked; scatters; by env.

  The recipe `base` comes first.
  """
  rows = [row for name in QUALITY for row in results.select(rows, name)]
  recipes = sorted(results.unique(rows, 'recipe'), key=lambda r: r != base)
  if not recipes:
    return []
  mean = results.select(rows, env=results.MEAN)
  out = verdicts.collapsed(rows)
  names = [name for name in QUALITY if results.select(mean, name)]
  parts = []
  if names:
    parts.append(
      doc.table(
        _quality_table(mean, recipes, names, out),
        'Unit quality on held-out clips, mean over environments. Arrows say '
        'which way is better and shading marks the best of those that have not '
        'collapsed; columns without an arrow describe. NMI clip is how much '
        'a unit tells of which clip it is from (nuisance), PNMI how much of a '
        'label is known once the unit is.',
      )
    )
  parts += _leakage(doc, mean, recipes, names)
  return [*parts, _quality_by_env(rows, recipes, out)]


def _leakage(doc, mean, recipes, names) -> list[str]:
  """What units tell of the clip against what they tell of motion."""
  targets = [Quantize.VELOCITY, Quantize.ACTION]
  targets = [t for t in targets if {_NMI_CLIP, Quantize.pnmi(t)} <= {*names}]
  clip, panels, drawn = results.select(mean, _NMI_CLIP), [], []
  for target in targets:
    label, name = f'PNMI(unit; {target})', Quantize.pnmi(target)
    drawn += results.select(mean, name)
    picture = plots.quality_scatter(
      clip, results.select(mean, name), recipes, 'NMI(unit; clip)', label
    )
    alt = f'{label} against NMI(unit; clip), one dot per recipe'
    panels.append(html.image(picture, alt, 'plot'))
  if not panels:
    return []
  figure = doc.figure(
    ''.join(panels),
    'Leakage against motion. Every dot is a recipe of the table above, '
    'by its number (1, the base, in grey); up and to the left is better.',
    'wide',
    behind.rows([*clip, *drawn]),
  )
  return [figure]


def probes(doc: html.Document, rows, run: str | None) -> list[str]:
  """R^2 of a linear map from frozen features to the state; `run` stands out."""
  means, visible = findings.mean_r2(rows), sight.section(doc, rows)
  if not means:
    return [visible]
  by_domain = results.select(rows, Probe.STATE_R2)
  bars = [{'value': mean} for mean in means.values()]
  colours = [_BLUE if name == run else '#a3b6c2' for name in means]
  picture = plots.bars(
    bars, list(means), 'mean R² (held-out clips)', colours=colours
  )
  parts = [
    visible,
    doc.figure(
      html.image(picture, 'Mean R² by kind of features', 'plot'),
      'Linear probes of the physical state. Ridge regression from frozen '
      'features, penalty chosen on held-back training clips, R² on held-out '
      'clips; dimensions that do not vary are left out.',
      data_html=behind.rows(by_domain),
    ),
  ]
  envs = results.unique(by_domain, 'env')
  tables = {'R² by environment': by_domain}
  visible = results.select(rows, Probe.VISIBLE_R2)
  if visible:
    tables['R² of what a single frame shows of it'] = visible
  for title, cells in tables.items():
    table = _matrix(cells, 'features', list(means), envs, 'Features', 1)
    parts.append(html.details(title, table))
  return parts


def training(doc: html.Document, losses: dict[str, list[dict]]) -> str:
  """Loss and accuracy against the step, a panel for each stage and measure.

  A run named 'stage/run' belongs to that stage's panels; one without a '/' is
  a stage of its own.
  """
  panels, labels, drawn = [], {}, {}
  stages: dict[str, dict] = {}
  for run, history in losses.items():
    if history:
      stages.setdefault(run.partition('/')[0], {})[run] = history
  names = [run.rpartition('/')[2] for of in stages.values() for run in of]
  styles = plots.series(list(dict.fromkeys(names)))
  for stage, logs in stages.items():
    for key in _LOGGED:
      has = {
        run: [(p['step'], p[key]) for p in history if key in p]
        for run, history in logs.items()
      }
      has = {run: points for run, points in has.items() if points}
      if not has:
        continue
      own = {run: styles[run.rpartition('/')[2]] for run in has}
      title = f'{stage}: {key.replace("_", " ")}'
      plot = curves.training_curves(has, own, key, title)
      panels.append(html.plot(plot, f'{title} against step'))
      drawn[title] = has
      labels |= {style.label: style for style in own.values()}
  if not panels:
    return ''
  legend = html.legend([s._replace(marker='') for s in labels.values()])
  return doc.figure(
    legend + ''.join(panels),
    'Training curves. Where a run logged many points the raw values are faint '
    'and the line is their running average; losses of different objectives or '
    'codebooks are not comparable.',
    'wide',
    behind.curves(drawn),
  )


def _quality_table(rows, recipes, names, collapsed) -> str:
  values = {
    (row['tags']['recipe'], row['name']): row for row in rows
  }  # later rows replace earlier ones
  best = {}
  for name in names:
    direction = QUALITY[name][1]
    column = [
      values[r, name]['value']
      for r in recipes
      if (r, name) in values and r not in collapsed
    ]
    best[name] = max(column, key=lambda v, d=direction: d * v, default=None)
  head = ['Recipe']
  for name in names:
    label, direction, _ = QUALITY[name]
    arrow = f' <span class="arrow">{_ARROWS[direction]}</span>'
    head.append(html.escape(label) + (arrow if direction else ''))
  body = []
  for i, recipe in enumerate(recipes):
    base = '' if i else ' base'
    mark = ' <span class="mark">collapsed</span>' if recipe in collapsed else ''
    cells = [
      f'<td><span class="chip{base}">{i + 1}</span>{html.escape(recipe)}{mark}'
      '</td>'
    ]
    for name in names:
      _, direction, digits = QUALITY[name]
      row = values.get((recipe, name), {'value': None})
      is_best = bool(direction) and row['value'] == best[name]
      is_best = is_best and recipe not in collapsed
      text = tidy.number(row['value'], digits)
      interval = tidy.span(row.get('interval'), digits)
      cells.append(html.cell(text, interval, best=is_best))
    body.append(''.join(cells))
  return html.table(head, body)


def _quality_by_env(rows, recipes, collapsed) -> str:
  envs = [e for e in results.unique(rows, 'env') if e != results.MEAN]
  tables = []
  labels = (Quantize.ACTION, Quantize.VELOCITY, Quantize.STATE)
  for name in (_NMI_CLIP, *map(Quantize.pnmi, labels)):
    own_rows = results.select(rows, name)
    if envs and own_rows:
      label, direction, _ = QUALITY[name]
      table = _matrix(
        own_rows, 'recipe', recipes, envs, 'Recipe', direction, collapsed
      )
      arrow = _ARROWS[direction]
      tables.append(
        f'<h3>{html.escape(label)} {arrow}</h3><div class="scroll">{table}'
        '</div>'
      )
  if not tables:
    return ''
  return html.details('Unit quality by environment', ''.join(tables))


def _matrix(rows, tag, names, envs, corner, direction, never=()) -> str:
  """A table of one measure, `names` down and environments across.

  None of `never` is marked as the best.
  """
  values = {(row['tags'][tag], row['tags']['env']): row for row in rows}
  body = []
  best = {}
  for env in envs:
    column = [
      values[n, env]['value']
      for n in names
      if (n, env) in values and n not in never
    ]
    best[env] = max(column, key=lambda v: direction * v, default=None)
  for name in names:
    cells = [f'<td>{html.escape(name)}</td>']
    for env in envs:
      row = values.get((name, env), {'value': None})
      is_best = row['value'] is not None and row['value'] == best[env]
      is_best = is_best and name not in never
      cells.append(
        html.cell(
          tidy.number(row['value']), tidy.span(row.get('interval')), is_best
        )
      )
    body.append(''.join(cells))
  head = [corner, *(html.escape(plots.env_label(env)) for env in envs)]
  return f'<div class="scroll">{html.table(head, body)}</div>'
