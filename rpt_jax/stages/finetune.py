"""Behaviour cloning on few demonstrations, all seeds of a cell at once.

A cell is (run, method, demonstrations), for each domain. Methods: `scratch`
(the same trunk, untrained), `probe` (pretrained, frozen, a linear action head)
and `finetune` (everything trains). Seeds differ in which demonstrations they
get, in what is initialised, and in the order of windows; cells share them, so
that differences between methods are paired.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.episodes import streams, windows
from rpt_jax.models import sequence
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.stages import domains, pipeline, trunk
from rpt_jax.training import checkpoint, optimizer, step


class Cell(NamedTuple):
  """What one entry of the results table is about."""

  run: str  # Pretraining run, 'none' for scratch.
  method: str  # 'scratch', 'probe', 'finetune'.
  demos: int

  @property
  def name(self):
    return f'{self.run}-{self.method}-{self.demos}'


def cells(config) -> list[Cell]:
  """Every cell of a domain: the demo curve, then the other runs.

  Raises ValueError where the other runs would have no scratch beside them, or
  the main run is none of the runs.
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
  return result


def run(config, inputs, directory):
  """Write `<env>/<cell>.safetensors`, [S, ...] each; rows: final losses."""
  standardise = trunk.standardiser(inputs['encode'])
  demos = _load_demos(config, inputs)
  keys_S = seed_keys(config)
  rows = []
  for name in domains.acting(config):
    data, table = demos[name]
    for cell in cells(config):
      model, pretrained = policy_model(config, inputs, cell, name)
      params_S = _initial(model)(keys_S) | jax.tree.map(
        lambda x: np.broadcast_to(x, (len(keys_S), *x.shape)), pretrained
      )
      frozen = cell.method == 'probe'
      train = _trainer(model, standardise, config.finetune, frozen)
      picks_SN, count_S = _picks(table, cell.demos, len(data['latent']), config)
      params_S, loss_S = train(params_S, data, picks_SN, count_S, keys_S)
      path = directory / name / f'{cell.name}.safetensors'
      checkpoint.save_params(path, params_S)
      loss = float(loss_S.mean())
      tags = cell._asdict() | {'env': name}
      rows.append(
        pipeline.row('finetune', 'loss', loss, seeds=len(loss_S), **tags)
      )
      print(f'  {name} {cell.name}: loss {loss:.4f}', flush=True)
  return rows


def policy_model(config, inputs, cell: Cell, name: str):
  """(model with an action head, pretrained parameters; none from scratch).

  All policies are causal, so that every step of a window teaches; a trunk
  pretrained in both directions adapts.
  """
  run = config.pretrain.main if cell.run == 'none' else cell.run
  _, params = trunk.load_run(config, inputs, run)
  heads = behaviour_cloning.heads(
    config.finetune,
    (),
    (domains.action_spec(config, inputs['collect'], name),),
  )
  dim = params['stem_latent']['project']['kernel'].shape[0]
  model = trunk.model(config, dim, heads, behaviour_cloning.VISIBILITY)
  return model, {} if cell.run == 'none' else trunk.split_heads(params)[0]


def seed_keys(config) -> jax.Array:
  """One key per seed [S], the same for all cells."""
  key = jax.random.fold_in(jax.random.key(config.seed), 1)
  return jax.random.split(key, config.finetune.seeds)


@functools.cache
def _initial(model):
  """Jitted keys [S] -> untrained parameters [S, ...]."""
  return jax.jit(jax.vmap(functools.partial(sequence.init, model)))


@functools.cache
def _trainer(model, standardise, settings, frozen):
  """Jitted (params_S, data, picks_SN, count_S, keys_S) -> (params, loss)_S.

  The whole training of all seeds is one call: a scan over steps under a vmap.
  """
  rate = settings.probe_learning_rate if frozen else settings.learning_rate
  tx = optimizer.adamw(rate, settings.steps, weight_decay=settings.weight_decay)
  objective = {'chunk': settings.chunk, 'visibility': model.visibility}

  def train(params, data, picks_N, count, key):
    fixed, trained = trunk.split_heads(params) if frozen else ({}, params)

    def loss_fn(trained, batch, key):
      apply = sequence.bind(model, fixed | trained)
      return behaviour_cloning.loss(apply, batch, key, objective)

    update = step.step_fn(loss_fn, tx)

    def body(state, i):
      draw = jax.random.fold_in(key, i)
      place = jax.random.randint(draw, (settings.batch_size,), 0, count)
      batch = _batch(data, picks_N[place], standardise, model, settings.chunk)
      state, metrics = update(state, batch)
      return state, metrics['loss']

    state = step.init_state(trained, tx, key)
    state, losses = jax.lax.scan(body, state, jnp.arange(settings.steps))
    last = max(settings.steps // 10, 1)
    return fixed | state.params, losses[-last:].mean()

  return jax.jit(jax.vmap(train, in_axes=(0, None, 0, 0, 0)))


def _batch(data, picks_B, standardise, model, chunk):
  """Windows ending at the rows picked, and the actions of their chunks."""
  table = data['table'].take(picks_B)
  context = model.context
  rows_BS, valid_BS = windows.rows(table, context + chunk - 1)
  latent_BTD = windows.gather(data['latent'], rows_BS[:, :context])
  return {
    'inputs': {'latent': standardise(latent_BTD)},
    'targets': {'action': windows.gather(data['action'], rows_BS)},
    'valid': valid_BS[:, :context],
    'target_valid': valid_BS,
  }


def _load_demos(config, inputs):
  """Per domain: arrays padded to the rows of the longest, and windows.

  Continuous actions come standardised, or in units of their limit.
  """
  clips = {
    name: with_actions(config, inputs, name, domains.demos_split(config, name))
    for name in domains.acting(config)
  }
  size = max(c.lengths.sum() for c in clips.values())
  context, demos = config.pretrain.context, {}
  for name, c in clips.items():
    table = windows.windows(c.lengths, context, lead=context - 1)
    data = c.arrays | {'table': table}
    padded = jax.tree.map(lambda x: _pad_rows(x, size), data)
    demos[name] = jax.tree.map(jnp.asarray, padded), table
  return demos


def with_actions(config, inputs, name: str, split: str) -> windows.Clips:
  """Latents and the actions a policy of this domain is to give."""
  latent = streams.load(inputs['encode'] / name / split, ('latent',))
  known = domains.labels(config, inputs, name, split, ('action',))
  action = known.arrays['action']
  if action.ndim > 1 or action.dtype.kind == 'f':
    mean, scale = domains.action_scale(config, inputs['collect'], name)
    action = ((action - mean) / scale).astype(np.float32)
  return windows.Clips(latent.arrays | {'action': action}, latent.lengths)


def _pad_rows(x, size):
  return np.pad(x, ((0, size - len(x)),) + ((0, 0),) * (x.ndim - 1))


def _picks(table, num_demos, size, config):
  """Windows of each seed's first demonstrations: [S, N], and their count [S].

  Every seed draws its own order of the demonstrations; fewer demonstrations
  are a part of more. Rows beyond the count repeat and are never drawn.
  """
  picks, counts = [], []
  for seed in range(config.finetune.seeds):
    order = np.random.default_rng([config.seed, seed])
    chosen = order.permutation(table.clip.max() + 1)[:num_demos]
    mine = np.flatnonzero(np.isin(table.clip, chosen))
    picks.append(np.resize(mine, size))
    counts.append(len(mine))
  return np.stack(picks), np.array(counts)
