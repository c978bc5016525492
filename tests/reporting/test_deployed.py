"""What a page says of policies that were deployed."""

from rpt_jax.reporting import deploying, html
from rpt_jax.results import Deployed, row


def test_a_way_to_learn_is_a_line_with_its_success_by_round():
  rows, stage, env = [], Deployed.STAGE, {'env': '<Car>'}
  for way, last in ((Deployed.DEMOS, 0.41), (Deployed.WEIGHTED, 0.93)):
    for number, value in ((0, 0.4), (1, last)):
      tags = env | {'method': way, 'round': number}
      rows += [
        row(stage, Deployed.SUCCESS, value, (0.1, 0.95), 3, **tags),
        row(stage, Deployed.HELPED, 0.25 - 0.1 * number, (0, 1), 3, **tags),
        row(stage, Deployed.SIZE, 1234 * number, (0, 2000), 3, **tags),
      ]
  pair = {'method': Deployed.WEIGHTED, 'other_method': Deployed.DEMOS}
  rows.append(row(stage, Deployed.GAIN, 0.52, (0.5, 0.6), 3, **pair, **env))
  success, gains = deploying.section(html.Document(), rows)
  demos, weighed = success.split('<tr>')[-2:]
  assert '0.40' in demos and '0.41' in demos and '0.93' in weighed
  assert '0.15' in weighed and '0.25' not in weighed and '1234' in weighed
  assert 'weighed by class − demonstrations alone' in gains
  assert '0.52' in gains
  assert '&lt;Car&gt;' in success and '<Car>' not in success
  assert deploying.section(html.Document(), rows[-1:]) == []
