"""Attention over a window, with one learned embedding for each of its steps.

The embedding is shared by the M tokens of a step; there is no modality
embedding (RPT, arXiv 2306.10007, 3). Tokens without time have none of it.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.models import transformer, visibility

VISIBILITIES = visibility.RULES
SHARDING = transformer.SHARDING


@dataclasses.dataclass(frozen=True)
class Settings:
  """Its size."""

  depth: int = keys.key(3, 'blocks', low=1, high=1000)
  num_heads: int = keys.key(4, 'attention heads', low=1, high=1024)
  mlp_ratio: float = keys.key(
    4.0, 'hidden width of a block over its width', above=0, high=64
  )
  remat: str = keys.key(
    'none', 'what is computed twice', choices=('none', 'dots', 'full')
  )
  qk_norm: bool = keys.key(
    False,
    'queries and keys of a head are divided by their root mean square',
    absent=False,
  )


class Trunk(nn.Module):
  """Time embedding, then blocks that see what `place` allows."""

  settings: Settings
  width: int
  context: int

  @nn.compact
  def __call__(self, x_BND, place, state=None):
    s = self.settings
    initial = nn.initializers.normal(0.02)
    table = nn.Embed(
      self.context, self.width, embedding_init=initial, name='time'
    )
    timed_N1 = (place.time_N >= 0)[:, None]
    time_ND = table(np.maximum(place.time_N, 0))
    x_BND = x_BND + jnp.where(timed_N1, time_ND, 0.0)[None]
    blocks = transformer.Transformer(
      self.width,
      s.depth,
      s.num_heads,
      s.mlp_ratio,
      remat=s.remat,
      qk_norm=s.qk_norm,
    )
    nn.share_scope(self, blocks)
    y_BND, layers = blocks(x_BND, place.mask())
    return y_BND, (x_BND, *layers), state


def check(settings: Settings, width: int) -> None:
  """ValueError where the heads or the hidden width do not fit a width."""
  if width % settings.num_heads:
    raise ValueError(
      f'num_heads: found {settings.num_heads}, expected a divisor of '
      f'width={width}'
    )
  if round(settings.mlp_ratio * width) < 1:
    raise ValueError(
      f'mlp_ratio: found {settings.mlp_ratio}, expected 1/{width} at least'
    )
