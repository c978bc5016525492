"""Sections on acting: scores, paired differences, which pretraining is best.

Each takes plain rows and returns HTML; without its content it returns ''.
"""

from collections.abc import Mapping, Sequence

from rpt_jax import results
from rpt_jax.reporting import (
  behind,
  controls,
  curves,
  findings,
  html,
  plots,
  tidy,
  words,
)
from rpt_jax.reporting.variants import comparable_envs
from rpt_jax.results import (
  FINETUNE,
  NO_RUN,
  PROBE,
  SCRATCH,
  TUNED,
  Acting,
  Measure,
  Pretrain,
)

# Shares of units named rightly: the panel's title, the name of the rows.
_NAMED_RIGHTLY = (
  ('masked steps', Pretrain.MASKED_ACCURACY),
  ('unmasked steps', Pretrain.UNMASKED_ACCURACY),
)


def headline(conclusions: Sequence[words.Finding]) -> str:
  """The findings as a list, each with its verdict."""
  items = ''.join(
    f'<li><span class="verdict {verdict}">{words.VERDICTS[verdict]}</span>'
    f'{html.escape(sentence)}</li>'
    for verdict, sentence in conclusions
  )
  if not items:
    return ''
  return f'<ul class="findings">{items}</ul>{html.paragraph(words.DECIDES)}'


def demo_curves(
  doc: html.Document, rows, run: str | None, say: Measure
) -> list[str]:
  """Score against demonstrations: aggregate, per domain, every cell."""
  scores = _scores(rows, run)
  envs = _groups_first(scores)
  methods = [m for m in plots.METHODS if results.select(scores, method=m)]
  if not methods:
    return []
  bare = [row['value'] for row in controls.scores(rows)]  # Without bands.
  limits = plots.span_of(scores, include=(0.0, 1.0, *bare))
  panels = []
  for env in envs:
    of_env = results.select(scores, env=env)
    rows_of = {m: results.select(of_env, method=m) for m in methods}
    rows_of = {m: curve for m, curve in rows_of.items() if curve}
    is_large = env in words.GROUPS or len(envs) == 1
    size = (4.5, 3.6) if is_large else (2.25, 1.8)
    others = controls.curves(rows, env)
    label = plots.env_label(env)
    drawn = curves.demo_curves(rows_of, others, label, limits, size)
    alt = f'{say.score.capitalize()} against demonstrations, {env}'
    kind = 'first' if is_large else ''
    panels.append(html.plot(drawn, alt, kind))
  entries = [plots.METHODS[method] for method in methods]
  entries += map(plots.control, controls.eyes(rows))
  seeds = words.sample(scores)
  trunk = f' Pretraining run: {run}.' if run else ''
  figure = doc.figure(
    html.legend(entries) + ''.join(panels),
    f'Score against demonstrations. {say.statistic.format(seeds=seeds)}, on a '
    f'scale where {say.scale} (level lines), with 95 % bands.{trunk} '
    f'{say.intervals}',
    'small',
    behind.rows([*scores, *controls.scores(rows)]),
  )
  return [figure, _every_cell(scores, envs, methods, say)]


def paired_differences(doc: html.Document, rows, run, say: Measure) -> str:
  """Forest plots, one for each number of demonstrations."""
  rows = [
    row
    for row in results.select(rows, Acting.OVER_SCRATCH)
    if results.tag(row, 'run') in (run, None)
  ]
  methods = [m for m in plots.METHODS if results.select(rows, method=m)]
  if not methods:
    return ''
  envs = sorted(_envs(rows), key=lambda env: env in words.GROUPS)
  limits = plots.span_of(rows, include=(0.0,))
  panels = []
  for demos in sorted(results.unique(rows, 'demos')):
    of_demos = results.select(rows, demos=demos)
    rows_of = {m: results.select(of_demos, method=m) for m in methods}
    title = tidy.demonstrations(demos)
    picture = plots.forest(rows_of, envs, title, limits, say.score)
    alt = f'Paired differences pretrained minus scratch, {title}'
    panels.append(html.image(picture, alt, 'plot'))
  legend = html.legend([plots.METHODS[m]._replace(dash='-') for m in methods])
  return doc.figure(
    legend + ''.join(panels),
    'Paired differences, pretrained minus scratch. Both arms of a pair share '
    'the pipeline, its demonstrations and its initial states. Filled markers: '
    'the difference decides, as said under the findings; hollow: it does not.',
    'wide',
    behind.rows(rows),
  )


def tuned(doc: html.Document, rows, say: Measure) -> str:
  """Policies that trained on through the image model, by what of it moved."""
  rows = results.select(rows, method=TUNED)
  body = []
  for score in results.select(rows, Acting.SCORE):
    tags = {k: score['tags'][k] for k in ('env', 'demos', 'encoder')}
    gain = results.latest(rows, Acting.OVER_FROZEN, **tags) or {'value': None}
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
  head = [say.env.capitalize(), 'Demos', 'Image model', 'Score', 'Gain']
  return doc.table(
    html.table(head, body, text=('Image model',)),
    'Trained on through the image model, with augmented frames. “Gain” is over '
    'the fine-tuned policy each went on from, paired; “frozen” is the '
    'control that takes the same steps with the image model fixed.',
  )


def variants(
  doc: html.Document,
  rest,
  acting: Mapping[str, Sequence[results.Row]],
  runs: dict[str, dict],
  measures: Mapping[str, Measure],
) -> list[str]:
  """Which units, objective or alpha acts best; HuBERT's alpha curve.

  `rest` and `acting` are as `words.split` gives them; `runs` describes
  pretraining runs: run -> {'label', 'recipe', 'objective', 'alpha'}, all
  optional.
  """
  scores = [
    _variant_scores(doc, rows, runs, measures[name])
    for name, rows in acting.items()
  ]
  return [*scores, _alpha_curves(doc, rest, acting.values(), runs)]


def _scores(rows, run) -> list[results.Row]:
  """Scores of scratch and of one pretraining run."""
  return [
    row
    for row in results.select(rows, Acting.SCORE, method=tuple(plots.METHODS))
    if row['tags']['method'] == SCRATCH
    or results.tag(row, 'run') in (run, None)
  ]


def _groups_first(scores) -> list[str]:
  """All environments, those taken together before the single ones."""
  return sorted(_envs(scores), key=lambda env: env not in words.GROUPS)


def _envs(rows) -> list[str]:
  """All environments; of one alone the mean would be the same once more."""
  envs = results.unique(rows, 'env')
  single = [env for env in envs if env not in words.GROUPS]
  return single if len(single) == 1 else list(envs)


def _every_cell(scores, envs, methods, say) -> str:
  demos = sorted(results.unique(scores, 'demos'))
  groups = '<th></th><th></th>' + (
    f'<th colspan="{len(demos)}">demonstrations</th>'
  )
  body = []
  for env in envs:
    cells_of = {
      (m, d): results.latest(scores, Acting.SCORE, env=env, method=m, demos=d)
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
  envs = comparable_envs(rows)
  envs += [results.UNSEEN] if envs == [words.SEEN] else []
  scores = [
    row
    for row in results.select(rows, Acting.SCORE, method=(FINETUNE, PROBE))
    if results.tag(row, 'run') not in (None, NO_RUN)
  ]
  names = results.unique(scores, 'run')
  labels = [runs.get(run, {}).get('label', run) for run in names]
  panels, drawn = [], []
  for env in envs:
    for demos in sorted(
      results.unique(results.select(scores, env=env), 'demos')
    ):
      cells = results.select(scores, env=env, demos=demos)
      if len(results.unique(cells, 'run')) < 2:
        continue
      rows_of = {
        m: results.select(cells, method=m)
        for m in plots.METHODS
        if results.select(cells, method=m)
      }
      scratch = results.latest(
        rows, Acting.SCORE, env=env, demos=demos, method=SCRATCH
      )
      title = f'{plots.env_label(env)}, {tidy.demonstrations(demos)}'
      picture = plots.variants(
        rows_of, names, labels, scratch, title, say.score
      )
      panels.append(html.image(picture, f'Score by run, {title}', 'plot'))
      drawn += [*cells, scratch] if scratch else cells
  if not panels:
    return ''
  shown = (SCRATCH, *results.unique(scores, 'method'))
  legend = html.legend([plots.METHODS[m] for m in plots.METHODS if m in shown])
  return doc.figure(
    legend + ''.join(panels),
    'Score by pretraining run. One row per pretraining run, with 95 % '
    'intervals; the dashed line and its band are training from scratch on the '
    'same demonstrations.',
    'wide',
    behind.rows(drawn),
  )


def _alpha_curves(doc, rest, acting, runs) -> str:
  """Every measure that at least two values of alpha share, by recipe."""
  alphas = {run: d for run, d in runs.items() if d.get('alpha') is not None}
  measures = {
    key: _lines(row_of, alphas)
    for key, row_of in _measures_of(rest, acting, tuple(alphas)).items()
  }
  drawn: dict[str, list] = {}
  for (_, ylabel), lines in measures.items():
    for pairs in lines.values():
      drawn.setdefault(ylabel, []).extend(row for _, row in pairs)
  panels, legend = [], {}
  for (title, ylabel), lines in measures.items():
    if lines:
      limits = plots.span_of(drawn[ylabel])
      plot = curves.alpha_curve(lines, title, ylabel, limits)
      alt = f'{ylabel} against alpha, {title}'
      panels.append(html.plot(plot, alt))
      legend |= plots.series(list(lines))
  if not panels:
    return ''
  return doc.figure(
    html.legend(list(legend.values())) + ''.join(panels),
    'Where the loss is placed. α weighs the loss on masked steps against that '
    'on unmasked ones (HuBERT, section II-C): 1 is masked only, 0 unmasked '
    'only. HuBERT found masked-only best, by most where units are poor. '
    'Accuracy is the share of held-out steps whose unit is named rightly.',
    'small',
    _alphas_behind(measures),
  )


def _alphas_behind(measures) -> str:
  """What is drawn against alpha, as a table."""
  body = []
  for (title, ylabel), lines in measures.items():
    for recipe, pairs in lines.items():
      for alpha, row in pairs:
        texts = title, ylabel, recipe, f'{alpha:g}', tidy.with_interval(row)
        body.append(''.join(f'<td>{html.escape(text)}</td>' for text in texts))
  head = ['where', 'measure', 'recipe', 'α', 'value']
  return behind.table(head, body, 0)


def _lines(row_of, alphas) -> dict[str, list[tuple[float, results.Row]]]:
  """Recipe -> (alpha, row) of its runs, where they differ in alpha."""
  lines: dict[str, list] = {}
  for run, row in row_of.items():
    recipe = str(alphas[run].get('recipe', 'units'))
    lines.setdefault(recipe, []).append((float(alphas[run]['alpha']), row))
  return {k: v for k, v in lines.items() if len({a for a, _ in v}) > 1}


def _measures_of(
  rest, acting, runs
) -> dict[tuple[str, str], dict[str, results.Row]]:
  """(title, axis) of what these runs are compared by -> run -> its row."""
  measures = {}
  for rows in acting:
    tags = {'run': runs, 'env': tuple(comparable_envs(rows))}
    for row in results.select(
      rows, Acting.SCORE, method=(FINETUNE, PROBE), **tags
    ):
      env, demos = row['tags']['env'], row['tags']['demos']
      where = '' if env == results.ALL else f'{plots.env_label(env)}, '
      axis = f'score, {row["tags"]["method"]}'
      key = (f'{where}{tidy.demonstrations(demos)}', axis)
      measures.setdefault(key, {})[row['tags']['run']] = row
  for run, mean in findings.mean_r2(rest).items():
    if run in runs:
      measures.setdefault(('state probe', 'mean R²'), {})[run] = {'value': mean}
  for title, name in _NAMED_RIGHTLY:
    # Rows with an env are of one domain alone.
    for row in results.select(rest, name, run=runs, env=None):
      measures.setdefault((title, 'accuracy'), {})[row['tags']['run']] = row
  return measures
