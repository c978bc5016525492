"""Quantizers on top of k-means: single, residual (RVQ) and product.

`single` gives one unit a frame; `residual` quantizes what the levels before
left over (Zeghidour et al. 2021, SoundStream, section III-C); `product` splits
the dimensions evenly and quantizes each part (Jegou et al. 2011).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.types import Array
from rpt_jax.units import kmeans

KINDS = ('single', 'residual', 'product')


@functools.partial(
  jax.tree_util.register_dataclass,
  data_fields=['levels'],
  meta_fields=['kind'],
)
@dataclasses.dataclass(frozen=True)
class Quantizer:
  """A pytree: the codebook of each level."""

  kind: str
  levels: tuple[kmeans.Codebook, ...]

  @property
  def vocab(self) -> int:
    """Units of a level, the same for all."""
    return len(self.levels[0].c_KD)


def _parts(width: int, levels: int) -> list[slice]:
  """Splits dimensions into nearly equal parts, in order."""
  edges = np.linspace(0, width, levels + 1).round().astype(int)
  return [slice(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]


def _part_slices(quantizer: Quantizer) -> list[slice]:
  edges = np.cumsum([0] + [c.c_KD.shape[1] for c in quantizer.levels])
  return [slice(int(a), int(b)) for a, b in zip(edges, edges[1:], strict=False)]


def fit(
  kind: str,
  x_ND: Array,
  num_clusters: int,
  key: Array,
  *,
  levels: int = 1,
  **settings,
) -> Quantizer:
  """Fits a quantizer of `levels` codebooks of K centroids each.

  settings go to `kmeans.fit`. Raises ValueError for an unknown kind, levels
  that do not fit it, and as `kmeans.fit` does.
  """
  if kind not in KINDS:
    raise ValueError(f'kind: found {kind!r}, expected one of {KINDS}')
  most = {'single': 1, 'residual': levels, 'product': x_ND.shape[1]}[kind]
  if not 1 <= levels <= most:
    raise ValueError(
      f'levels: found {levels} for kind {kind!r}, expected 1 to {max(most, 1)}'
    )
  keys = jax.random.split(key, levels)
  if kind == 'product':
    parts = _parts(x_ND.shape[1], levels)
    codebooks = tuple(
      kmeans.fit(x_ND[:, part], num_clusters, k, **settings)
      for part, k in zip(parts, keys, strict=True)
    )
    return Quantizer(kind, codebooks)
  codebooks, rest_ND = [], x_ND
  for level, k in enumerate(keys):
    codebooks.append(kmeans.fit(rest_ND, num_clusters, k, **settings))
    if level + 1 < levels:
      n_N = kmeans.assign(codebooks[-1], rest_ND)
      rest_ND = rest_ND - codebooks[-1].c_KD[n_N]
  return Quantizer(kind, tuple(codebooks))


def assign(
  quantizer: Quantizer,
  x_ND: Array,
  key: Array | None = None,
  temperature: float = 0.0,
  top_k: int = 0,
  **settings,
) -> Array:
  """Returns the units n_NL int32, level by level as `kmeans.assign`."""
  parts = _part_slices(quantizer)
  columns, rest_ND = [], x_ND
  for level, codebook in enumerate(quantizer.levels):
    if quantizer.kind == 'product':
      rest_ND = x_ND[:, parts[level]]
    level_key = None if key is None else jax.random.fold_in(key, level)
    n_N = kmeans.assign(
      codebook, rest_ND, level_key, temperature, top_k, **settings
    )
    columns.append(n_N)
    if quantizer.kind == 'residual':
      rest_ND = rest_ND - codebook.c_KD[n_N]
  return jnp.stack(columns, axis=1)


def reconstruct(quantizer: Quantizer, n_NL: Array) -> Array:
  """Returns the latents x_ND that units stand for."""
  found = [c.c_KD[n_NL[:, i]] for i, c in enumerate(quantizer.levels)]
  if quantizer.kind == 'product':
    return jnp.concatenate(found, axis=1)
  return sum(found[1:], found[0])


def to_arrays(quantizer: Quantizer) -> dict[str, np.ndarray]:
  """Returns the flat arrays 'level/field' for a safetensors file."""
  return {
    f'{level}/{name}': np.asarray(value)
    for level, codebook in enumerate(quantizer.levels)
    for name, value in codebook._asdict().items()
  }


def from_arrays(kind: str, arrays: dict[str, np.ndarray]) -> Quantizer:
  """Undoes `to_arrays`; raises ValueError if a field is missing."""
  if kind not in KINDS:
    raise ValueError(f'kind: found {kind!r}, expected one of {KINDS}')
  levels = sorted({int(name.split('/')[0]) for name in arrays})
  try:
    codebooks = tuple(
      kmeans.Codebook(
        *(jnp.asarray(arrays[f'{i}/{f}']) for f in kmeans.Codebook._fields)
      )
      for i in levels
    )
  except KeyError as error:
    raise ValueError(f'codebook arrays: {error} is missing') from error
  return Quantizer(kind, codebooks)
