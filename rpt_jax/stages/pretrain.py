"""The sequence model on latents and units, without actions.

Every run of `config.pretrain.runs` trains the same trunk with its own
objective on its own units. Writes `<run>/params.safetensors` and the learning
curve; what is read of `encode` is latents and lengths alone.
"""

import json

import jax
import numpy as np

from rpt_jax.episodes import loader, mixture, streams, windows
from rpt_jax.models import sequence
from rpt_jax.stages import domains, pipeline, trunk
from rpt_jax.training import checkpoint, loop, optimizer, sharding, step
from rpt_jax.types import StreamSpec


def run(config, inputs, directory):
  """Train all runs; rows: held-out loss and accuracies of each."""
  mesh = sharding.make_mesh(config.mesh)
  standardise = trunk.standardiser(inputs['encode'])
  clips = {
    split: trunk.latents(config, inputs['encode'], split)
    for split in ('pretrain', 'heldout')
  }
  units = next(inputs[name] for name in inputs if name.startswith('quantize'))
  parts = {s: _clip_counts(config, inputs['encode'], s) for s in clips}
  rows = []
  for name, settings in trunk.runs(config, config.iteration).items():
    data = {
      split: _with_units(c, units / settings.recipe / f'{split}.npy')
      for split, c in clips.items()
    }
    rows += _train(
      name, settings, data, parts, standardise, config, mesh, directory
    )
  return rows


def _train(name, settings, data, parts, standardise, config, mesh, directory):
  c = config.pretrain
  arrays = data['pretrain'].arrays
  objective, model = objective_model(
    settings, arrays['latent'].shape[-1], arrays['unit'].shape[-1], config
  )
  loss_fn = make_loss(objective, model, settings, standardise)
  tx = optimizer.adamw(
    c.learning_rate, c.steps, weight_decay=c.weight_decay, b2=0.98
  )
  init_key, key = jax.random.split(jax.random.key(config.seed))
  state = step.init_state(sequence.init(model, init_key), tx, key)
  shardings = sharding.state_shardings(state, mesh)
  ahead = settings.get('steps', 0)
  weights = {'settings': traced(settings)}
  batch_at = _batches(data['pretrain'], parts['pretrain'], config, ahead)
  state, history = loop.fit(
    jax.device_put(state, shardings),
    step.make_train_step(loss_fn, tx, shardings),
    lambda i: sharding.shard_batch(batch_at(i), mesh) | weights,
    c.steps,
    directory=directory / name,
    log_every=max(c.steps // 10, 1),
    save_every=max(c.steps // 4, 1),
    label=f'  pretrain {name}',
  )
  checkpoint.save_params(directory / name / 'params.safetensors', state.params)
  (directory / name / 'curve.json').write_text(json.dumps(history))
  evaluate = jax.jit(loss_fn)

  def measure(batch, i):
    loss, found = evaluate(state.params, batch | weights, jax.random.key(i))
    return step.read_metrics({'loss': loss, **found})

  return _heldout_rows(name, data['heldout'], parts['heldout'], config, measure)


def _heldout_rows(name, clips, parts, config, measure):
  """Means over 8 batches of all held-out windows, and of each domain's."""
  ahead = trunk.runs(config, config.iteration)[name].get('steps', 0)
  stops = np.cumsum(list(parts.values()))
  chosen = {'all': slice(None)}
  if len(parts) > 1:
    starts = stops - list(parts.values())
    cuts = zip(parts, starts, stops, strict=True)
    chosen |= {env: slice(start, stop) for env, start, stop in cuts}
  rows = []
  for env, part in chosen.items():
    batch_at = _batches(clips, {}, config, ahead, part)
    metrics = [measure(batch_at(i), i) for i in range(8)]
    tags = {'run': name} | ({} if env == 'all' else {'env': env})
    rows += [
      pipeline.row('pretrain', m, np.mean([x[m] for x in metrics]), **tags)
      for m in metrics[0]
    ]
  return rows


def objective_model(settings, dim, levels, config):
  """(objective, sequence model) of a run on latents of `dim` dimensions and
  units of `levels` codebooks."""
  objective = trunk.objective(settings)
  vocab = config.quantize.num_clusters
  targets = (
    StreamSpec('unit', 'discrete', vocab=vocab, levels=levels),
    StreamSpec('latent', 'continuous', dim=dim),
  )
  heads = objective.heads(settings, (), targets)
  return objective, trunk.model(config, dim, heads, objective.VISIBILITY)


def make_loss(objective, model, settings, standardise):
  """loss_fn(params, batch, key) on windows of latents and units."""

  def loss_fn(params, batch, key):
    latent_BSD, weights = standardise(batch['latent']), batch['settings']
    context = model.context
    batch = {
      'inputs': {'latent': latent_BSD[:, :context]},
      'targets': {'unit': batch['unit'], 'latent': latent_BSD},
      'valid': batch['valid'][:, :context],
      'target_valid': batch['valid'],
    }
    weights = dict(settings.items()) | weights
    return objective.loss(sequence.bind(model, params), batch, key, weights)

  return loss_fn


def traced(settings):
  """The float settings of a run as arrays: runs differing in them alone share
  one compiled step."""
  return {k: np.float32(v) for k, v in settings.items() if isinstance(v, float)}


def _with_units(clips, path):
  return windows.Clips(clips.arrays | {'unit': np.load(path)}, clips.lengths)


def _clip_counts(config, encode, split):
  """Clips of each domain, in the order they lie end to end."""
  return {
    name: len(streams.kept(encode / name / split))
    for name in domains.names(config)
  }


def _batches(clips, parts, config, ahead, chosen=slice(None)):
  """Batches of windows, `ahead` steps of targets beyond each.

  Windows come as often as there are of them, or from the domains `parts`
  counts the clips of in shares of `config.datasets.*.weight`. `chosen` clips
  alone are looked at.
  """
  c = config.pretrain
  table = windows.windows(clips.lengths, c.context, lead=c.context - 1)
  mine = np.isin(table.clip, np.arange(len(clips.lengths))[chosen])
  table = table.take(np.flatnonzero(mine))
  weights = [config.datasets[n].weight if n in config.datasets else 0.0
             for n in parts]  # fmt: skip
  if any(weights):
    order = _weighted(table, parts, weights, c.batch_size, config.seed)
  else:
    order = loader.Order(table.first.shape[0], c.batch_size, config.seed)
  return loader.window_batches(clips.arrays, table, c.context + ahead, order)


def _weighted(table, parts, weights, batch_size, seed):
  """step -> windows [B], domains in shares of their weights."""
  stops = np.cumsum(list(parts.values()))
  ends = np.searchsorted(table.clip, stops)
  sizes = np.diff(ends, prepend=0)
  mix = mixture.Mixture(sizes, weights, batch_size, seed)

  def order(step):
    picks = mix(step)
    return (ends - sizes)[picks.dataset] + picks.row

  return order
