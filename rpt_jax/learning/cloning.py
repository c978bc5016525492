"""Behaviour cloning on few demonstrations, all seeds of a cell at once."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax import settings
from rpt_jax.learning import demonstrations, streams
from rpt_jax.learning.runs import split_heads
from rpt_jax.models import heads, sequence
from rpt_jax.models.heads import HeadSpec
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.training import optimizer, sharding, step
from rpt_jax.types import ACTION, Array

# Which arguments of a training differ from seed to seed, see `trainer`.
LANES = (0, 0, None, None, 0, 0, 0, None, 0)


def constants(
  spec: HeadSpec, demos: dict, scales: Mapping, picks_SN: Array, count_S: Array
) -> dict[str, Array]:
  """{name: [S, ...]} that the head of the actions fits to each seed's own.

  Args:
    demos: 'action' [N, A], not yet scaled, or integers.
    picks_SN, count_S: rows of the demonstrations of each seed.
  """
  action_NA = streams.scaled({ACTION: demos[ACTION]}, scales)[ACTION]
  fitted = [
    heads.fit(spec, action_NA[picks_N[:count]])
    for picks_N, count in zip(picks_SN, count_S, strict=True)
  ]
  return jax.tree.map(lambda *x: jnp.stack(x), *fitted)


def seed_keys(seed: int, seeds: int) -> jax.Array:
  """One key per seed [S], the same for all cells."""
  key = jax.random.fold_in(jax.random.key(seed), 1)
  return jax.random.split(key, seeds)


@functools.cache
def initial(model: sequence.SequenceModel):
  """Jitted keys [S] -> untrained parameters [S, ...]."""
  return jax.jit(jax.vmap(functools.partial(sequence.init, model)))


@functools.cache
def trainer(
  model: sequence.SequenceModel,
  c: settings.Finetune,
  frozen: bool,
  mesh: jax.sharding.Mesh,
):
  """Jitted (params_S, constants_S, data, scales, picks_SN, count_S, keys_S,
  steps, rate_S) -> (params, loss of the last tenth)_S.

  The whole training of all seeds is one call: a loop over steps under a vmap,
  whatever their number. Windows are split over the mesh; policies are whole on
  every device. `frozen` trains the head alone; else `c.freeze` says what stays.
  """

  def train(*own):
    one = loop(model, c, frozen, mesh, *own)
    carry = jax.lax.fori_loop(0, one.steps, one.body, one.start)
    return one.learned(carry)

  return jax.jit(
    jax.vmap(train, in_axes=LANES), out_shardings=sharding.replicated(mesh)
  )


class Loop(NamedTuple):
  """The training of one seed, taken apart.

  `body(i, carry)` is step i, `learned(carry)` (parameters, loss of the last
  tenth), `judge(params, picks_B)` their loss on other windows.
  """

  steps: Array
  start: tuple
  body: Callable
  learned: Callable
  judge: Callable


def loop(
  model: sequence.SequenceModel,
  c: settings.Finetune,
  frozen: bool,
  mesh: jax.sharding.Mesh,
  params,
  constants,
  data,
  measured,
  picks_N: Array,
  count: Array,
  key: Array,
  steps: Array,
  rate: Array,
) -> Loop:
  """One seed's lane of what `trainer` trains; arguments as there."""
  freeze = '' if frozen else c.freeze
  names = tuple(stream.name for stream in model.streams)
  fixed, trained = split_heads(params) if frozen else ({}, params)
  tx = optimizer.adamw(rate, steps, weight_decay=c.weight_decay, freeze=freeze)

  def loss_fn(trained, batch, key):
    apply = sequence.bind(model, fixed | trained, {ACTION: constants})
    return behaviour_cloning.loss(apply, batch, key)

  def windows(picks_B):
    batch = demonstrations.batch(data, picks_B, names, model.context, c.chunk)
    return scaled(sharding.split(batch, mesh), measured)

  update = step.step_fn(loss_fn, tx)
  last = jnp.maximum(steps // 10, 1)

  def body(i, carry):
    state, total = carry
    picks_B = demonstrations.draw(key, i, picks_N, count, c.batch_size)
    state, metrics = update(state, windows(picks_B))
    return state, total + jnp.where(i < steps - last, 0.0, metrics['loss'])

  def learned(carry):
    state, total = carry
    return fixed | state.params, total / last

  def judge(params, picks_B):
    trained = {name: params[name] for name in params if name not in fixed}
    return loss_fn(trained, windows(picks_B), key)[0]

  start = step.init_state(trained, tx, key), jnp.float32(0.0)
  return Loop(steps, start, body, learned, judge)


def scaled(batch: dict, measured: dict) -> dict:
  """The batch with inputs and targets on their scale."""
  return batch | {
    part: streams.scaled(batch[part], measured)
    for part in ('inputs', 'targets')
  }
