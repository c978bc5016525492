"""Section on what foretells acting: ranks of runs by measures and by scores.

Takes rows of one measure, as `words.split` gives them.
"""

from rpt_jax import results
from rpt_jax.reporting import evidence, html, plots, simulator, tidy, words
from rpt_jax.reporting.words import Finding
from rpt_jax.results import Acting, Measure, Pretrain, Probe, Quantize

_LABELS = {
  Probe.STATE_R2: 'R² of the state',
  Probe.VISIBLE_R2: 'R² of what a frame shows of it',
  Probe.VELOCITY_R2: 'R² of the velocity',
  Probe.ACTION_R2: 'R² of the action',
  Quantize.nmi(Quantize.CLIP): 'NMI(unit; clip)',
  Quantize.pnmi(Quantize.ACTION): 'PNMI(unit; action)',
  Quantize.pnmi(Quantize.VELOCITY): 'PNMI(unit; velocity)',
  Quantize.pnmi(Quantize.STATE): 'PNMI(unit; state)',
  Pretrain.LOSS_BITS: 'held-out loss in bits',
}


def section(doc: html.Document, rows, say: Measure) -> str:
  """A table: measures down, ways of learning across."""
  rows = results.select(rows, Acting.RANK)
  if not rows:
    return ''
  ways = sorted({(r['tags']['method'], r['tags']['demos']) for r in rows})
  body = []
  for name in results.unique(rows, 'predictor'):
    cells = [f'<td>{html.escape(_LABELS[name])}</td>']
    for method, demos in ways:
      tags = {'predictor': name, 'method': method, 'demos': demos}
      cells.append(
        simulator.difference(results.latest(rows, Acting.RANK, **tags))
      )
    body.append(''.join(cells))
  heads = [
    f'{plots.METHODS[m].label}, {tidy.demonstrations(n)}' for m, n in ways
  ]
  return doc.table(
    html.table(['Measure', *map(html.escape, heads)], body),
    'Does a cheap measure foretell acting? Spearman’s correlation over '
    f'pretraining runs between a measure and the {say.score} of policies, a '
    f'mean over {say.env}s, with its 95 % interval over {words.sample(rows)}. '
    '1: runs are ranked alike; bold where it decides. The oracle is left out.',
  )


def findings(rows, say: Measure) -> list[Finding]:
  """Which measures rank runs as their scores do."""
  rows = results.select(rows, Acting.RANK)
  if not rows:
    return []
  sure = [row for row in rows if evidence.decided(row)]
  names = {
    name: results.select(sure, predictor=name)
    for name in results.unique(sure, 'predictor')
  }
  ranking = '; '.join(
    f'{_LABELS[name]}, {_strongest(of)}' for name, of in names.items()
  )
  count = len(results.unique(rows, 'predictor'))
  return [
    Finding(
      'yes' if sure else 'mixed',
      f'Of {count} cheap measures {len(names)} rank pretraining runs as the '
      f'{say.score} of their policies does, or the other way round'
      f'{f" (rank correlation: {ranking})" if ranking else ""}.',
    )
  ]


def _strongest(rows) -> str:
  row = max(rows, key=lambda row: abs(row['value']))
  tags = row['tags']
  return (
    f'{tidy.with_interval(row, sign=True)} by {words.METHODS[tags["method"]]} '
    f'with {tidy.demonstrations(tags["demos"])}'
  )
