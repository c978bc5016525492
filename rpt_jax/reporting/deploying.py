"""What policies made of having been deployed, by how they learn from it."""

from rpt_jax import results
from rpt_jax.reporting import html
from rpt_jax.results import Deployed

_WAYS = {
  Deployed.DEMOS: 'demonstrations alone',
  Deployed.UNIFORM: 'all steps alike',
  Deployed.WEIGHTED: 'weighed by class',
  Deployed.LFI: 'memory: least intervened go first',
  Deployed.MFI: 'memory: most intervened go first',
  Deployed.FIFO: 'memory: oldest go first',
  Deployed.FILO: 'memory: newest go first',
  Deployed.RANDOM: 'memory: any go',
}


def section(doc: html.Document, rows) -> list[str]:
  """Tables of every environment policies were deployed in; [] without."""
  deployed = results.select(rows, Deployed.SUCCESS)
  return [
    part
    for env in results.unique(deployed, 'env')
    for part in (_success(doc, rows, env), _gains(doc, rows, env))
  ]


def _success(doc, rows, env):
  """A way to learn a line: success by round, what the expert did, steps."""
  own = results.select(rows, Deployed.SUCCESS, env=env)
  rounds, body = results.unique(own, 'round'), []
  for way in results.unique(own, 'method'):
    about = {'env': env, 'method': way}
    line = [f'<td class="text">{html.escape(_WAYS[way])}</td>']
    for number in rounds:
      success = results.latest(rows, Deployed.SUCCESS, round=number, **about)
      line.append(html.measured(success))
    for name, digits in (
      (Deployed.HELPED, 2),
      (Deployed.FINISHED, 2),
      (Deployed.SIZE, 0),
    ):
      last = results.latest(rows, name, round=rounds[-1], **about)
      line.append(html.measured(last, digits))
    body.append(''.join(line))
  head = (
    'Learned from', *(f'Round {number}' for number in rounds),
    'Expert’s share', 'Success with help', 'Steps',
  )  # fmt: skip
  caption = (
    f'Policies deployed with an expert who takes over, {env}. In how many '
    'episodes they reach the goal alone, after so many rounds of deployment; '
    'then, of the last policy, the share of steps that the expert would do, '
    'and success so; and steps it learned from. Memories hold a part of what '
    'was deployed, weighed by class. Student’s 95 % intervals.'
  )
  return doc.table(html.table(head, body, text=('Learned from',)), caption)


def _gains(doc, rows, env):
  """Differences of two ways after the last round."""
  body = []
  for row in results.select(rows, Deployed.GAIN, env=env):
    pair = (_WAYS[results.tag(row, k)] for k in ('method', 'other_method'))
    words = ' − '.join(html.escape(name) for name in pair)
    body.append(f'<td class="text">{words}</td>{html.measured(row)}')
  return doc.table(
    html.table(('After the last round', 'Success'), body),
    f'What one way to learn gains over another, {env}, paired by repetition.',
  )
