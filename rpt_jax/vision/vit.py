"""The vision transformer of every family: patches, blocks, what is read.

Patches are cut out and embedded by one dense layer. What sets ViT,
CLIP, DINOv2, SigLIP and MAE apart is a field of `Encoder` each.
"""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax import target
from rpt_jax.models import visibility
from rpt_jax.models.transformer import (
  ACTIVATIONS,
  Transformer,
  attention,
  dense,
)
from rpt_jax.types import Array
from rpt_jax.vision import positions


def preprocess(image_NHWC: Array) -> Array:
  """uint8 frames to f32 in [-1, 1]."""
  return jnp.asarray(image_NHWC, jnp.float32) / 127.5 - 1.0


def patchify(image_NHWC: Array, patch: int) -> Array:
  """[N, H, W, C] -> [N, patches, patch * patch * C], row-major both ways."""
  height, width, channels = image_NHWC.shape[1:]
  if height % patch or width % patch:
    raise ValueError(
      f'image: found {height}x{width}, expected multiples of patch={patch}'
    )
  # Pixels of a row with their colours: three colours on an axis of their own
  # would be padded to the 128 lanes of a TPU.
  x_NHR = rearrange(image_NHWC, 'n h w c -> n h (w c)')
  cut = 'n (h a) (w r) -> n (h w) (a r)'
  return rearrange(x_NHR, cut, a=patch, r=patch * channels)


def unpatchify(x_NPK: Array, patch: int) -> Array:
  """The inverse of `patchify` for square images."""
  side = round(x_NPK.shape[1] ** 0.5)
  join = 'n (h w) (a r) -> n (h a) (w r)'
  x_NHR = rearrange(x_NPK, join, h=side, a=patch)
  return rearrange(x_NHR, 'n h (w c) -> n h w c', w=side * patch)


class Features(NamedTuple):
  """What an encoder makes of N frames.

  `tokens` [N, prefix + K, D], class token and registers first; `pooled` [N, D]
  and `projected` [N, E] as the model was trained to summarise a frame, None
  where it was not (what SigLIP pools needs no projection to meet its text).
  """

  tokens: Array
  pooled: Array | None
  projected: Array | None


class Encoder(nn.Module):
  """Patches of a frame (all, or those kept) to tokens; hashable, so static.

  The defaults are our own small MAE's; published families differ as follows:
  `learned_positions` (else `positions.fixed`), `cls` and `registers` tokens
  before the patches, `pre_norm` before the blocks, `norm_tokens` after them
  (else on the pooled token alone), `pool` 'cls', 'attention' or 'none', and a
  `projection` of what was pooled to that many features. `activation`,
  `epsilon`, `layer_scale` and `dtype` are the transformer's.
  """

  image_size: int = 64
  patch: int = 16
  width: int = 64
  depth: int = 2
  num_heads: int = 4
  mlp_ratio: float = 4.0
  activation: str = 'gelu_tanh'
  epsilon: float = 1e-6
  layer_scale: bool = False
  dtype: str = target.BY_HARDWARE
  learned_positions: bool = False
  cls: bool = True
  registers: int = 0
  patch_bias: bool = True
  pre_norm: bool = False
  norm_tokens: bool = True
  pool: str = 'cls'
  projection: int = 0

  @property
  def side(self) -> int:
    """Patches in a row."""
    return self.image_size // self.patch

  @property
  def num_prefix(self) -> int:
    """Tokens before the patches."""
    return self.cls + self.registers

  @nn.compact
  def __call__(
    self,
    image_NHWC: Array,
    keep_NK: Array | None = None,
    query_NQHWC: Array | None = None,
  ) -> Features:
    """f32 frames [N, H, W, 3], H = W = image_size -> Features.

    `keep_NK` are the patches to look at; None looks at all, in order.
    `query_NQHWC`, of a patch's size each, are Q more tokens at the end, at the
    class token's position: they see the frame and are seen by nobody but
    themselves (SORNet, Yuan et al. 2021, arXiv 2109.03891, 3.1).
    """
    x_NTD = self._embed(image_NHWC, keep_NK, query_NQHWC)
    queries = 0 if query_NQHWC is None else query_NQHWC.shape[1]
    if self.pre_norm:
      x_NTD = self._norm('pre_norm')(x_NTD)
    x_NTD, _ = Transformer(
      self.width,
      self.depth,
      self.num_heads,
      self.mlp_ratio,
      activation=self.activation,
      epsilon=self.epsilon,
      layer_scale=self.layer_scale,
      dtype=self.dtype,
      name='transformer',
    )(x_NTD, _query_mask(x_NTD.shape[1], queries))
    norm = self._norm('norm')
    tokens_NTD = norm(x_NTD) if self.norm_tokens else x_NTD
    pooled_ND = self._pool(tokens_NTD)
    if pooled_ND is not None and not self.norm_tokens:
      pooled_ND = norm(pooled_ND)
    projected = pooled_ND if self.pool == 'attention' else None
    if self.projection:
      project = dense(self.projection, 'projection', self.dtype, use_bias=False)
      projected = project(pooled_ND)
    return Features(tokens_NTD, pooled_ND, projected)

  def _norm(self, name):
    return nn.LayerNorm(self.epsilon, name=name)

  def _embed(self, image_NHWC, keep_NK, query_NQHWC):
    x_NPK = patchify(self._whole_patches(image_NHWC), self.patch)
    place_TD = self._positions()
    prefix = len(place_TD) - self.side**2
    place_PD = place_TD[prefix:]
    if keep_NK is not None:
      x_NPK = jnp.take_along_axis(x_NPK, keep_NK[..., None], axis=1)
      place_PD = place_PD[keep_NK]
    place_NPD = jnp.broadcast_to(place_PD, (*x_NPK.shape[:2], self.width))
    if query_NQHWC is not None:
      x_NPK, place_NPD = self._append(x_NPK, place_NPD, query_NQHWC, place_TD)
    num, tokens, values = x_NPK.shape
    embed = dense(self.width, 'embed', self.dtype, self.patch_bias)
    x_NPD = embed(x_NPK.reshape(-1, values)).reshape(num, tokens, -1)
    x_NPD = x_NPD + place_NPD
    first = []
    if self.cls:
      cls_D = self.param('cls', nn.initializers.normal(0.02), (self.width,))
      first.append((cls_D + place_TD[:prefix].sum(0))[None])
    if self.registers:
      shape = (self.registers, self.width)
      first.append(self.param('registers', nn.initializers.normal(0.02), shape))
    first = [jnp.broadcast_to(x, (num, *x.shape)) for x in first]
    return jnp.concatenate([*first, x_NPD], axis=1)

  def _append(self, x_NPK, place_NPD, query_NQHWC, place_TD):
    """Patches and positions with those of the queries behind them."""
    num, queries = query_NQHWC.shape[:2]
    x_NQK = query_NQHWC.reshape(num, queries, -1)  # As `patchify` orders them.
    of_class_D = place_TD[: len(place_TD) - self.side**2].sum(0)
    place_NQD = jnp.broadcast_to(of_class_D, (num, queries, self.width))
    return (
      jnp.concatenate([x_NPK, x_NQK], axis=1),
      jnp.concatenate([place_NPD, place_NQD], axis=1),
    )

  def _whole_patches(self, image_NHWC):
    """Rows and columns that fill no patch are not seen, as in PyTorch."""
    size, used = self.image_size, self.side * self.patch
    height, width, channels = image_NHWC.shape[1:]
    if (height, width) != (size, size):
      raise ValueError(
        f'image: found {height}x{width}, expected {size}x{size}; preprocess '
        'it, or load the model with that image_size'
      )
    return image_NHWC[:, :used, :used]

  def _positions(self):
    """[cls + P, D] where learned, else [P, D]."""
    if not self.learned_positions:
      return jnp.asarray(positions.fixed(self.side, self.width))
    shape = (self.cls + self.side**2, self.width)
    return self.param('positions', nn.initializers.normal(0.02), shape)

  def _pool(self, x_NTD):
    if self.pool == 'attention':
      return AttentionPool(
        self.num_heads,
        self.mlp_ratio,
        self.activation,
        self.epsilon,
        self.dtype,
        name='pool',
      )(x_NTD)
    return x_NTD[:, 0] if self.pool == 'cls' else None


class AttentionPool(nn.Module):
  """A learned query attends to all tokens, then an MLP (SigLIP's head)."""

  num_heads: int
  mlp_ratio: float
  activation: str
  epsilon: float
  dtype: str

  @nn.compact
  def __call__(self, x_NTD: Array) -> Array:
    """Tokens [N, T, D] -> one vector a frame [N, D]."""
    num, _, width = x_NTD.shape
    layer = functools.partial(dense, dtype=self.dtype)
    query_D = self.param('query', nn.initializers.normal(0.02), (width,))
    query_N1D = jnp.broadcast_to(query_D, (num, 1, width))
    x_MD = jnp.concatenate([query_N1D, x_NTD], axis=1).reshape(-1, width)
    heads = (num, -1, self.num_heads, width // self.num_heads)
    qkv = jnp.split(layer(3 * width, 'qkv')(x_MD), 3, axis=-1)
    q, k, v = (y.reshape(heads) for y in qkv)
    h_N1HK = attention(q[:, :1], k[:, 1:], v[:, 1:], dtype=self.dtype)
    x_ND = layer(width, 'out')(h_N1HK.reshape(num, width))
    h = nn.LayerNorm(self.epsilon, name='norm')(x_ND)
    h = layer(round(self.mlp_ratio * width), 'up')(h)
    return x_ND + layer(width, 'down')(ACTIVATIONS[self.activation](h))


def _query_mask(length, queries):
  """Bool [1, 1, length, length]: the last `queries` are seen by themselves."""
  if not queries:
    return None
  seen_T = np.arange(length) >= length - queries
  mask_TT = visibility.rule_NN(np.zeros(length), seen_T)
  return jnp.asarray(mask_TT)[None, None]


def read(features: Features, encoder: Encoder, output: str) -> Array:
  """One latent a frame, [N, dim]: 'pooled', 'projected' or a `readout`."""
  special = {'pooled': features.pooled, 'projected': features.projected}
  if special.get(output) is not None:
    return special[output]
  return readout(features.tokens, output, encoder.num_prefix)


def readout(x_NTD: Array, output: str, num_prefix: int = 1) -> Array:
  """Tokens to one latent a frame, [N, dim].

  `output`: 'cls', 'mean_patch', 'patches' (all of them, flattened) or
  'grid<g>' (patches averaged to g x g cells, flattened).
  """
  patches_NPD = x_NTD[:, num_prefix:]
  if output == 'cls' and num_prefix:
    return x_NTD[:, 0]
  if output == 'mean_patch':
    return patches_NPD.mean(axis=1)
  if output == 'patches':
    return rearrange(patches_NPD, 'n p d -> n (p d)')
  side = round(patches_NPD.shape[1] ** 0.5)
  cells = output.removeprefix('grid')
  if output.startswith('grid') and cells.isdigit():
    cells = int(cells)
    if cells and side % cells == 0:
      cut, each = 'n (g a h b) d -> n g a h b d', side // cells
      x = rearrange(patches_NPD, cut, g=cells, a=each, b=each)
      return rearrange(x.mean(axis=(2, 4)), 'n g h d -> n (g h d)')
  choices = "'mean_patch', 'patches'" + (", 'cls'" if num_prefix else '')
  raise ValueError(
    f'output: found {output!r}, expected {choices} or '
    f"'grid<g>' where g divides {side}"
  )
