"""A step on eight devices: what moves between them, what is compiled, and that
nothing goes back and forth to the host."""

import jax
import jax.numpy as jnp
import pytest
import test_step
import tiny

from rpt_jax.models.transformer import SHARDING
from rpt_jax.training import hlo, optimizer, sharding, step, trainer


def mesh_of(sizes):
  return sharding.make_mesh(dict(zip(sharding.AXES, sizes, strict=True)))


def collectives(sizes):
  """Of a step of the sequence model, from its compiled program."""
  mesh, params = mesh_of(sizes), test_step._params()
  trained = trainer.make(
    lambda key: params,
    test_step._loss,
    test_step.TX,
    mesh,
    rules=SHARDING,
  )
  batch = sharding.shard_batch(test_step._batch(), mesh)
  compiled = trained.step.lower(trained.shapes, batch).compile()
  return hlo.read(compiled.as_text(), 8).collectives


def kernels():
  """Bytes of the layers' kernels, of which a device may gather a layer."""
  blocks = test_step._params()['trunk']['blocks']
  return {4 * x['kernel'][0].size for x in blocks.values() if 'kernel' in x}


def test_data_parallel_steps_reduce_gradients_and_nothing_else():
  found = collectives((8, 1, 1))
  assert {each.kind for each in found} == {'all-reduce'}


def test_fully_sharded_steps_gather_kernels_and_nothing_else():
  found = collectives((1, 8, 1))
  gathered = {each.bytes for each in found if each.kind == 'all-gather'}
  assert gathered and gathered <= kernels()
  assert {each.kind for each in found} <= {
    'all-gather',
    'all-reduce',
    'reduce-scatter',
  }


def test_no_axis_gathers_activations():
  rows = test_step.B * test_step.T
  smallest = 4 * rows * test_step.MODEL.width  # Bytes of all tokens.
  assert smallest > max(kernels())
  for sizes in ((1, 8, 1), (2, 2, 2), (1, 2, 4)):
    for each in collectives(sizes):
      assert each.kind != 'all-gather' or each.bytes < smallest, (sizes, each)


@pytest.fixture
def compiled():
  """Seconds of every compilation from now on."""
  found = []

  def listen(event, seconds, **_):
    if event == '/jax/core/compile/backend_compile_duration':
      found.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  return found


@pytest.mark.parametrize('sizes', [(8, 1, 1), (2, 2, 2)])
def test_one_compile_and_no_implicit_transfer(sizes, compiled):
  mesh, tx = mesh_of(sizes), optimizer.adamw(0.1, 6)
  params = {'layer': {'kernel': jnp.ones((4, 2)), 'bias': jnp.zeros(2)}}
  trained = trainer.make(
    lambda key: params, tiny.loss_fn, tx, mesh, rules=SHARDING
  )
  state, count = trained.init(jax.random.key(0)), None
  with jax.transfer_guard('disallow'):
    for i in range(5):
      batch = sharding.shard_batch(tiny.batch_at(i), mesh)
      state, metrics = trained.step(state, batch)
      step.read_metrics(metrics)
      count = len(compiled) if count is None else count
  assert len(compiled) == count > 0
