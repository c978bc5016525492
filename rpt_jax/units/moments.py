"""Mean and spread of rows that are never in memory together.

Merged slab by slab (Chan et al. 1979).
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax.types import Array


class Moments(NamedTuple):
  """How many rows, their mean [D], and variance [D] or covariance [D, D]."""

  count: int
  mean: np.ndarray
  spread: np.ndarray

  def and_of(self, count: int, mean_D, spread) -> 'Moments':
    """With those of other rows (Chan et al. 1979)."""
    total = self.count + count
    apart_D = np.float64(mean_D) - self.mean
    apart = apart_D**2 if np.ndim(spread) == 1 else np.outer(apart_D, apart_D)
    share = count / total
    between = apart * share * (1 - share)
    within = self.spread * (1 - share) + np.float64(spread) * share
    return Moments(total, self.mean + apart_D * share, within + between)


def of(slabs: Iterable[tuple[Array, Array]], name: str) -> Moments:
  """Of all rows x_ND of slabs (x_ND, own_N) that are its own: float64.

  `name`: 'standardise' for variances, 'whiten' for covariances.
  """
  moments = None
  for x_ND, own_N in slabs:
    of_slab = _slab_moments(x_ND, own_N, name)
    count, mean_D, spread = map(np.float64, of_slab)
    if moments is None:
      moments = Moments(count, mean_D, spread)
    else:
      moments = moments.and_of(count, mean_D, spread)
  return moments


@functools.partial(jax.jit, static_argnums=2)
def _slab_moments(x_ND, own_N, name):
  """The fields of `Moments`, of some rows."""
  x_ND, own_N1 = x_ND.astype(jnp.float32), own_N[:, None]
  count = own_N.sum()
  mean_D = jnp.where(own_N1, x_ND, 0).sum(0) / count
  centred_ND = jnp.where(own_N1, x_ND - mean_D[None, :], 0)
  if name == 'standardise':
    return count, mean_D, jnp.square(centred_ND).sum(0) / count
  product_DD = jnp.matmul(
    centred_ND.T, centred_ND, precision=lax.Precision.HIGHEST
  )
  return count, mean_D, product_DD / count
