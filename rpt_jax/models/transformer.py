"""The transformer every sequence model and image model here is made of.

Pre-LN blocks on tokens flattened to [B*T, D]. Parameters are stacked over the
depth whatever runs them, so that a checkpoint written by the scanned form (TPU,
GPU) is read by the unrolled one (CPU, where a scan costs a factor of two).
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax import precision, target
from rpt_jax.types import Array

REMAT = {
  'full': None,
  'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


# Of parameters that are split, see `training/sharding.py`; kernels are stacked
# over depth: [depth, in, out].
SHARDING = (
  (r'blocks/(qkv|up|modulate)/kernel$', (None, 'fsdp', 'tensor')),
  (r'blocks/(out|down)/kernel$', (None, 'tensor', 'fsdp')),
)
ACTIVATIONS = {
  'gelu': lambda x: nn.gelu(x, approximate=False),
  'gelu_tanh': nn.gelu,
  'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
  'relu': nn.relu,
}


def dense(
  features,
  name,
  dtype=target.BY_HARDWARE,
  use_bias=True,
  product=precision.dot_general,
):
  """Linear layer: f32 sums of bf16 operands, or exactly f32 throughout.

  `dtype` is that of the operands, as `target.operands` takes it.
  """
  exact = target.operands(dtype) == 'float32'
  return nn.Dense(
    features,
    use_bias=use_bias,
    dot_general=None if exact else product,
    precision='highest' if exact else None,
    kernel_init=nn.initializers.xavier_uniform(),
    name=name,
  )


def attention(q_BTHK, k_BSHK, v_BSHK, mask=None, dtype=target.BY_HARDWARE):
  """Softmax attention -> [B, T, H, K]; True in `mask` [B, 1, T, S] = visible.

  On operands as they come, with f32 sums, softmax and result; 'float32'
  forbids accelerators to round them. Weights are normalised after the second
  product, or XLA on CPU computes every exponential twice. A query that sees
  nothing gets the mean of all values, never NaN.
  """
  einsum = functools.partial(
    jnp.einsum,
    precision='highest' if target.operands(dtype) == 'float32' else None,
    preferred_element_type=jnp.float32,
  )
  scale = q_BTHK.shape[-1] ** -0.5
  score = einsum('bqhk,bshk->bhqs', q_BTHK * scale, k_BSHK)
  if mask is not None:
    score = jnp.where(mask, score, -1e9)
  top = lax.stop_gradient(score.max(axis=-1, keepdims=True))
  weight = jnp.exp(score - top)
  total_BTH1 = weight.sum(axis=-1).swapaxes(1, 2)[..., None]
  weight = weight.astype(v_BSHK.dtype)
  return einsum('bhqs,bshk->bqhk', weight, v_BSHK) / total_BTH1


class Past(NamedTuple):
  """What a block has seen: keys and values [B, S, H, K], and where to go on.

  Of S places those from `start` on are free.
  """

  key_BSHK: Array
  value_BSHK: Array
  start: Array


def _activation(dtype):
  exact = target.operands(dtype) == 'float32'
  return jnp.float32 if exact else precision.activation()


class Block(nn.Module):
  """One pre-LN block on flat tokens x_ND, N = B * length.

  `activation` is one of `ACTIVATIONS` or 'swiglu' (silu of one half of a
  doubled hidden layer times the other); `layer_scale` learns a factor for
  each channel of both branches; `qk_norm` divides the queries and keys of every
  head by their root mean square, times a learned scale, so that no logit grows
  without bound (Dehghani et al. 2023, arXiv 2302.05442, 2; Esser et al. 2024,
  arXiv 2403.03206, 5.3.2); `modulated` norms are shifted and scaled, and their
  branches let in, by what a condition [B, D] says, at first not at all
  (adaLN-zero, Peebles and Xie 2022, arXiv 2212.09748, 3.2); `dtype` as in
  `dense`.
  """

  num_heads: int
  mlp_ratio: float
  activation: str = 'gelu_tanh'
  epsilon: float = 1e-6
  layer_scale: bool = False
  dtype: str = target.BY_HARDWARE
  qk_norm: bool = False
  modulated: bool = False

  @nn.compact
  def __call__(self, x_ND, length, mask=None, condition_BD=None, past=None):
    """x_ND -> x_ND, with a `Past` (x_ND, the past with these tokens in it).

    `mask` [B, 1, length, S] is then over all places of the past.
    """
    width = x_ND.shape[-1]
    heads = (-1, length, self.num_heads, width // self.num_heads)
    first, second = self._modulation(condition_BD, width, length)
    h = self._norm('norm_attention', x_ND, first)
    qkv = jnp.split(self._dense(3 * width, 'qkv', h), 3, axis=-1)
    q, k, v = (y.reshape(heads) for y in qkv)
    if self.qk_norm:
      q = nn.RMSNorm(self.epsilon, name='norm_query')(q).astype(v.dtype)
      k = nn.RMSNorm(self.epsilon, name='norm_key')(k).astype(v.dtype)
    if past is not None:
      k, v = (
        lax.dynamic_update_slice_in_dim(old, new, past.start, 1)
        for old, new in ((past.key_BSHK, k), (past.value_BSHK, v))
      )
      past = Past(k, v, past.start + length)
    h = attention(q, k, v, mask, self.dtype)
    h = self._dense(width, 'out', h.reshape(x_ND.shape))
    x_ND = x_ND + self._scaled('scale_attention', h, first)
    h = self._hidden(self._norm('norm_mlp', x_ND, second))
    h = self._dense(width, 'down', h)
    x_ND = x_ND + self._scaled('scale_mlp', h, second)
    return x_ND if past is None else (x_ND, past)

  def _modulation(self, condition_BD, width, length):
    """(shift, scale, gate), each [N, D], of both branches; None, None: none."""
    if not self.modulated:
      return None, None
    layer = nn.Dense(
      6 * width, kernel_init=nn.initializers.zeros, name='modulate'
    )
    parts_B6D = layer(nn.silu(condition_BD)).reshape(-1, 6, width)
    parts_N6D = jnp.repeat(parts_B6D, length, axis=0)
    parts = [parts_N6D[:, i] for i in range(6)]
    return parts[:3], parts[3:]

  def _norm(self, name, x_ND, modulation):
    if modulation is None:
      return nn.LayerNorm(self.epsilon, name=name)(x_ND)
    shift_ND, scale_ND, _ = modulation
    free = nn.LayerNorm(
      self.epsilon, use_bias=False, use_scale=False, name=name
    )
    return free(x_ND) * (1 + scale_ND) + shift_ND

  def _dense(self, features, name, x_ND):
    product = precision.inner_dot_general
    layer = dense(features, name, self.dtype, product=product)
    return layer(x_ND).astype(_activation(self.dtype))

  def _hidden(self, x_ND):
    features = round(self.mlp_ratio * x_ND.shape[-1])
    if self.activation == 'swiglu':
      h = self._dense(2 * features, 'up', x_ND)
      return nn.silu(h[:, :features]) * h[:, features:]
    return ACTIVATIONS[self.activation](self._dense(features, 'up', x_ND))

  def _scaled(self, name, x_ND, modulation):
    if modulation is not None:
      x_ND = (x_ND * modulation[2]).astype(x_ND.dtype)
    if not self.layer_scale:
      return x_ND
    scale_D = self.param(name, nn.initializers.ones, x_ND.shape[-1:])
    return (x_ND * scale_D[None]).astype(x_ND.dtype)


class Transformer(nn.Module):
  """`depth` blocks; no embedding before them and no norm after.

  `activation`, `epsilon`, `layer_scale`, `dtype`, `qk_norm` and `modulated` are
  those of `Block`.
  `scan_layers=None` scans on TPU and GPU and unrolls on CPU. `remat` is
  'none', 'dots' (keep the results of dense layers) or 'full'.
  """

  width: int
  depth: int
  num_heads: int
  mlp_ratio: float = 4.0
  scan_layers: bool | None = None
  remat: str = 'none'
  activation: str = 'gelu_tanh'
  epsilon: float = 1e-6
  layer_scale: bool = False
  dtype: str = target.BY_HARDWARE
  qk_norm: bool = False
  modulated: bool = False

  @nn.compact
  def __call__(self, x_BTD, mask=None, condition_BD=None):
    """x_BTD -> (x_BTD, the output of every block as a tuple of [B, T, D]).

    `mask`: bool, broadcastable to [B, 1, T, T], True = visible; None = all.
    `condition_BD`: of all tokens of a row, where blocks are modulated.
    """
    if self.width % self.num_heads:
      raise ValueError(
        f'width: found {self.width}, expected a multiple of num_heads='
        f'{self.num_heads}; change one of them'
      )
    shape = x_BTD.shape
    block = Block(
      self.num_heads,
      self.mlp_ratio,
      self.activation,
      self.epsilon,
      self.layer_scale,
      self.dtype,
      self.qk_norm,
      self.modulated,
      parent=None,
    )

    def init(key):
      def one(key):
        x = jnp.zeros((shape[1], self.width))
        some = condition_BD if condition_BD is None else condition_BD[:1]
        return block.init(key, x, shape[1], None, some)['params']

      return jax.vmap(one)(jax.random.split(key, self.depth))

    def apply(x_ND, params):
      x_ND = target.split_rows(x_ND)
      y_ND = block.apply({'params': params}, x_ND, shape[1], mask, condition_BD)
      return y_ND, y_ND

    if self.remat != 'none':
      apply = jax.checkpoint(apply, policy=REMAT[self.remat])
    stacked = self.param('blocks', init)
    x_ND = x_BTD.reshape(-1, self.width).astype(_activation(self.dtype))
    x_ND, layers = self._loop(apply, x_ND, stacked)

    def outside(x_ND):
      return x_ND.reshape(shape).astype(x_BTD.dtype)

    return outside(target.split_rows(x_ND)), tuple(map(outside, layers))

  def _loop(self, apply, x_ND, stacked):
    """All blocks one after the other: (the end, what each gave)."""
    scan = self.scan_layers
    if scan is None:
      scan = target.platform() != 'cpu'
    if scan:
      return lax.scan(apply, x_ND, stacked)
    layers = []
    for params in unstack(stacked, self.depth):
      x_ND, y_ND = apply(x_ND, params)
      layers.append(y_ND)
    return x_ND, layers


def unstack(stacked, depth):
  """The parameters of each block of a stacked tree.

  The gradient of a split is one concatenation.
  """
  leaves, tree = jax.tree.flatten(stacked)
  parts = [[y.squeeze(0) for y in lax.split(x, (1,) * depth)] for x in leaves]
  return [tree.unflatten(layer) for layer in zip(*parts, strict=True)]
