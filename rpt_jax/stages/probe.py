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
from rpt_jax.learning import encoders, features, streams, texts
from rpt_jax.learning.runs import Runs
from rpt_jax.results import Probe
from rpt_jax.types import LATENT
from rpt_jax.units import quality

_SPLITS = ('pretrain', 'heldout')
# Frames of a domain at most that a map is fitted to, and judged on.
_MOST = {'pretrain': 5000, 'heldout': 20_000}


def run(config, inputs, directory):
  """Rows: R^2 over all dimensions, per features, domain and label."""
  del directory
  places, rows = domains.seen(domains.of(config)), []
  runs = instructions = None
  if config.pretrain:
    instructions = texts.load(inputs['pretrain'], config.pretrain)
    runs = Runs(config.pretrain, config.quantize, config.iterations)
  readers, names = _readers(runs, config.seed, inputs, places)
  for domain in places:
    fields = domain.probed
    if not fields:
      print(f'  {domain.name}: left out, as it has no state and no actions')
      continue
    clips = {
      s: streams.read(domain, inputs, s, names, instructions) for s in _SPLITS
    }
    chosen = {
      s: windows.spread(int(clips[s].lengths.sum()), most)
      for s, most in _MOST.items()
    }
    labels = {
      s: _labels(domains.labels(domain, inputs, s, fields), domain, chosen[s])
      for s in _SPLITS
    }
    fitted_N = clips['pretrain'].clip_of(chosen['pretrain'])

    def probe(name, seen, domain=domain, fitted_N=fitted_N, labels=labels):
      return _probe(name, domain.name, fitted_N, seen, labels)

    for name, read in readers.items():
      rows += probe(name, {s: read(clips[s], chosen[s]) for s in _SPLITS})
    for eyes in config.eyes:
      encoded = inputs | {'encode': inputs[encoders.stage(eyes)]}
      own = {s: streams.read(domain, encoded, s, (LATENT,)) for s in _SPLITS}
      seen = {s: own[s].arrays[LATENT][chosen[s]] for s in _SPLITS}
      rows += probe(f'{LATENT}/{eyes}', seen)
  return rows


def _readers(runs, seed, inputs, places):
  """({features: function of clips}, the streams that they read)."""

  def latent(clips, rows_N):
    return clips.arrays[LATENT][rows_N]

  readers: dict[str, Callable] = {results.LATENT: latent}
  if runs is None:
    return readers, (LATENT,)
  discrete = domains.discrete(places)
  trunks = {results.RANDOM: (runs.main, seed)}
  trunks |= {name: (each, None) for name, each in runs.all().items()}
  names = {LATENT: None}
  for name, (each, untrained) in trunks.items():
    read = features.reader(each, inputs, discrete, untrained=untrained)
    readers[name] = lambda clips, rows, read=read: read([clips], rows)
    names |= dict.fromkeys(each.streams)
  return readers, tuple(names)


def _labels(clips, domain, rows_N):
  """{label: [N, P]}: fields, what a frame shows of the state, and velocity."""
  labels = {k: clips.arrays[k][rows_N] for k in domain.probed}
  if domain.visible:
    labels[Probe.VISIBLE] = labels['state'][:, domain.visible]
  for body in ('state', 'proprio'):
    if body in labels:
      labels['velocity'] = quality.velocity(
        clips.arrays[body], clips.lengths, rows_N
      )
  return labels


def _probe(name: str, env: str, clip_N, seen, labels):
  """Rows of features `seen` {split: [N, D]}; `clip_N` of those fitted."""
  probed = probes.states(
    seen['pretrain'],
    labels['pretrain'],
    clip_N,
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
