"""What a page calls groups of domains, methods, samples and findings.

How it speaks of scores is said by their `results.Measure`.
"""

from typing import NamedTuple

from rpt_jax import results
from rpt_jax.reporting import evidence
from rpt_jax.results import FINETUNE, HEAD_FIRST, PIPELINES, PROBE

SEEN = 'seen'
GROUPS = (results.ALL, SEEN, results.UNSEEN)  # Environments taken together.
_OVER = {
  results.ALL: 'Over all {env}s',
  SEEN: 'In the {env}s seen in pretraining',
  results.UNSEEN: 'In the {env}s never seen in pretraining',
}
VERDICTS = {
  'yes': 'supported',
  'mixed': 'mixed',
  'no-effect': 'not supported',
  'fact': 'measured',
}


METHODS = {
  PROBE: 'a linear probe',
  FINETUNE: 'fine-tuning',
  HEAD_FIRST: 'a probe followed by fine-tuning',
}
DECIDES = (
  '“Supported” is only what a difference decides, here and in all plots and '
  'tables: its 95 % interval leaves zero out; its p is below 0.05 once '
  'corrected for all comparisons made (Holm); it is over '
  f'{results.ENOUGH_PIPELINES} pipelines or more; and the image model sees '
  'more of the state than edges do, where both were measured.'
)


class Finding(NamedTuple):
  """A headline: a verdict and a sentence."""

  verdict: str
  sentence: str


def over(group: str, measure: results.Measure) -> str:
  """How a sentence on a group of domains begins."""
  return _OVER[group].format(env=measure.env)


def sample(rows: list[results.Row]) -> str:
  """What intervals of these rows are over: '5 pipelines'."""
  counts = [row['seeds'] for row in rows if row.get('seeds')]
  if not counts:
    return 'seeds'
  low, high = min(counts), max(counts)
  count = str(low) if low == high else f'{low} to {high}'
  of_pipelines = all(results.tag(row, 'sample') == PIPELINES for row in rows)
  plural = '' if high == 1 else 's'
  if of_pipelines:
    return f'{count} pipeline{plural}'
  return f'{count} seed{plural} of one pipeline'


def split(
  rows: list[results.Row],
) -> tuple[list[results.Row], dict[str, list[results.Row]]]:
  """(rows of nothing that acts, {measure: rows of what acts}).

  Where some domains of a measure are UNSEEN, those that are not are called
  SEEN in the place of ALL. Differences come judged (`evidence`).
  """
  rest, acting = [], {}
  for row in rows:
    measure = results.tag(row, 'measure')
    of_measure = rest if measure is None else acting.setdefault(measure, [])
    of_measure.append(row)
  unseeing = evidence.unseeing(rest)
  for measure, scored in acting.items():
    if results.select(scored, env=results.UNSEEN):
      scored = [_seen(row) for row in scored]
    acting[measure] = evidence.judged(scored, unseeing)
  return rest, acting


def _seen(row):
  if results.tag(row, 'env') != results.ALL:
    return row
  return row | {'tags': row['tags'] | {'env': SEEN}}
