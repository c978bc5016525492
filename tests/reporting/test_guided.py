"""What a page says of a critic that chooses among draws."""

from rpt_jax.reporting import guiding, html
from rpt_jax.results import COST, Costs, Guiding, row


def test_a_way_to_choose_is_a_line_with_its_gain_and_its_time():
  stage, env = Guiding.STAGE, {'env': '<Detour>'}
  one = {'choice': Guiding.BEST, 'samples': 1} | env
  ten = {'choice': Guiding.BEST, 'samples': 10} | env
  rows = [
    row(stage, Guiding.SUCCESS, 0.7, (0.6, 0.8), 3, **one),
    row(stage, Guiding.SUCCESS, 0.9, (0.8, 0.95), 3, **ten),
    row(stage, Guiding.GAIN, 0.2, (0.1, 0.3), 3, **ten),
    row(stage, Costs.ACT, 4.26, samples=10, kind=COST, env='<Detour>'),
    row(stage, Costs.ACT, 1.0, samples=10, kind=COST, env='another'),
  ]
  (table,) = guiding.section(html.Document(), rows)
  one, ten = table.split('<tr>')[-2:]
  assert '0.70' in one and '–' in one
  assert '0.90' in ten and '0.20' in ten and '4.3' in ten
  assert '&lt;Detour&gt;' in table and '<Detour>' not in table
  assert guiding.section(html.Document(), rows[3:]) == []
