"""Codebooks side by side, each of some of the dimensions.

Product quantization (Jegou et al. 2011).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.episodes import stack
from rpt_jax.units import makers

NEEDS = (makers.LATENT,)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many codebooks, and how a frame is given its units."""

  levels: int = keys.key(
    2, 'parts of the dimensions, nearly equal', low=1, high=64
  )
  temperature: float = keys.key(
    0.0, 'of stochastic assignment; 0: nearest', low=0, high=100
  )


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, levels)."""
  return shared.num_clusters, settings.levels


def lookahead(settings: Settings) -> float:
  """None: a frame is looked at alone."""
  del settings
  return 0


def fit(settings: Settings, clips, key, shared, mesh):
  """{level: codebook}; ValueError for more levels than dimensions."""
  keys_L = jax.random.split(key, settings.levels)
  parts = _parts(clips.arrays[makers.LATENT], settings.levels)
  return {
    str(level): makers.cluster(x_ND, shared, keys_L[level], mesh)
    for level, x_ND in enumerate(parts)
  }


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, levels]."""
  heat, columns = makers.temperature(settings.temperature, fitted['0']), []
  parts = _parts(clips.arrays[makers.LATENT], settings.levels)
  for level, x_ND in enumerate(parts):
    level_key = jax.random.fold_in(key, level)
    n_N = makers.assign(fitted[str(level)], x_ND, level_key, heat, mesh)
    columns.append(n_N)
  return makers.Units(jnp.stack(columns, axis=1))


def _parts(x_ND, levels):
  """The dimensions in nearly equal parts, in order."""
  width = x_ND.shape[1]
  if levels > width:
    raise ValueError(
      f'levels: found {levels}, expected at most the {width} dimensions'
    )
  edges = np.linspace(0, width, levels + 1).round().astype(int)
  return [
    stack.mapped(x_ND, lambda x, own=slice(a, b): x[..., own])
    for a, b in zip(edges, edges[1:], strict=False)
  ]
