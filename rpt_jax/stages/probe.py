"""Linear regression of what the robot is and does from frozen features.

Features of a frame: the image latent, the untrained trunk, and the trunk of
every pretraining run. Fitted on `pretrain` clips, R^2 on held-out ones: of
state or proprioception, of that part of the state that a single frame shows
('visible'), of its velocity, which none shows, and of what a robot does there.
"""

from collections.abc import Callable

from rpt_jax import domains, results
from rpt_jax.episodes import windows
from rpt_jax.evals import probes
from rpt_jax.learning import encoders, features, streams
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Probe
from rpt_jax.types import LATENT
from rpt_jax.units import quality

_SPLITS = ('pretrain', 'heldout')
_FITTED = 5000  # Frames of a domain at most that a map is fitted to.


def run(config, inputs, directory):
  """Rows: R^2 over all dimensions, per features, domain and label."""
  del directory
  places, rows = domains.seen(domains.of(config)), []
  runs = None
  if config.pretrain:
    runs = Runs(config.pretrain, config.quantize, config.iterations)
  readers, names = _readers(runs, config.seed, inputs, places)
  for domain in places:
    fields = domain.probed
    if not fields:
      continue
    clips = {s: streams.read(domain, inputs, s, names) for s in _SPLITS}
    labels = {
      s: _labels(domains.labels(domain, inputs, s, fields), domain)
      for s in _SPLITS
    }
    for name, read in readers.items():
      seen = {s: read(clips[s]) for s in _SPLITS}
      rows += _probe(name, domain.name, clips, seen, labels)
    for eyes in config.eyes:
      encoded = inputs | {'encode': inputs[encoders.stage(eyes)]}
      seen = {
        s: streams.read(domain, encoded, s, (LATENT,)).arrays[LATENT]
        for s in _SPLITS
      }
      rows += _probe(f'{LATENT}/{eyes}', domain.name, clips, seen, labels)
  return rows


def _readers(runs, seed, inputs, places):
  """({features: function of clips}, the streams that they read)."""

  def latent(clips):
    return clips.arrays[LATENT]

  readers: dict[str, Callable] = {results.LATENT: latent}
  if runs is None:
    return readers, (LATENT,)
  action = domains.discrete_action(places)
  trunks = {results.RANDOM: (runs.main, seed)}
  trunks |= {name: (each, None) for name, each in runs.all().items()}
  names = {LATENT: None}
  for name, (each, untrained) in trunks.items():
    read = features.reader(each, inputs, action, untrained=untrained)
    readers[name] = lambda clips, read=read: read([clips])
    names |= dict.fromkeys(each.streams)
  return readers, tuple(names)


def _labels(clips, domain):
  """{label: [N, P]}: fields, what a frame shows of the state, and velocity."""
  labels = {k: clips.arrays[k] for k in domain.probed}
  if domain.visible:
    labels[Probe.VISIBLE] = labels['state'][:, domain.visible]
  for body in ('state', 'proprio'):
    if body in labels:
      labels['velocity'] = quality.velocity(labels[body], clips.clip_N)
  return labels


def _probe(name: str, env: str, clips: dict[str, windows.Clips], seen, labels):
  # Neighbouring frames are near copies: every other one tells as much.
  rows = slice(None, None, -(-len(seen['pretrain']) // _FITTED))
  probed = probes.states(
    seen['pretrain'][rows],
    {label: y_NP[rows] for label, y_NP in labels['pretrain'].items()},
    clips['pretrain'].clip_N[rows],
    seen['heldout'],
    labels['heldout'],
  )
  tags = {'features': name, 'env': env}
  rows = [
    results.row(Probe.STAGE, Probe.r2(label), result.pooled, **tags)
    for label, result in probed.items()
  ]
  values = ' '.join(f'{row["name"]} {row["value"]:.3f}' for row in rows)
  print(f'  {env} {name}: {values}', flush=True)
  return rows
