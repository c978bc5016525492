"""The sequence model, pretrained: on latents and units, or on all streams.

Every run of `config.pretrain.runs` trains a trunk with its own objective. Runs
on units are action-free: what they read of `encode` is latents and lengths
alone. Where `config.pretrain.streams` names what a robot senses and does, runs
read that, and the scale of every stream is written to `scales.safetensors`.
Writes `<run>/pretrained` (for `rpt_jax.from_pretrained`), the learning curve.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import sharing
from rpt_jax.episodes import loader, mixture, streams, windows
from rpt_jax.models import sequence
from rpt_jax.stages import domains, pipeline, sensorimotor, shared, trunk
from rpt_jax.training import (
  checkpoint,
  costs,
  loop,
  optimizer,
  progress,
  sharding,
  step,
  trainer,
)
from rpt_jax.types import StreamSpec

_SPLITS = ('pretrain', 'heldout')


def run(config, inputs, directory):
  """Train all runs; rows: held-out loss and accuracies of each."""
  source = _Streams if sensorimotor.wanted(config) else _Units
  source = source(config, inputs, directory)
  rows = []
  for name, settings in trunk.runs(config, config.iteration).items():
    data = {split: source.load(settings, split) for split in _SPLITS}
    objective, model = source.model(settings)
    loss_fn = make_loss(objective, model, settings, source.standardise)
    params = _train(name, settings, data, loss_fn, model, config, directory)
    found = _heldout_rows(name, settings, data, loss_fn, params, config)
    trained, parts = (model, params, source.scales), data['pretrain'][1]
    shared.keep(directory / name, config, name, settings, parts, trained, found)
    rows += found
  return rows


class _Units:
  """Latents of all cameras and the units of a recipe."""

  def __init__(self, config, inputs, directory):
    del directory
    self._config = config
    units = (inputs[n] for n in inputs if n.startswith('quantize'))
    self._encode, self._quantize = inputs['encode'], next(units)
    self.standardise = trunk.standardiser(self._encode)
    found = checkpoint.load_params(self._encode / 'statistics.safetensors')
    self.scales = {'latent': (found['mean'], found['std'])}
    self._clips = {s: trunk.latents(config, self._encode, s) for s in _SPLITS}

  def load(self, settings, split):
    """(clips, how many of them each domain has)."""
    unit = np.load(self._quantize / settings.recipe / f'{split}.npy')
    arrays, lengths = self._clips[split]
    counts = {
      name: len(streams.kept(self._encode / name / split))
      for name in domains.pretraining(self._config)
    }
    return windows.Clips(arrays | {'unit': unit}, lengths), counts

  def model(self, settings):
    """(objective, sequence model) of a run."""
    dim = self._clips['pretrain'].arrays['latent'].shape[-1]
    levels = trunk.levels(self._config, settings)
    return objective_model(settings, dim, levels, self._config)


class _Streams:
  """All streams of the domains, at mean 0 and deviation 1."""

  standardise = staticmethod(trunk.as_floats)

  def __init__(self, config, inputs, directory):
    self._config, self._inputs = config, inputs
    names = domains.pretraining(config)
    self._found = {
      split: {
        name: sensorimotor.recorded(config, inputs, name, split)
        for name in names
        if split in domains.splits(config, name)
      }
      for split in (*_SPLITS, 'failures')
    }
    scales = sensorimotor.measure(self._found['pretrain'].values())
    self.scales = scales
    sharing.save_scales(directory / sensorimotor.FILE, scales)
    self._dims = {stream: len(mean_D) for stream, (mean_D, _) in scales.items()}
    for parts in self._found.values():
      for name, clips in parts.items():
        parts[name] = sensorimotor.standardise(clips, scales)

  def load(self, settings, split):
    """(clips, how many of them each domain has)."""
    parts = dict(self._found[split])
    wanted = sensorimotor.names(self._config, settings)
    dims = self._dims
    if 'unit' in wanted:
      parts = self._with_units(parts, settings, split)
      dims = dims | {'unit': trunk.levels(self._config, settings)}
    if split == 'pretrain' and settings.get('failures', False):
      failures = self._found['failures'].items()
      parts |= {f'{name} failures': clips for name, clips in failures}
    known = settings.get('known', 1.0) if split == 'pretrain' else 1.0
    clips = sensorimotor.join(list(parts.values()), wanted, dims, known)
    return clips, {name: len(c.lengths) for name, c in parts.items()}

  def _with_units(self, parts, settings, split):
    quantize = next(d for n, d in self._inputs.items() if 'quantize' in n)
    unit_NL = np.load(quantize / settings.recipe / f'{split}.npy')
    stops = np.cumsum([c.lengths.sum() for c in parts.values()])[:-1]
    units = np.split(unit_NL, stops)
    return {
      name: windows.Clips(clips.arrays | {'unit': unit}, clips.lengths)
      for (name, clips), unit in zip(parts.items(), units, strict=True)
    }

  def model(self, settings):
    """(objective, sequence model) of a run."""
    return streams_model(settings, self._dims, self._config)


def _train(name, settings, data, loss_fn, model, config, directory):
  """Parameters of a run (their running mean, if one is kept)."""
  c, mesh = config.pretrain, sharding.make_mesh(config.mesh)
  trained = make_trainer(c, model, loss_fn, mesh)
  batch_at = _batches(*data['pretrain'], config, settings, mesh)
  label = f'  pretrain {name}'
  flops = costs.flops(trained.step, trained.shapes, batch_at(0))
  tokens = c.batch_size * model.context * len(model.streams)

  def init():
    state = trained.init(jax.random.key(config.seed))
    return shared.begin(config, settings, state, label)

  state, history = loop.fit(
    init,
    trained.shapes,
    trained.step,
    batch_at,
    c.steps,
    directory=directory / name,
    log_every=max(c.steps // 10, 1),
    save_every=max(c.steps // 4, 1),
    label=label,
    cost=progress.Cost(flops, tokens),
  )
  params = state.params if state.ema is None else state.ema
  pipeline.write_json(directory / name / 'curve.json', history)
  return params


def make_trainer(c, model, loss_fn, mesh) -> trainer.Trainer:
  """The trainer of a model with the settings `c` of `config.pretrain`."""
  tx = optimizer.adamw(
    c.learning_rate,
    c.steps,
    weight_decay=c.weight_decay,
    warmup=c.warmup,
    b2=0.98,
    freeze=c.get('freeze', ''),
  )
  return trainer.make(
    functools.partial(sequence.init, model),
    loss_fn,
    tx,
    mesh,
    accumulate=c.get('accumulate', 1),
    ema=c.get('ema', 0.0),
  )


def _heldout_rows(name, settings, data, loss_fn, params, config):
  """Means over 8 batches of all held-out windows, and of each domain's."""
  clips, parts = data['heldout']
  stops = np.cumsum(list(parts.values()))
  chosen = {'all': slice(None)}
  if len(parts) > 1:
    starts = stops - list(parts.values())
    cuts = zip(parts, starts, stops, strict=True)
    chosen |= {env: slice(start, stop) for env, start, stop in cuts}
  evaluate, mesh = jax.jit(loss_fn), sharding.make_mesh(config.mesh)
  rows = []
  for env, part in chosen.items():
    batch_at = _batches(clips, {}, config, settings, mesh, part)
    metrics = []
    for i in range(8):
      loss, found = evaluate(params, batch_at(i), jax.random.key(i))
      metrics.append(step.read_metrics({'loss': loss, **found}))
    tags = {'run': name} | ({} if env == 'all' else {'env': env})
    rows += [
      pipeline.row('pretrain', m, np.nanmean([x[m] for x in metrics]), **tags)
      for m in metrics[0]
    ]
  return rows


def objective_model(settings, dim, levels, config):
  """(objective, sequence model) of a run on latents of `dim` dimensions and
  units of `levels` codebooks."""
  vocab = config.quantize.num_clusters
  targets = (
    StreamSpec('unit', 'discrete', vocab=vocab, levels=levels),
    StreamSpec('latent', 'continuous', dim=dim),
  )
  return _build(settings, targets[1:], targets, config)


def streams_model(settings, dims, config):
  """(objective, sequence model) of a run on streams of `dims` dimensions."""
  names = sensorimotor.names(config, settings)
  levels = trunk.levels(config, settings) if 'unit' in names else 1
  specs = sensorimotor.specs(config, names, dims, levels)
  return _build(settings, specs, specs, config)


def _build(settings, inputs, targets, config):
  objective = trunk.objective(settings)
  heads = objective.heads(settings, inputs, targets)
  context = trunk.context(config, settings)
  visibility = objective.VISIBILITY
  return objective, trunk.model(config, inputs, heads, visibility, context)


def make_loss(objective, model, settings, standardise):
  """loss_fn(params, batch, key) on windows of streams."""
  names, context = tuple(s.name for s in model.streams), model.context

  def loss_fn(params, batch, key):
    weights = dict(settings.items()) | batch['settings'] | {'streams': names}
    masks = {k: batch[k][:, :context] for k in ('valid', 'present')
             if k in batch}  # fmt: skip
    seen = {
      k: standardise(x) if jnp.issubdtype(x.dtype, jnp.floating) else x
      for k, x in batch.items()
      if k not in ('settings', 'valid', 'present')
    }
    batch = masks | {
      'inputs': {name: seen[name][:, :context] for name in names},
      'targets': seen,
      'target_valid': batch['valid'],
    }
    return objective.loss(sequence.bind(model, params), batch, key, weights)

  return loss_fn


def traced(settings):
  """The float settings of a run as arrays: runs differing in them alone share
  one compiled step."""
  return {k: np.float32(v) for k, v in settings.items() if isinstance(v, float)}


def _batches(clips, parts, config, settings, mesh, chosen=slice(None)):
  """step -> batch on the mesh: windows, and targets that run on beyond them.

  Windows come as often as there are of them, or from the domains `parts`
  counts the clips of in shares of `config.datasets.*.weight`. `chosen` clips
  alone are looked at. A process loads the rows that its devices hold.
  """
  size, context = config.pretrain.batch_size, trunk.context(config, settings)
  rows = sharding.local_rows(size, mesh)
  table = windows.windows(clips.lengths, context, lead=context - 1)
  mine = np.isin(table.clip, np.arange(len(clips.lengths))[chosen])
  table = table.take(np.flatnonzero(mine))
  weights = [config.datasets[n].weight if n in config.datasets else 0.0
             for n in parts]  # fmt: skip
  if any(weights):
    order = _weighted(table, parts, weights, size, config.seed, rows)
  else:
    order = loader.Order(table.first.shape[0], size, config.seed, rows)
  steps = context + settings.get('steps', 0)
  batch_at = loader.window_batches(clips.arrays, table, steps, order)
  fixed = {'settings': traced(settings)}
  return lambda i: sharding.shard_batch(batch_at(i), mesh, size) | fixed


def _weighted(table, parts, weights, batch_size, seed, rows):
  """step -> `rows` of its windows, domains in shares of their weights."""
  stops = np.cumsum(list(parts.values()))
  ends = np.searchsorted(table.clip, stops)
  sizes = np.diff(ends, prepend=0)
  mix = mixture.Mixture(sizes, weights, batch_size, seed, rows)

  def order(step):
    picks = mix(step)
    return (ends - sizes)[picks.dataset] + picks.row

  return order
