"""Linear regression of what the robot is and does from frozen features.

Features of a frame: the image latent, the untrained trunk, and the trunk of
every pretraining run. Fitted on `pretrain` clips, R^2 on held-out ones: of the
physical state, of its velocity, which no single frame shows, and of a recorded
dataset's actions.
"""

from rpt_jax.episodes import streams, windows
from rpt_jax.evals import probes
from rpt_jax.stages import domains, pipeline, trunk
from rpt_jax.units import quality

_SPLITS = ('pretrain', 'heldout')


def run(config, inputs, directory):
  """Rows: R^2 over all dimensions, per features, domain and label."""
  del directory
  features = {'latent': lambda clips: clips}
  if 'pretrain' in config:
    names = ['random']
    for iteration in range(1, config.iterations + 1):
      names += trunk.runs(config, iteration)
    features |= {name: trunk.feature_fn(config, inputs, name) for name in names}
  rows = []
  for domain in domains.pretraining(config):
    fields = _fields(config, domain)
    if not fields:
      continue
    clips = {s: _clips(config, inputs, domain, s, fields) for s in _SPLITS}
    labels = {s: _labels(c, fields) for s, c in clips.items()}
    for name, function in features.items():
      seen = {s: function(c) for s, c in clips.items()}
      rows += _probe(name, domain, seen, labels)
  return rows


def _fields(config, name):
  """What is regressed of a domain: its state, a dataset's actions."""
  if name in config.envs:
    return ('state',)
  mapping = config.datasets[name].mapping
  return tuple(k for k in ('state', 'action') if k in mapping)


def _clips(config, inputs, name, split, fields):
  """Latents beside the fields they tell of."""
  latent = streams.load(inputs['encode'] / name / split, ('latent',))
  known = domains.labels(config, inputs, name, split, fields)
  return windows.Clips(latent.arrays | known.arrays, latent.lengths)


def _labels(clips, fields):
  labels = {k: clips.arrays[k] for k in fields}
  if 'state' in labels:
    labels['velocity'] = quality.velocity(labels['state'], clips.clip_N)
  return labels


def _probe(name, domain, clips, labels):
  train, test = clips['pretrain'], clips['heldout']
  rows = []
  for label in labels['pretrain']:
    result = probes.state(
      train.arrays['latent'],
      labels['pretrain'][label],
      train.clip_N,
      test.arrays['latent'],
      labels['heldout'][label],
    )
    tags = {'features': name, 'env': domain}
    rows.append(pipeline.row('probe', f'{label}_r2', result.pooled, **tags))
  values = ' '.join(f'{row["name"]} {row["value"]:.3f}' for row in rows)
  print(f'  {domain} {name}: {values}', flush=True)
  return rows
