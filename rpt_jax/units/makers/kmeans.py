"""One codebook: the unit of a frame is the nearest centroid."""

import dataclasses

import jax

from rpt_jax import settings as keys
from rpt_jax.units import makers

NEEDS = (makers.LATENT,)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a frame is given its unit."""

  temperature: float = keys.key(
    0.0, 'of stochastic assignment; 0: nearest', low=0, high=100
  )


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, 1)."""
  del settings
  return shared.num_clusters, 1


def lookahead(settings: Settings) -> float:
  """None: a frame is looked at alone."""
  del settings
  return 0


def fit(settings: Settings, clips, key, shared, mesh):
  """The codebook, as level 0."""
  del settings
  (key,) = jax.random.split(key, 1)
  return {'0': makers.cluster(clips.arrays[makers.LATENT], shared, key, mesh)}


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, 1]."""
  x_ND, codebook = clips.arrays[makers.LATENT], fitted['0']
  heat = makers.temperature(settings.temperature, codebook)
  n_N = makers.assign(codebook, x_ND, jax.random.fold_in(key, 0), heat, mesh)
  return makers.Units(n_N[:, None])
