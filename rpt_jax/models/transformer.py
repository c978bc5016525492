"""The transformer every sequence model and image model here is made of.

Pre-LN blocks on tokens flattened to [B*T, D]. Parameters are stacked over the
depth whatever runs them, so that a checkpoint written by the scanned form (TPU,
GPU) is read by the unrolled one (CPU, where a scan costs a factor of two).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax import precision

REMAT = {
  'full': None,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def dense(features, name):
  """Linear layer with bf16 operands and f32 sums."""
  return nn.Dense(
    features,
    dot_general=precision.dot_general,
    kernel_init=nn.initializers.xavier_uniform(),
    name=name,
  )


def attention(q_BTHK, k_BTHK, v_BTHK, mask=None):
  """Softmax attention -> [B, T, H, K]; True in `mask` [B, 1, T, T] = visible.

  In f32: at the lengths used here bf16 gains nothing. A query that sees
  nothing gets the mean of all values, never NaN.
  """
  scale = q_BTHK.shape[-1] ** -0.5
  score = jnp.einsum('bqhk,bshk->bhqs', q_BTHK * scale, k_BTHK)
  if mask is not None:
    score = jnp.where(mask, score, -1e9)
  return jnp.einsum('bhqs,bshk->bqhk', jax.nn.softmax(score), v_BTHK)


class Block(nn.Module):
  """One pre-LN block on flat tokens x_ND, N = B * length."""

  num_heads: int
  mlp_ratio: float

  @nn.compact
  def __call__(self, x_ND, length, mask=None):
    width = x_ND.shape[-1]
    heads = (-1, length, self.num_heads, width // self.num_heads)
    h = nn.LayerNorm(name='norm_attention')(x_ND)
    qkv = jnp.split(dense(3 * width, 'qkv')(h), 3, axis=-1)
    h = attention(*(y.reshape(heads) for y in qkv), mask)
    x_ND = x_ND + dense(width, 'out')(h.reshape(x_ND.shape))
    h = nn.LayerNorm(name='norm_mlp')(x_ND)
    h = nn.gelu(dense(int(self.mlp_ratio * width), 'up')(h))
    return x_ND + dense(width, 'down')(h)


class Transformer(nn.Module):
  """`depth` blocks; no embedding before them and no norm after.

  `scan_layers=None` scans on TPU and GPU and unrolls on CPU. `remat` is
  'none', 'dots' (keep the results of dense layers) or 'full'.
  """

  width: int
  depth: int
  num_heads: int
  mlp_ratio: float = 4.0
  scan_layers: bool | None = None
  remat: str = 'none'

  @nn.compact
  def __call__(self, x_BTD, mask=None):
    """x_BTD -> (x_BTD, the output of every block as a tuple of [B, T, D]).

    `mask`: bool, broadcastable to [B, 1, T, T], True = visible; None = all.
    """
    if self.width % self.num_heads:
      raise ValueError(
        f'width: found {self.width}, expected a multiple of num_heads='
        f'{self.num_heads}; change one of them'
      )
    shape = x_BTD.shape
    block = Block(self.num_heads, self.mlp_ratio, parent=None)

    def init(key):
      def one(key):
        x = jnp.zeros((shape[1], self.width))
        return block.init(key, x, shape[1])['params']

      return jax.vmap(one)(jax.random.split(key, self.depth))

    def apply(x_ND, params):
      y_ND = block.apply({'params': params}, x_ND, shape[1], mask)
      return y_ND, y_ND

    if self.remat != 'none':
      apply = jax.checkpoint(apply, policy=REMAT[self.remat])
    stacked = self.param('blocks', init)
    x_ND = x_BTD.reshape(-1, self.width)
    scan = self.scan_layers
    if scan is None:
      scan = jax.default_backend() != 'cpu'
    if scan:
      x_ND, layers = lax.scan(apply, x_ND, stacked)
      layers = tuple(layers)
    else:
      layers = ()
      for params in _unstack(stacked, self.depth):
        x_ND, y_ND = apply(x_ND, params)
        layers += (y_ND,)
    return x_ND.reshape(shape), tuple(y.reshape(shape) for y in layers)


def _unstack(stacked, depth):
  """Slices of a stacked tree; the gradient of a split is one concatenation."""
  leaves, tree = jax.tree.flatten(stacked)
  parts = [[y.squeeze(0) for y in lax.split(x, (1,) * depth)] for x in leaves]
  return [tree.unflatten(layer) for layer in zip(*parts, strict=True)]
