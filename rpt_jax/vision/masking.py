"""Which patches of a frame an encoder is not shown, and putting them back."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.types import Array


class Masking(NamedTuple):
  """Which patches an encoder sees, for each frame.

  `keep` [N, K] indices of those kept; `restore` [N, P] puts (kept, removed)
  back in order; `removed` [N, P] is 1.0 where a patch was taken away.
  """

  keep: Array
  restore: Array
  removed: Array


def random_masking(
  key: Array, num: int, patches: int, mask_ratio: float
) -> Masking:
  """Keeps `patches * (1 - mask_ratio)` (floor) patches of each frame.

  Raises ValueError where none or all would be kept.
  """
  kept = int(patches * (1 - mask_ratio))
  if not 0 < kept < patches:
    raise ValueError(
      f'mask_ratio: {mask_ratio} keeps {kept} of {patches} patches, expected '
      'at least one kept and one removed'
    )
  order_NP = jnp.argsort(jax.random.uniform(key, (num, patches)), axis=1)
  restore_NP = jnp.argsort(order_NP, axis=1)
  removed_NP = (restore_NP >= kept).astype(jnp.float32)
  return Masking(order_NP[:, :kept], restore_NP, removed_NP)


def fill_in(x_NKD: Array, masking: Masking, mask_D: Array) -> Array:
  """Tokens of kept patches in their places, `mask_D` in all others: [N, P, D].

  A one-hot product: the gradient of a gather is a scatter, slow on CPU.
  """
  place_NPK = jax.nn.one_hot(masking.restore, x_NKD.shape[1])
  x_NPD = jnp.einsum('npk,nkd->npd', place_NPK, x_NKD)
  return x_NPD + masking.removed[..., None] * mask_D[None, None]
