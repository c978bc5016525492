"""Meshes and rules: what fits, what is split, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rpt_jax.models.transformer import SHARDING
from rpt_jax.training import sharding


def test_one_axis_takes_the_rest():
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 2, 'tensor': 1})
  assert dict(mesh.shape) == {'data': 4, 'fsdp': 2, 'tensor': 1}


@pytest.mark.parametrize(
  'sizes', [(3, 1, 1), (-1, -1, 1), (2, 2, 1), (-1, 3, 1), (0, 8, 1)]
)
def test_sizes_that_do_not_fit(sizes):
  with pytest.raises(ValueError, match='does not fit 8 devices'):
    sharding.make_mesh(dict(zip(sharding.AXES, sizes, strict=True)))


def test_unknown_axis():
  with pytest.raises(ValueError, match='found axes'):
    sharding.make_mesh({'data': -1, 'model': 1})


def test_batch_rows():
  mesh = sharding.make_mesh({'data': 4, 'fsdp': 2, 'tensor': 1})
  x = np.arange(16.0).reshape(16, 1)
  placed = sharding.shard_batch({'x': x}, mesh)['x']
  np.testing.assert_array_equal(placed, x)
  assert {s.data.shape for s in placed.addressable_shards} == {(2, 1)}
  with pytest.raises(ValueError, match="'x': 12 rows do not divide over 8"):
    sharding.shard_batch({'x': x[:12]}, mesh)


def test_rules():
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  shapes = {
    'blocks/up/kernel': (3, 4, 6),
    'blocks/down/kernel': (3, 6, 5),
    'blocks/up/bias': (3, 4),
  }
  state = jax.eval_shape(
    lambda: {k: jnp.zeros(shape) for k, shape in shapes.items()}
  )
  specs = jax.tree.map(
    lambda s: s.spec, sharding.state_shardings(state, mesh, SHARDING)
  )
  assert specs == {
    'blocks/up/kernel': P(None, 'fsdp', 'tensor'),
    'blocks/down/kernel': P(None, 'tensor', None),  # 5 does not divide.
    'blocks/up/bias': P(),
  }
  with pytest.raises(ValueError, match='blocks/up/bias is'):
    sharding.state_shardings(state, mesh, ((r'bias$', (None, None, 'fsdp')),))
