"""Linear regression of the physical state from frozen features.

Features of a frame: the image latent, the untrained trunk, and the trunk of
every pretraining run. Fitted on `pretrain` clips, R^2 on held-out ones; also
of the velocity, which no single frame shows.
"""

import numpy as np

from rpt_jax.episodes import streams, windows
from rpt_jax.evals import probes
from rpt_jax.stages import pipeline, trunk
from rpt_jax.units import quality


def run(config, inputs, directory):
  """Rows: mean R^2 per features, environment and label."""
  del directory
  names = [
    run
    for iteration in range(1, config.iterations + 1)
    for run in trunk.runs(config, iteration)
  ]
  features = {'latent': lambda clips: clips} | {
    name: trunk.feature_fn(config, inputs, name) for name in ('random', *names)
  }
  rows = []
  for env in config.envs:
    clips = {
      split: streams.load(inputs['encode'] / env / split, ('latent', 'state'))
      for split in ('pretrain', 'heldout')
    }
    for name, function in features.items():
      rows += _probe(name, env, {s: function(c) for s, c in clips.items()})
  return rows


def _probe(name, env, clips):
  train, test = clips['pretrain'], clips['heldout']
  rows = []
  for label, of in (('state', _state), ('velocity', _velocity)):
    result = probes.state(
      train.arrays['latent'],
      of(train),
      train.clip_N,
      test.arrays['latent'],
      of(test),
    )
    rows.append(
      pipeline.row('probe', f'{label}_r2', result.mean, features=name, env=env)
    )
  values = ' '.join(f'{row["name"]} {row["value"]:.3f}' for row in rows)
  print(f'  {env} {name}: {values}', flush=True)
  return rows


def _state(clips: windows.Clips) -> np.ndarray:
  return clips.arrays['state']


def _velocity(clips: windows.Clips) -> np.ndarray:
  return quality.velocity(clips.arrays['state'], clips.clip_N)
