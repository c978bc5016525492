"""Sections on acting: scores, paired differences, which pretraining is best.

Each takes plain rows and returns HTML; without its content it returns ''.
"""

from collections.abc import Sequence

from rpt_jax.reporting import findings, html, plots, tidy, words


def headline(found: Sequence[words.Finding]) -> str:
  """The findings as a list, each with its verdict."""
  items = ''.join(
    f'<li><span class="verdict {verdict}">{words.VERDICTS[verdict]}</span>'
    f'{html.escape(sentence)}</li>'
    for verdict, sentence in found
  )
  return f'<ul class="findings">{items}</ul>' if items else ''


def demo_curves(
  doc: html.Document, rows, run: str | None, scale: str, say=words.NORMALISED
) -> list[str]:
  """Score against demonstrations: aggregate, per domain, every cell.

  `scale` says what 0 and 1 are, `say` (`words.Words`) what is scored.
  """
  scores = _scores(rows, run)
  envs = _groups_first(scores)
  methods = [m for m in plots.METHODS if tidy.select(scores, method=m)]
  if not methods:
    return []
  limits = plots.span_of(scores, include=(0.0, 1.0))
  panels = []
  for env in envs:
    of_env = tidy.select(scores, env=env)
    rows_of = {m: tidy.select(of_env, method=m) for m in methods}
    rows_of = {m: found for m, found in rows_of.items() if found}
    size = (4.5, 3.6) if env in words.GROUPS else (2.25, 1.8)
    picture = plots.demo_curves(rows_of, plots.env_label(env), limits, size)
    alt = f'{say.score.capitalize()} against demonstrations, {env}'
    kind = 'plot first' if env in words.GROUPS else 'plot'
    panels.append(html.image(picture, alt, kind))
  legend = html.legend([plots.METHODS[method] for method in methods])
  seeds = {row['seeds'] for row in scores if row.get('seeds')}
  seeds = f'{_range(seeds)} seeds' if seeds else 'seeds'
  trunk = f' Pretraining run: {run}.' if run else ''
  figure = doc.figure(
    legend + ''.join(panels),
    f'Score against demonstrations. {say.statistic.format(seeds=seeds)}, on a '
    f'scale where {scale} (grey lines), with 95 % bands.{trunk} '
    f'{say.intervals}',
    'small',
  )
  return [figure, _every_cell(scores, envs, methods, say)]


def paired_differences(
  doc: html.Document, rows, run, say=words.NORMALISED
) -> str:
  """Forest plots, one for each number of demonstrations."""
  rows = [
    row
    for row in tidy.select(rows, 'paired_difference')
    if row['tags'].get('run') in (run, None)
  ]
  methods = [m for m in plots.METHODS if tidy.select(rows, method=m)]
  if not methods:
    return ''
  envs = sorted(tidy.unique(rows, 'env'), key=lambda env: env in words.GROUPS)
  limits = plots.span_of(rows, include=(0.0,))
  panels = []
  for demos in sorted(tidy.unique(rows, 'demos')):
    of_demos = tidy.select(rows, demos=demos)
    rows_of = {m: tidy.select(of_demos, method=m) for m in methods}
    title = tidy.demonstrations(demos)
    picture = plots.forest(rows_of, envs, title, limits, say.score)
    alt = f'Paired differences pretrained minus scratch, {title}'
    panels.append(html.image(picture, alt, 'plot'))
  legend = html.legend([plots.METHODS[m]._replace(dash='-') for m in methods])
  return doc.figure(
    legend + ''.join(panels),
    'Paired differences, pretrained minus scratch. Both arms of a pair share '
    'the seed, its demonstrations and its initial states. Filled markers: the '
    '95 % interval leaves zero out; hollow: it does not. '
    f'{say.env.capitalize()}s are not corrected for being many.',
    'wide',
  )


def tuned(doc: html.Document, rows) -> str:
  """Policies that trained on through the image model, by what of it moved."""
  rows = tidy.select(rows, method='tuned')
  body = []
  for score in tidy.select(rows, 'score'):
    tags = {k: score['tags'][k] for k in ('env', 'demos', 'encoder')}
    gain = tidy.latest(rows, 'tuning_difference', **tags) or {'value': None}
    cells = [
      f'<td>{html.escape(plots.env_label(tags["env"]))}</td>',
      f'<td>{tags["demos"]}</td><td class="text">'
      f'{html.escape(tags["encoder"])}</td>',
      html.cell(
        tidy.number(score['value']), tidy.span(score.get('interval')), False
      ),
      html.cell(
        tidy.number(gain['value'], sign=True),
        tidy.span(gain.get('interval'), sign=True),
        False,
      ),
    ]
    body.append(f'<tr>{"".join(cells)}</tr>')
  if not body:
    return ''
  head = ['Environment', 'Demos', 'Image model', 'Score', 'Gain']
  return doc.table(
    html.table(head, body, text=('Image model',)),
    'Trained on through the image model, with augmented frames. “Gain” is over '
    'the fine-tuned policy each went on from, paired by seed; “frozen” is the '
    'control that takes the same steps with the image model fixed.',
  )


def variants(
  doc: html.Document, rows, runs: dict[str, dict], say=words.NORMALISED
) -> list[str]:
  """Which units, objective or alpha acts best; HuBERT's alpha curve.

  `runs` describes pretraining runs: run -> {'label', 'recipe', 'objective',
  'alpha'}, all optional.
  """
  return [_variant_scores(doc, rows, runs, say), _alpha_curves(doc, rows, runs)]


def _scores(rows, run) -> list[tidy.Row]:
  """Scores of scratch and of one pretraining run."""
  return [
    row
    for row in tidy.select(rows, 'score')
    if row['tags']['method'] in plots.METHODS
    and (
      row['tags']['method'] == 'scratch'
      or row['tags'].get('run') in (run, None)
    )
  ]


def _groups_first(scores) -> list[str]:
  """All environments, those taken together before the single ones."""
  return sorted(
    tidy.unique(scores, 'env'), key=lambda env: env not in words.GROUPS
  )


def _every_cell(scores, envs, methods, say) -> str:
  demos = sorted(tidy.unique(scores, 'demos'))
  groups = '<th></th><th></th>' + (
    f'<th colspan="{len(demos)}">demonstrations</th>'
  )
  body = []
  for env in envs:
    cells_of = {
      (m, d): tidy.latest(scores, 'score', env=env, method=m, demos=d)
      for m in methods
      for d in demos
    }
    for i, method in enumerate(methods):
      name = html.escape(plots.env_label(env)) if i == 0 else ''
      cells = [f'<td>{name}</td><td class="text">{html.escape(method)}</td>']
      for d in demos:
        row = cells_of[method, d] or {'value': None}
        best = max(
          (r['value'] for m in methods if (r := cells_of[m, d])), default=None
        )
        is_best = row['value'] is not None and row['value'] == best
        cells.append(
          html.cell(
            tidy.number(row['value']), tidy.span(row.get('interval')), is_best
          )
        )
      rule = ' class="rule"' if i == 0 else ''
      body.append(f'<tr{rule}>{"".join(cells)}</tr>')
  head = [say.env.capitalize(), '', *(str(d) for d in demos)]
  table = f'<div class="scroll">{html.table(head, body, groups)}</div>'
  return html.details('Every cell, with its interval', table)


def _variant_scores(doc, rows, runs, say) -> str:
  envs = findings.comparable_envs(rows)
  envs += ['unseen'] if envs == ['seen'] else []
  scores = [
    row
    for row in tidy.select(rows, 'score', method=('finetune', 'probe'))
    if row['tags'].get('run') not in (None, 'none')
  ]
  names = tidy.unique(scores, 'run')
  labels = [runs.get(run, {}).get('label', run) for run in names]
  panels = []
  for env in envs:
    for demos in sorted(tidy.unique(tidy.select(scores, env=env), 'demos')):
      cells = tidy.select(scores, env=env, demos=demos)
      if len(tidy.unique(cells, 'run')) < 2:
        continue
      rows_of = {
        m: tidy.select(cells, method=m)
        for m in plots.METHODS
        if tidy.select(cells, method=m)
      }
      scratch = tidy.latest(
        rows, 'score', env=env, demos=demos, method='scratch'
      )
      title = f'{plots.env_label(env)}, {tidy.demonstrations(demos)}'
      picture = plots.variants(
        rows_of, names, labels, scratch, title, say.score
      )
      panels.append(html.image(picture, f'Score by run, {title}', 'plot'))
  if not panels:
    return ''
  legend = html.legend(
    [
      plots.METHODS[m]._replace(
        dash=plots.METHODS[m].dash if m == 'scratch' else '-'
      )
      for m in plots.METHODS
    ]
  )
  return doc.figure(
    legend + ''.join(panels),
    'Which pretraining acts best. One row per pretraining run, with 95 % '
    'intervals; the dashed line and its band are training from scratch on the '
    'same demonstrations.',
    'wide',
  )


def _alpha_curves(doc, rows, runs) -> str:
  """Every measure that at least two values of alpha share, by recipe."""
  alphas = {run: d for run, d in runs.items() if d.get('alpha') is not None}
  measures = {}
  envs = findings.comparable_envs(rows)
  for method in ('finetune', 'probe'):
    found = tidy.select(
      rows, 'score', run=tuple(alphas), env=tuple(envs), method=method
    )
    for row in found:
      env, demos = row['tags']['env'], row['tags']['demos']
      where = '' if env == 'all' else f'{plots.env_label(env)}, '
      key = (f'{where}{tidy.demonstrations(demos)}', f'score, {method}')
      measures.setdefault(key, {})[row['tags']['run']] = row
  for run, mean in findings.mean_r2(rows).items():
    if run in alphas:
      key = ('state probe', 'mean R²')
      measures.setdefault(key, {})[run] = {'value': mean}
  for row in tidy.select(rows, 'accuracy_masked', run=tuple(alphas)):
    key = ('masked prediction', 'accuracy')
    measures.setdefault(key, {})[row['tags']['run']] = row
  panels, legend = [], {}
  for (title, ylabel), by_run in measures.items():
    lines: dict[str, list] = {}
    for run, row in by_run.items():
      label = str(alphas[run].get('recipe', 'units'))
      lines.setdefault(label, []).append((float(alphas[run]['alpha']), row))
    lines = {k: v for k, v in lines.items() if len({a for a, _ in v}) > 1}
    if lines:
      picture = plots.alpha_curve(lines, title, ylabel)
      alt = f'{ylabel} against alpha, {title}'
      panels.append(html.image(picture, alt, 'plot'))
      legend |= plots.series(list(lines))
  if not panels:
    return ''
  return doc.figure(
    html.legend(list(legend.values())) + ''.join(panels),
    'Where the loss is placed. α weighs the loss on masked steps against that '
    'on unmasked ones (HuBERT, section II-C): 1 is masked only, 0 unmasked '
    'only. HuBERT found masked-only best, by most where units are poor.',
    'small',
  )


def _range(values) -> str:
  low, high = min(values), max(values)
  return str(low) if low == high else f'{low} to {high}'
