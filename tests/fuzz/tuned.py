"""A quicktest with a grid of how its policies learn, which no config has."""

from rpt_jax import experiments, settings


def get_config(arg=''):
  """`arg`: 'quicktest' alone."""
  config = experiments.load(f'hubert_units:{arg}')
  config.pipelines = 1
  config.tune = settings.section(settings.Tune, steps=(2, 3))
  return config
