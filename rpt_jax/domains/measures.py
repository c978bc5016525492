"""What scores are: their scale, how they are summed up, and in which words."""

from rpt_jax.results import Measure

_SAMPLE = (
  "Intervals are Student's 95 % intervals of the mean over whole pipelines "
  '(image model, units, pretraining, demonstrations, fine-tuning, episodes), '
  'of a difference over the pairs; of a single pipeline they are over its '
  'seeds and hold nothing of how pretrainings differ. Simulated with five '
  'pipelines, they cover the truth in 95 % of cases where scores are normal, '
  'in 82 % where they are log-normal, in 83 % where a third of the pipelines '
  'fails. \u201cAll\u201d is the mean over {env}s in every pipeline; {env}s '
  'are fixed, so no interval speaks of others.'
)

RETURN = Measure(
  name='return',
  title='Acting from few demonstrations',
  scale='random acting is 0 and the expert 1',
  score='normalised score',
  scores='scores',
  statistic='Mean over {seeds}',
  env='environment',
  intervals=_SAMPLE.format(env='environment'),
)
PREDICTION = Measure(
  name='prediction',
  title='Predicting what was done',
  scale='always giving the mean action is 0 and a perfect prediction 1',
  score='open-loop score',
  scores='scores',
  statistic='Mean over {seeds}',
  env='dataset',
  intervals=_SAMPLE.format(env='dataset'),
  note='Policies of recorded data were scored in open loop: they see the '
  'recorded frames of held-out episodes and predict the next actions; nothing '
  'was executed.',
)
SUCCESS = Measure(
  name='success',
  title='Success in the simulator',
  scale='no episode is 0 and every episode is 1',
  score='success rate',
  scores='succeeds at a rate of',
  statistic='Mean over {seeds} and their episodes',
  env='task',
  intervals=_SAMPLE.format(env='task'),
)
