"""Codebooks one after the other, each of what those before it left over.

Residual vector quantization (Zeghidour et al. 2021, SoundStream, III-C).
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

  levels: int = keys.key(2, 'codebooks', low=1, high=64)
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
  """{level: codebook}."""
  rest_ND, fitted = clips.arrays[makers.LATENT], {}
  for level, level_key in enumerate(jax.random.split(key, settings.levels)):
    if level:
      before = fitted[str(level - 1)]
      n_N = makers.assign(before, rest_ND, level_key, 0.0, mesh)
      rest_ND = _less(before, rest_ND, n_N)
    fitted[str(level)] = makers.cluster(rest_ND, shared, level_key, mesh)
  return fitted


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, levels]."""
  rest_ND, columns = clips.arrays[makers.LATENT], []
  heat = makers.temperature(settings.temperature, fitted['0'])
  for level in range(settings.levels):
    codebook, level_key = fitted[str(level)], jax.random.fold_in(key, level)
    n_N = makers.assign(codebook, rest_ND, level_key, heat, mesh)
    columns.append(n_N)
    rest_ND = _less(codebook, rest_ND, n_N)
  return makers.Units(jnp.stack(columns, axis=1))


def _less(codebook, x_ND, n_N):
  """What centroids leave over of the rows that they stand for."""
  c_KD, n_N = np.asarray(codebook['c_KD']), np.asarray(n_N)
  return stack.Derived(
    lambda rows: x_ND[rows] - c_KD[n_N[rows]], x_ND.shape, np.float32
  )
