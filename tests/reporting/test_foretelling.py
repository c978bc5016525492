"""What the page says of measures that rank runs as their scores do."""

import pytest

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.reporting import evidence, foretelling, html
from rpt_jax.results import Acting, Pretrain, Probe


def rows(p):
  """One measure that foretells, with this p, and one that does not."""
  found = []
  values = {Probe.VELOCITY_R2: (0.6, 0.4, 0.8), Pretrain.LOSS_BITS: (0, -1, 1)}
  for name, (value, *interval) in values.items():
    tags = {'env': 'all', 'method': 'probe', 'demos': 1, 'predictor': name}
    tags['sample'] = 'pipelines'
    row = results.row(Acting.STAGE, Acting.RANK, value, interval, 5, **tags)
    found.append(row)
    name = Acting.p(Acting.RANK)
    found.append(results.row(Acting.STAGE, name, p, None, 5, **tags))
  return evidence.judged(found, ())


@pytest.mark.parametrize('p, verdict', [(0.01, 'yes'), (0.2, 'mixed')])
def test_only_what_decides_is_supported(p, verdict):
  (finding,) = foretelling.findings(rows(p), measures.RETURN)
  assert finding.verdict == verdict
  told = 'R² of the velocity, +0.60 [+0.40, +0.80] by a linear probe'
  assert (told in finding.sentence) == (verdict == 'yes')
  assert 'loss' not in finding.sentence


def test_the_table_has_every_measure():
  table = foretelling.section(html.Document(), rows(0.01), measures.RETURN)
  assert 'held-out loss in bits' in table and table.count('sure above') == 1
  assert '5 pipelines' in table
