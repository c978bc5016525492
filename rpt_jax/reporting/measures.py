"""Sections on what was measured besides acting: units, probes, losses, cost.

Each takes plain rows and returns HTML; without its content it returns ''.
"""

from rpt_jax.reporting import findings, html, plots, tidy

_BLUE = plots.METHODS['finetune'].colour
_MEANS = ('all', 'mean')
# Column heading, better direction (-1 lower, +1 higher, 0 neither), digits.
QUALITY = {
  'nmi_clip': ('NMI clip', -1, 3),
  'pnmi_action': ('PNMI action', 1, 3),
  'pnmi_velocity': ('PNMI velocity', 1, 3),
  'pnmi_state': ('PNMI state', 1, 3),
  'pnmi_phase': ('PNMI phase', 1, 3),
  'pnmi_instruction': ('PNMI instruction', 1, 3),
  'nmi_action': ('NMI action', 1, 3),
  'nmi_velocity': ('NMI velocity', 1, 3),
  'nmi_state': ('NMI state', 1, 3),
  'perplexity': ('Perplexity', 0, 1),
  'dead_units': ('Dead units', -1, 1),
  'distinct_per_clip': ('Units per clip', 0, 1),
  'segment_length': ('Segment length', 0, 2),
}
_ARROWS = {-1: '\N{DOWNWARDS ARROW}', 0: '', 1: '\N{UPWARDS ARROW}'}


def unit_quality(doc: html.Document, rows, base: str | None) -> list[str]:
  """Recipes x measures, the best of each column marked; scatters; by env.

  The recipe `base` comes first.
  """
  rows = [
    row
    for row in rows
    if row['name'] in QUALITY and row['tags'].get('recipe') is not None
  ]
  recipes = sorted(tidy.unique(rows, 'recipe'), key=lambda r: r != base)
  if not recipes:
    return []
  mean = tidy.select(rows, env='mean')
  names = [name for name in QUALITY if tidy.select(mean, name)]
  parts = []
  if names:
    parts.append(
      doc.table(
        _quality_table(mean, recipes, names),
        'Unit quality on held-out clips, mean over environments. Arrows say '
        'which way is better and shading marks the best; columns without an '
        'arrow describe. NMI clip is how much a unit tells of which clip it '
        'is from (nuisance), PNMI how much of a label is known once the unit '
        'is.',
      )
    )
  scatter = []
  for name in ('pnmi_velocity', 'pnmi_action'):
    if name in names and 'nmi_clip' in names:
      label = f'PNMI(unit; {name.removeprefix("pnmi_")})'
      picture = plots.quality_scatter(
        tidy.select(mean, 'nmi_clip'),
        tidy.select(mean, name),
        recipes,
        'NMI(unit; clip)',
        label,
      )
      alt = f'{label} against NMI(unit; clip), one dot per recipe'
      scatter.append(html.image(picture, alt, 'plot'))
  if scatter:
    parts.append(
      doc.figure(
        ''.join(scatter),
        'Leakage against motion. Every dot is a recipe of the table above, '
        'by its number (1, the base, in grey); up and to the left is better.',
        'wide',
      )
    )
  return [*parts, _quality_by_env(rows, recipes)]


def probes(doc: html.Document, rows, run: str | None) -> list[str]:
  """R^2 of a linear map from frozen features to the state; `run` stands out."""
  means = findings.mean_r2(rows)
  if not means:
    return []
  found = tidy.select(rows, 'state_r2')
  bars = []
  for features, mean in means.items():
    own = tidy.latest(found, 'state_r2', features=features, env=('all', 'mean'))
    bars.append(own or {'value': mean, 'interval': None})
  colours = [_BLUE if name == run else '#a3b6c2' for name in means]
  picture = plots.bars(
    bars, list(means), 'mean R² (held-out clips)', colours=colours
  )
  parts = [
    doc.figure(
      html.image(picture, 'Mean R² by kind of features', 'plot'),
      'Linear probes of the physical state. Ridge regression from frozen '
      'features, penalty chosen on held-back training clips, R² on held-out '
      'clips; dimensions that do not vary are left out.',
    )
  ]
  envs = [env for env in tidy.unique(found, 'env') if env not in _MEANS]
  if envs:
    table = _matrix(found, 'features', list(means), envs, 'Features', 1)
    parts.append(html.details('R² by environment', table))
  return parts


def training(doc: html.Document, losses: dict[str, list[dict]]) -> str:
  """Loss and accuracy against the step, a panel for each stage and measure.

  A run named 'stage/run' belongs to that stage's panels; one named 'mae...' to
  those of 'mae', any other to those of 'pretrain'.
  """
  panels, labels = [], {}
  stages: dict[str, dict] = {}
  for run, history in losses.items():
    stage, slash, _ = run.partition('/')
    if not slash:
      stage = 'mae' if run.startswith('mae') else 'pretrain'
    if history:
      stages.setdefault(stage, {})[run] = history
  names = [run.rpartition('/')[2] for of in stages.values() for run in of]
  styles = plots.series(list(dict.fromkeys(names)))
  for stage, curves in stages.items():
    keys = dict.fromkeys(k for h in curves.values() for p in h for k in p)
    for key in (k for k in keys if k.startswith(('loss', 'accuracy'))):
      has = {r: h for r, h in curves.items() if any(key in p for p in h)}
      own = {run: styles[run.rpartition('/')[2]] for run in has}
      title = f'{stage}: {key.replace("_", " ")}'
      picture = plots.training_curves(has, own, key, title)
      panels.append(html.image(picture, f'{title} against step', 'plot'))
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
  )


def costs(doc: html.Document, rows) -> str:
  """Seconds and peak memory of every stage."""
  seconds = tidy.select(rows, 'seconds', kind='cost')
  memory = tidy.select(rows, 'peak_memory_gib', kind='cost')
  stages = list(dict.fromkeys(row['stage'] for row in seconds))
  if not stages:
    return ''
  totals = [
    {'value': sum(r['value'] for r in seconds if r['stage'] == stage)}
    for stage in stages
  ]
  texts = []
  for stage, total in zip(stages, totals, strict=True):
    text = tidy.duration(total['value'])
    peaks = [row['value'] for row in memory if row['stage'] == stage]
    texts.append(f'{text}, {max(peaks):.1f} GiB' if peaks else text)
  unit, scale = ('minutes', 60.0) if totals else ('seconds', 1.0)
  if max(total['value'] for total in totals) < 120:
    unit, scale = 'seconds', 1.0
  scaled = [{'value': total['value'] / scale} for total in totals]
  picture = plots.bars(scaled, stages, unit, texts)
  whole = tidy.duration(sum(total['value'] for total in totals))
  return doc.figure(
    html.image(picture, 'Time per stage', 'plot'),
    f'Time per stage, {whole} in all. Beside each bar: time, and the peak '
    'memory of its process where it was measured.',
  )


def _quality_table(rows, recipes, names) -> str:
  values = {
    (row['tags']['recipe'], row['name']): row for row in rows
  }  # later rows replace earlier ones
  best = {}
  for name in names:
    direction = QUALITY[name][1]
    column = [values[r, name]['value'] for r in recipes if (r, name) in values]
    best[name] = max(column, key=lambda v, d=direction: d * v)
  head = ['Recipe']
  for name in names:
    label, direction, _ = QUALITY[name]
    arrow = f' <span class="arrow">{_ARROWS[direction]}</span>'
    head.append(html.escape(label) + (arrow if direction else ''))
  body = []
  for i, recipe in enumerate(recipes):
    base = '' if i else ' base'
    cells = [
      f'<td><span class="chip{base}">{i + 1}</span>{html.escape(recipe)}</td>'
    ]
    for name in names:
      _, direction, digits = QUALITY[name]
      row = values.get((recipe, name), {'value': None})
      is_best = bool(direction) and row['value'] == best[name]
      text = tidy.number(row['value'], digits)
      interval = tidy.span(row.get('interval'), digits)
      cells.append(html.cell(text, interval, best=is_best))
    body.append(''.join(cells))
  return html.table(head, body)


def _quality_by_env(rows, recipes) -> str:
  envs = [env for env in tidy.unique(rows, 'env') if env != 'mean']
  tables = []
  for name in ('nmi_clip', 'pnmi_action', 'pnmi_velocity', 'pnmi_state'):
    found = [row for row in rows if row['name'] == name]
    if envs and found:
      label, direction, _ = QUALITY[name]
      table = _matrix(found, 'recipe', recipes, envs, 'Recipe', direction)
      arrow = _ARROWS[direction]
      tables.append(
        f'<h3>{html.escape(label)} {arrow}</h3><div class="scroll">{table}'
        '</div>'
      )
  if not tables:
    return ''
  return html.details('Unit quality by environment', ''.join(tables))


def _matrix(rows, tag, names, envs, corner, direction) -> str:
  """A table of one measure, `names` down and environments across."""
  values = {(row['tags'][tag], row['tags'].get('env')): row for row in rows}
  body = []
  best = {}
  for env in envs:
    column = [values[n, env]['value'] for n in names if (n, env) in values]
    best[env] = max(column, key=lambda v: direction * v, default=None)
  for name in names:
    cells = [f'<td>{html.escape(name)}</td>']
    for env in envs:
      row = values.get((name, env), {'value': None})
      is_best = row['value'] is not None and row['value'] == best[env]
      cells.append(
        html.cell(
          tidy.number(row['value']), tidy.span(row.get('interval')), is_best
        )
      )
    body.append(''.join(cells))
  head = [corner, *(html.escape(plots.env_label(env)) for env in envs)]
  return f'<div class="scroll">{html.table(head, body)}</div>'
