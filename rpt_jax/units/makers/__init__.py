"""What makes units of transformed latents, one file each.

A recipe names its maker. How k-means goes is said once, in `config.quantize`,
for all makers: recipes are compared at the same number of units.
"""

from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from rpt_jax.episodes.windows import Clips
from rpt_jax.settings import Quantize
from rpt_jax.types import Array, PyTree
from rpt_jax.units import kmeans as clustering  # A maker has its name, too.

LATENT = 'latent'  # The stream that all makers are given, transformed.


class Units(NamedTuple):
  """What a maker makes of N frames.

  `unit_NL` int32, -1 where there is none (the last step of a clip, of what lies
  between two). `code_ND` are the numbers that units are clusters of, None where
  those are the latents themselves.
  """

  unit_NL: Array
  code_ND: Array | None = None


class Maker(Protocol):
  """What a file has; `shared` is `config.quantize`.

  It may have `check(settings, shared, num_actions, width)`, which raises
  ValueError 'key: ...' for actions that it cannot do.
  """

  Settings: type
  NEEDS: tuple[str, ...]  # LATENT, or fields of a step: 'action', 'state'.

  def sizes(self, settings: Any, shared: Quantize) -> tuple[int, int]:
    """(vocabulary of a level, levels)."""

  def lookahead(self, settings: Any) -> float:
    """How many later frames of its clip a frame's unit depends on."""

  def fit(
    self,
    settings: Any,
    clips: Clips,
    key: Array,
    shared: Quantize,
    mesh: jax.sharding.Mesh | None,
  ) -> PyTree:
    """What is saved, nested dicts of arrays; `clips` have what it NEEDS."""

  def apply(
    self,
    settings: Any,
    fitted: PyTree,
    clips: Clips,
    key: Array,
    mesh: jax.sharding.Mesh | None,
  ) -> Units:
    """Units of any clips; `key` for what is drawn, the same for all splits."""


def cluster(
  x_ND: Array,
  shared: Quantize,
  key: Array,
  mesh: jax.sharding.Mesh | None = None,
) -> dict[str, Array]:
  """The fields of a `kmeans.Codebook` of as many units as recipes share."""
  codebook = clustering.fit(
    x_ND,
    shared.num_clusters,
    key,
    restarts=shared.restarts,
    max_iterations=shared.max_iterations,
    batch_size=shared.batch_size,
    max_no_improvement=shared.max_no_improvement,
    mesh=mesh,
  )
  # On the host, as what is left over lies on one device of a mesh.
  return jax.device_get(codebook)._asdict()


def temperature(relative: float, codebook: dict[str, Array]) -> float:
  """`relative` to the mean squared distance of a frame to its centroid."""
  rows = float(codebook['count_K'].sum(dtype='float64'))
  return relative * (float(codebook['inertia']) / rows)


def assign(
  codebook: dict[str, Array],
  x_ND: Array,
  key: Array,
  temperature: float,
  mesh: jax.sharding.Mesh | None = None,
) -> Array:
  """Units n_N of a codebook that `cluster` made."""
  fields = clustering.Codebook(**codebook)
  return clustering.assign(fields, x_ND, key, temperature, mesh=mesh)


def of_codes(
  codebook: dict[str, Array],
  code_ND: Array,
  has_unit_N: Array,
  key: Array,
  mesh: jax.sharding.Mesh | None = None,
) -> Units:
  """Units [N, 1] of codes; -1 and zeros in rows that have none."""
  n_N = np.asarray(assign(codebook, code_ND, key, 0.0, mesh))
  return Units(
    np.where(has_unit_N, n_N, -1)[:, None],
    np.where(has_unit_N[:, None], code_ND, np.float32(0)),
  )
