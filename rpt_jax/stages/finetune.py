"""Behaviour cloning on few demonstrations, all seeds of a cell at once.

A cell is (run, method, demonstrations), for each domain. Methods: `scratch`
(the same trunk, untrained), `probe` (pretrained, frozen, a linear action head),
`finetune` (everything but the image model trains) and `tuned` (from there on
part of the image model, too: `stages/tuned.py`). Seeds differ in which
demonstrations they get, in what is initialised, and in the order of windows;
cells share them, so that differences between methods are paired.
"""

import functools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import sharing
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import (
  demonstrations,
  domains,
  encode,
  pipeline,
  sensorimotor,
  trunk,
  tuned,
)
from rpt_jax.training import checkpoint, distributed, optimizer, sharding, step


class Cell(NamedTuple):
  """What one entry of the results table is about."""

  run: str  # Pretraining run, 'none' for scratch.
  method: str  # 'scratch', 'probe', 'finetune', 'tuned'.
  demos: int
  encoder: str = 'frozen'  # What trains of the image model.

  @property
  def name(self):
    """`next-finetune-4`, `next-tuned-4-lora8`."""
    name = f'{self.run}-{self.method}-{self.demos}'
    mode = self.encoder.replace(':', '')
    return f'{name}-{mode}' if self.method == 'tuned' else name

  @property
  def untuned(self):
    """The cell that a tuned one goes on from."""
    return Cell(self.run, 'finetune', self.demos)


def cells(config) -> list[Cell]:
  """Every cell of a domain: the demo curve, other runs, tuned image models.

  Raises ValueError where the other runs would have no scratch beside them,
  the main run is none of the runs, or the image model cannot be tuned so.
  """
  c, main = config.finetune, config.pretrain.main
  if not set(c.run_demos) <= set(c.demos):
    raise ValueError(
      f'config.finetune.run_demos: found {tuple(c.run_demos)}, expected some '
      f'of config.finetune.demos={tuple(c.demos)}'
    )
  if main not in config.pretrain.runs:
    raise ValueError(
      f'config.pretrain.main: found {main!r}, expected one of '
      f'{sorted(config.pretrain.runs)}'
    )
  curve = (('none', 'scratch'), (main, 'probe'), (main, 'finetune'))
  result = [Cell(*method, n) for n in c.demos for method in curve]
  for iteration in range(1, config.iterations + 1):
    for run in trunk.runs(config, iteration):
      if run != main:
        result += [Cell(run, 'finetune', n) for n in c.run_demos]
  for mode in tuned.modes(config):
    result += [Cell(main, 'tuned', n, mode) for n in c.tuned.demos]
  return result


def run(config, inputs, directory):
  """Write `<env>/<cell>.safetensors`, [S, ...] each; rows: final losses.

  `<env>/<cell>.json` has the losses and comes last: a killed stage goes on at
  the first cell without it.
  """
  standardise = trunk.input_scale(config, inputs)
  encoder = encode.load_encoder(config, inputs) if tuned.modes(config) else None
  demos, rows = demonstrations.load(config, inputs), []
  for name in domains.acting(config):
    for cell in cells(config):
      done = _path(directory, name, cell).with_suffix('.json')
      if distributed.agree(not done.exists()):
        known = config, inputs, directory, name, demos[name]
        params_S, loss_S = _train(*known, cell, encoder, standardise)
        checkpoint.save_params(_path(directory, name, cell), params_S)
        pipeline.write_json(done, np.asarray(loss_S, float).tolist())
        distributed.wait(f'{name} {cell.name}')
      rows.append(_loss_row(name, cell, json.loads(done.read_text())))
  return rows


def _train(config, inputs, directory, name, demos, cell, encoder, standardise):
  """(parameters [S, ...], last losses [S]) of a domain's cell."""
  (data, table), keys_S = demos, seed_keys(config)
  size = len(data['action'])
  picks_SN, count_S = demonstrations.picks(table, cell.demos, size, config)
  model, pretrained = policy_model(config, inputs, cell, name)
  if cell.method == 'tuned':
    params_S = load(directory, name, cell.untuned)
    frames, picks_SN = tuned.data(config, inputs, name, demos, picks_SN)
    seeds = tuned.Seeds(params_S, picks_SN, count_S, keys_S)
    eye = tuned.Eye(encoder, standardise, cell.encoder)
    return tuned.train(config.finetune, eye, model, frames, seeds)
  params_S = initial(model)(keys_S) | jax.tree.map(
    lambda x: np.broadcast_to(x, (len(keys_S), *x.shape)), pretrained
  )
  c = config.finetune
  freeze = c.get('freeze', '') if cell.method == 'finetune' else ''
  mesh = sharding.make_mesh(config.mesh)
  train = trainer(model, standardise, c, cell.method == 'probe', freeze, mesh)
  return train(params_S, data, picks_SN, count_S, keys_S)


def _loss_row(name, cell, losses):
  loss, tags = float(np.mean(losses)), cell._asdict() | {'env': name}
  print(f'  {name} {cell.name}: loss {loss:.4f}', flush=True)
  return pipeline.row('finetune', 'loss', loss, seeds=len(losses), **tags)


def load(directory, name: str, cell: Cell):
  """The parameters of a domain's cell, all seeds: [S, ...]."""
  return checkpoint.load_params(_path(directory, name, cell))


def _path(directory, name, cell):
  return directory / name / f'{cell.name}.safetensors'


def policy_model(config, inputs, cell: Cell, name: str):
  """(model with an action head, pretrained parameters; none from scratch).

  On latents alone all policies are causal, so that every step of a window
  teaches; a trunk pretrained in both directions adapts. On streams they see
  as their trunk does, and what it was not pretrained on starts untrained.
  """
  run = config.pretrain.main if cell.run == 'none' else cell.run
  settings, params = trunk.load_run(config, inputs, run)
  if sensorimotor.wanted(config):
    scales = sharing.load_scales(inputs['pretrain'] / sensorimotor.FILE)
    dims = {stream: len(mean_D) for stream, (mean_D, _) in scales.items()}
  else:
    dims = {'latent': params['stem_latent']['project']['kernel'].shape[0]}
  action = domains.action_spec(config, inputs['collect'], name)
  model = untrained(config, settings, dims, action)
  if cell.run == 'none':
    return model, {}
  init = functools.partial(sequence.init, model)
  mine = jax.eval_shape(init, jax.random.key(0))
  params, _ = trunk.split_heads(params)
  return model, {k: v for k, v in params.items() if k in mine}


def untrained(config, settings, dims, action) -> sequence.SequenceModel:
  """The model of a policy on the trunk of a run.

  Args:
    settings: of the pretraining run.
    dims: {stream: width}; of 'latent' alone without config.pretrain.streams.
    action: StreamSpec of what it gives.
  """
  if sensorimotor.wanted(config):
    streams = _policy_streams(config, settings, dims)
    visibility = trunk.objective(settings).VISIBILITY
  else:
    streams = trunk.latent_stream(dims['latent'])
    visibility = behaviour_cloning.VISIBILITY
  heads = behaviour_cloning.heads(config.finetune, streams, (action,))
  context = trunk.context(config, settings)
  return trunk.model(config, streams, heads, visibility, context)


def _policy_streams(config, settings, dims):
  """A run's streams without units, and all that a robot feels and does."""
  found = sensorimotor.names(config, settings)
  seen = [s for s in found if s.startswith('latent/')]
  felt = [s for s in ('proprio', 'action') if s in dims]
  return sensorimotor.specs(config, (*seen, *felt), dims)


def seed_keys(config) -> jax.Array:
  """One key per seed [S], the same for all cells."""
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  return jax.random.split(key, config.finetune.seeds)


@functools.cache
def initial(model):
  """Jitted keys [S] -> untrained parameters [S, ...]."""
  return jax.jit(jax.vmap(functools.partial(sequence.init, model)))


@functools.cache
def trainer(model, standardise, settings, frozen, freeze, mesh):
  """Jitted (params_S, data, picks_SN, count_S, keys_S) -> (params, loss)_S.

  The whole training of all seeds is one call: a scan over steps under a vmap.
  Windows are split over the mesh; policies are whole on every device.
  """
  rate = settings.probe_learning_rate if frozen else settings.learning_rate
  tx = optimizer.adamw(
    rate, settings.steps, weight_decay=settings.weight_decay, freeze=freeze
  )
  names = tuple(stream.name for stream in model.streams)
  objective = {
    'chunk': settings.chunk,
    'visibility': model.visibility,
    'streams': names,
  }
  size, shape = settings.batch_size, (model.context, settings.chunk)

  def train(params, data, picks_N, count, key):
    fixed, trained = trunk.split_heads(params) if frozen else ({}, params)

    def loss_fn(trained, batch, key):
      apply = sequence.bind(model, fixed | trained)
      return behaviour_cloning.loss(apply, batch, key, objective)

    update = step.step_fn(loss_fn, tx)

    def body(state, i):
      picks_B = demonstrations.draw(key, i, picks_N, count, size)
      batch = demonstrations.batch(data, picks_B, names, *shape)
      batch = sharding.split(batch, mesh)
      seen = jax.tree.map(standardise, batch['inputs'])
      state, metrics = update(state, batch | {'inputs': seen})
      return state, metrics['loss']

    state = step.init_state(trained, tx, key)
    state, losses = jax.lax.scan(body, state, jnp.arange(settings.steps))
    last = max(settings.steps // 10, 1)
    return fixed | state.params, losses[-last:].mean()

  return jax.jit(
    jax.vmap(train, in_axes=(0, None, 0, 0, 0)),
    out_shardings=sharding.replicated(mesh),
  )
