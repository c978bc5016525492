"""A vision transformer for small frames: patches, positions, blocks, readout.

Patches are cut by reshape and embedded by one dense layer; positions are
fixed 2-D sine and cosine (MAE, He et al. 2021, section 3).
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from rpt_jax.models.transformer import Transformer, dense
from rpt_jax.types import Array


def preprocess(image_NHWC: Array) -> Array:
  """uint8 frames to f32 in [-1, 1]."""
  return jnp.asarray(image_NHWC, jnp.float32) / 127.5 - 1.0


def patchify(image_NHWC: Array, patch: int) -> Array:
  """[N, H, W, C] -> [N, patches, patch * patch * C], row-major both ways."""
  num, height, width, channels = image_NHWC.shape
  if height % patch or width % patch:
    raise ValueError(
      f'image: found {height}x{width}, expected multiples of patch={patch}'
    )
  rows, columns = height // patch, width // patch
  x = image_NHWC.reshape(num, rows, patch, columns, patch * channels)
  return x.swapaxes(2, 3).reshape(num, rows * columns, -1)


def unpatchify(x_NPK: Array, patch: int) -> Array:
  """The inverse of `patchify` for square images."""
  num, patches, values = x_NPK.shape
  side = round(patches**0.5)
  x = x_NPK.reshape(num, side, side, patch, values // patch)
  return x.swapaxes(2, 3).reshape(num, side * patch, side * patch, -1)


def positions(side: int, width: int) -> np.ndarray:
  """Fixed positions [side * side, width]: half for rows, half for columns.

  Raises ValueError where width is no multiple of 4.
  """
  if width % 4:
    raise ValueError(f'width: found {width}, expected a multiple of 4')
  omega = 10000.0 ** -(np.arange(width // 4) / (width // 4))
  angle = np.arange(side)[:, None] * omega
  axis = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
  rows = np.repeat(axis, side, axis=0)
  columns = np.tile(axis, (side, 1))
  return np.concatenate([rows, columns], axis=1).astype(np.float32)


class Encoder(nn.Module):
  """Patches of a frame (all, or those kept) to tokens, a CLS token first."""

  image_size: int = 64
  patch: int = 16
  width: int = 64
  depth: int = 2
  num_heads: int = 4
  mlp_ratio: float = 4.0

  @nn.compact
  def __call__(
    self, image_NHWC: Array, keep_NK: Array | None = None
  ) -> tuple[Array, tuple[Array, ...]]:
    """f32 frames -> (x [N, 1 + K, D] after the final norm, all blocks').

    `keep_NK` are the patches to look at; None looks at all, in order.
    """
    x_NPK = patchify(image_NHWC, self.patch)
    place_PD = jnp.asarray(positions(self.image_size // self.patch, self.width))
    if keep_NK is not None:
      x_NPK = jnp.take_along_axis(x_NPK, keep_NK[..., None], axis=1)
      place_PD = place_PD[keep_NK]
    num, tokens, values = x_NPK.shape
    embed = dense(self.width, 'embed')
    x_NPD = embed(x_NPK.reshape(-1, values)).reshape(num, tokens, -1)
    x_NPD = x_NPD + jnp.broadcast_to(place_PD, x_NPD.shape)
    cls_D = self.param('cls', nn.initializers.normal(0.02), (self.width,))
    cls_N1D = jnp.broadcast_to(cls_D, (num, 1, self.width))
    x_NTD = jnp.concatenate([cls_N1D, x_NPD], axis=1)
    x_NTD, layers = Transformer(
      self.width,
      self.depth,
      self.num_heads,
      self.mlp_ratio,
      name='transformer',
    )(x_NTD)
    return nn.LayerNorm(name='norm')(x_NTD), layers


def readout(x_NTD: Array, output: str, num_prefix: int = 1) -> Array:
  """Tokens to one latent a frame, [N, dim].

  `output`: 'cls', 'mean_patch', 'patches' (all of them, flattened) or
  'grid<g>' (patches averaged to g x g cells, flattened).
  """
  num, _, width = x_NTD.shape
  patches_NPD = x_NTD[:, num_prefix:]
  if output == 'cls' and num_prefix:
    return x_NTD[:, 0]
  if output == 'mean_patch':
    return patches_NPD.mean(axis=1)
  if output == 'patches':
    return patches_NPD.reshape(num, -1)
  side = round(patches_NPD.shape[1] ** 0.5)
  cells = output.removeprefix('grid')
  if output.startswith('grid') and cells.isdigit():
    cells = int(cells)
    if cells and side % cells == 0:
      shape = (num, cells, side // cells, cells, side // cells, width)
      return patches_NPD.reshape(shape).mean(axis=(2, 4)).reshape(num, -1)
  choices = "'mean_patch', 'patches'" + (", 'cls'" if num_prefix else '')
  raise ValueError(
    f'output: found {output!r}, expected {choices} or '
    f"'grid<g>' where g divides {side}"
  )
