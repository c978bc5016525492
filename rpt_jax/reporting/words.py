"""What a page calls scores and findings.

In rows of the stage `control` a score is a success rate and the group 'all'
holds only the tasks seen in pretraining; on the page that group is 'seen'.
"""

from typing import NamedTuple

from rpt_jax.reporting import tidy

GROUPS = ('all', 'seen', 'unseen')  # Environments taken together.
OVER = {
  'all': 'Over all environments',
  'seen': 'In the tasks seen in pretraining',
  'unseen': 'In the tasks never seen in pretraining',
}
FEW_SEEDS = 'so single cells are hints and the aggregate is the evidence.'
VERDICTS = {
  'yes': 'supported',
  'mixed': 'mixed',
  'no-effect': 'not supported',
  'fact': 'measured',
}


class Finding(NamedTuple):
  """A headline: a verdict and a sentence."""

  verdict: str
  sentence: str


class Words(NamedTuple):
  """How sentences and captions speak of one kind of score."""

  score: str  # As an axis is named.
  scores: str  # Verb before a number.
  statistic: str  # {seeds}: how many there are.
  env: str  # One of what policies are scored on.
  intervals: str  # What is resampled, and what that is worth.


NORMALISED = Words(
  'normalised score',
  'scores',
  'IQM over {seeds}',
  'environment',
  'Intervals are 95 % percentile bootstrap intervals; seeds are resampled '
  'within each environment. With three to five seeds in one environment they '
  f'are too narrow (nominal 95 % covers about 75 % to 90 %), {FEW_SEEDS}',
)
SUCCESS = Words(
  'success rate',
  'succeeds at a rate of',
  'Mean over {seeds} and their episodes',
  'task',
  'Intervals are 95 % percentile bootstrap intervals; seeds, and the episodes '
  'of every seed drawn, are resampled within each task. Tasks are fixed, so no '
  'interval speaks of other tasks; three to five seeds tell too little of how '
  'seeds differ, and every pretraining was run once, so no interval holds how '
  f'pretrainings differ, {FEW_SEEDS}',
)
SUCCESS_SCALE = '0 is no episode and 1 is every episode'


def split(rows: list[tidy.Row]) -> tuple[list[tidy.Row], list[tidy.Row]]:
  """(rows of all other stages, rows of `control` with 'all' named 'seen')."""
  rest, played = [], []
  for row in rows:
    if row['stage'] != 'control':
      rest.append(row)
    elif row['tags'].get('env') == 'all':
      played.append(row | {'tags': row['tags'] | {'env': 'seen'}})
    else:
      played.append(row)
  return rest, played
