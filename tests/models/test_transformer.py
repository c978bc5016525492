"""The transformer: one parameter layout, one result, however it is run."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.models import transformer
from rpt_jax.models.transformer import Transformer, attention

SHAPE = (3, 6, 16)
MASK = np.tril(np.ones((6, 6), bool))[None, None]


def _run(params=None, **settings):
  model = Transformer(16, 2, 4, 2.0, **settings)
  x_BTD = jax.random.normal(jax.random.key(0), SHAPE)
  if params is None:
    params = jax.jit(model.init)(jax.random.key(1), x_BTD, MASK)

  def loss(params):
    y_BTD, layers = model.apply(params, x_BTD, MASK)
    return (y_BTD**2).mean(), layers

  grads, layers = jax.jit(jax.grad(loss, has_aux=True))(params)
  return params, layers, grads


@pytest.mark.parametrize(
  'settings',
  [
    {'scan_layers': True},
    {'scan_layers': False, 'remat': 'full'},
    {'scan_layers': True, 'remat': 'dots'},
  ],
)
def test_scan_and_remat_give_the_unrolled_result(settings):
  params, layers, grads = _run(scan_layers=False)
  other = _run(params, **settings)
  assert len(layers) == 2
  for a, b in zip(
    jax.tree.leaves((layers, grads)), jax.tree.leaves(other[1:]), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_layers_start_differently():
  params, _, _ = _run()
  kernel = params['params']['blocks']['qkv']['kernel']
  assert kernel.shape == (2, 16, 48)
  assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_attention_agrees_with_numpy():
  rng = np.random.default_rng(0)
  q, k, v = rng.normal(size=(3, *SHAPE[:2], 2, 8)).astype(np.float32)
  score = np.einsum('bqhd,bkhd->bhqk', q, k) / np.sqrt(8)
  score = np.where(MASK, score, -np.inf)
  weight = np.exp(score - score.max(-1, keepdims=True))
  weight /= weight.sum(-1, keepdims=True)
  expected = np.einsum('bhqk,bkhd->bqhd', weight, v)
  np.testing.assert_allclose(attention(q, k, v, MASK), expected, atol=0.02)


def test_a_query_that_sees_nothing_is_finite():
  x = jnp.ones((1, 2, 1, 4))
  out = attention(x, x, x, np.zeros((1, 1, 2, 2), bool))
  np.testing.assert_allclose(out, 1.0)


def test_heads_must_divide_the_width():
  with pytest.raises(ValueError, match='width: found 16'):
    Transformer(16, 1, 3).init(jax.random.key(0), jnp.zeros(SHAPE))


def _logits(scale, qk_norm):
  """The largest attention logit where queries and keys are `scale` as large."""
  model, seen = Transformer(16, 2, 4, 2.0, qk_norm=qk_norm), []
  x_BTD = jax.random.normal(jax.random.key(0), SHAPE)
  params = jax.jit(model.init)(jax.random.key(1), x_BTD, MASK)
  kernel = params['params']['blocks']['qkv']['kernel']
  params['params']['blocks']['qkv']['kernel'] = kernel * scale

  def noted(q_BTHK, k_BSHK, *args):
    score = (
      jnp.einsum('bqhk,bshk->bhqs', q_BTHK, k_BSHK) / q_BTHK.shape[-1] ** 0.5
    )
    if not isinstance(score, jax.core.Tracer):  # Nor while it is made.
      seen.append(float(np.abs(score).max()))
    return attention(q_BTHK, k_BSHK, *args)

  with mock.patch.object(transformer, 'attention', noted):
    model.apply(params, x_BTD, MASK)
  return max(seen)


def test_normed_queries_and_keys_bound_the_logits():
  """By the root of the width of a head, here 2, however large they are."""
  assert _logits(1.0, True) <= 2 * 1.02
  assert _logits(100.0, True) <= 2 * 1.02
  assert _logits(100.0, False) > 100


def test_without_the_norm_nothing_is_added():
  params, _, _ = _run()
  assert not [k for k in params['params']['blocks'] if 'query' in k]
  params, _, grads = _run(qk_norm=True)
  scales = params['params']['blocks']['norm_query']['scale']
  assert scales.shape == (2, 4)  # Blocks, width of a head.
  assert np.abs(grads['params']['blocks']['norm_key']['scale']).min() > 0


def test_modulated_blocks_begin_as_nothing_and_listen_to_the_condition():
  model = Transformer(16, 2, 4, 2.0, modulated=True)
  x_BTD = jax.random.normal(jax.random.key(0), SHAPE)
  condition_BD = jax.random.normal(jax.random.key(2), (3, 16))
  params = jax.jit(model.init)(jax.random.key(1), x_BTD, None, condition_BD)
  np.testing.assert_array_equal(
    model.apply(params, x_BTD, None, condition_BD)[0], x_BTD
  )
  params = jax.tree.map(lambda x: x + 0.1, params)

  def first(condition_BD):
    return model.apply(params, x_BTD, None, condition_BD)[0][0].sum()

  grad_BD = jax.grad(first)(condition_BD)
  assert (np.abs(grad_BD[0]) > 0).all() and not np.abs(grad_BD[1:]).any()
