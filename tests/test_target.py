"""What is compiled on a CPU for a TPU is what the TPU would run."""

import jax
import jax.numpy as jnp
import pytest

from rpt_jax import precision, target
from rpt_jax.models.transformer import Transformer
from rpt_jax.training import sharding


def _program(remat='none'):
  model = Transformer(16, 2, 2, remat=remat)
  x_BTD = jnp.zeros((8, 4, 16))
  params = model.init(jax.random.key(0), x_BTD)

  def loss(params, x_BTD):
    return model.apply(params, x_BTD)[0].sum()

  return loss, params, x_BTD


def test_a_trunk_for_accelerators_scans_bf16_activations():
  loss, *arguments = _program()
  here = str(jax.make_jaxpr(loss)(*arguments))
  with target.compiling_for('tpu'):
    there = str(jax.make_jaxpr(loss)(*arguments))
    assert target.platform() == 'tpu'
  assert target.platform() == 'cpu'
  assert 'scan[' in there and 'scan[' not in here
  assert 'bf16[32,48]' in there and 'bf16[32,48]' not in here


def test_both_forms_give_the_same_within_bf16():
  loss, params, x_BTD = _program()
  x_BTD = jax.random.normal(jax.random.key(1), x_BTD.shape)
  grads = jax.grad(loss)(params, x_BTD)
  with target.compiling_for('tpu'):
    others = jax.grad(loss)(params, x_BTD)
  for x, y in zip(*map(jax.tree.leaves, (grads, others)), strict=True):
    assert x.dtype == y.dtype == jnp.float32
    assert jnp.linalg.norm(x - y) <= 0.05 * jnp.linalg.norm(x) + 1e-3


def test_what_jit_has_traced_for_one_platform_is_not_used_for_another():
  kind = jax.jit(lambda: jnp.zeros((), precision.activation()))
  assert kind().dtype == jnp.float32
  with target.compiling_for('tpu'):
    assert kind().dtype == jnp.bfloat16
  assert kind().dtype == jnp.float32


@pytest.mark.parametrize('remat, kept', [('dots', True), ('full', False)])
def test_remat_dots_keeps_products(remat, kept):
  loss, params, x_BTD = _program(remat)
  with target.compiling_for('tpu'):
    _, backward = jax.vjp(loss, params, x_BTD)
  shapes = {x.shape for x in jax.tree.leaves(backward)}
  assert ((2, 32, 64) in shapes) == kept  # Both layers' `up`.


def test_rows_of_activations_stay_split():
  mesh = sharding.make_mesh({'data': 2, 'fsdp': 2, 'tensor': 2})
  split = jax.jit(target.split_rows)
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    text = str(jax.make_jaxpr(target.split_rows)(jnp.zeros((8, 4))))
    uneven = str(jax.make_jaxpr(target.split_rows)(jnp.zeros((6, 4))))
  assert "('data', 'fsdp')" in text
  assert 'sharding_constraint' not in uneven
  assert split(jnp.ones(3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize('amx, here', [(True, 'bfloat16'), (False, 'float32')])
def test_operands_are_what_the_hardware_is_fast_at(monkeypatch, amx, here):
  monkeypatch.setattr(target, 'cpu_has_amx', lambda: amx)
  assert target.operands() == here
  with target.compiling_for('tpu'):
    assert target.operands() == 'bfloat16'
  for dtype in target.OPERANDS:
    assert target.operands(dtype) == dtype
    with target.rounding_to(dtype):
      assert target.operands() == dtype
  with target.rounding_to('auto'):
    assert target.operands() == here
  with pytest.raises(ValueError, match="found 'half', expected one of"):
    target.operands('half')


def test_another_precision_is_another_program():
  loss, *arguments = _program()
  step = jax.jit(loss)
  texts = {}
  for dtype in target.OPERANDS:
    with target.rounding_to(dtype):
      texts[dtype] = step.lower(*arguments).as_text()
  assert 'bf16' in texts['bfloat16'] and 'bf16' not in texts['float32']
