"""Section on what a run cost: time, memory, and the products of pretraining."""

from rpt_jax import results
from rpt_jax.reporting import behind, html, plots, tidy
from rpt_jax.results import COST, Costs


def costs(doc: html.Document, rows) -> str:
  """Seconds and peak memory of every stage, FLOPs of every pretraining."""
  seconds = results.select(rows, Costs.SECONDS, kind=COST)
  memory = results.select(rows, Costs.MEMORY, kind=COST)
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
    f'memory of its process where it was measured.{_pretraining(rows)}',
    data_html=behind.table(
      ['stage', 'seconds'],
      [
        f'<td class="text">{html.escape(stage)}</td>'
        + html.cell(tidy.number(total['value'], 1))
        for stage, total in zip(stages, totals, strict=True)
      ],
      1,
    ),
  )


def _pretraining(rows) -> str:
  """What scratch does not get, in words; '' where nothing is pretrained."""
  flops = results.select(rows, Costs.FLOPS, kind=COST)
  of_run = {row['tags']['run']: row['value'] for row in flops}
  if not of_run:
    return ''
  listed = ', '.join(f'{run} {x / 1e12:,.2f}' for run, x in of_run.items())
  return (
    ' Pretraining, which policies from scratch do without, takes in each '
    f'pipeline, in TFLOP (of its products, all steps): {listed}.'
  )
