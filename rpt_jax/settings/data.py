"""Sections of how frames become latents, and latents units."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rpt_jax.settings.declare import key, refuse


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Devices: how many along each axis; -1: all that are left."""

  data: int = key(-1, 'rows of a batch', low=-1, high=1_000_000)
  fsdp: int = key(1, 'parameters are split over it', low=1, high=1_000_000)
  tensor: int = key(1, 'widths are split over it', low=1, high=1_000_000)

  @property
  def sizes(self) -> dict[str, int]:
    """{axis: size}."""
    return dataclasses.asdict(self)

  def check(self, where: str) -> None:
    """Raises ValueError for an axis of no device."""
    if self.data == 0:
      refuse(f'{where}.data', 0, '-1 or at least 1')


@dataclasses.dataclass(frozen=True)
class Saving:
  """How often a training is saved and tells how it goes."""

  log_steps: int = key(
    100, 'steps between two lines', low=1, high=1_000_000_000, how=True
  )
  save_steps: int = key(
    1000, 'steps between two checkpoints', low=1, high=1_000_000_000, how=True
  )
  save_seconds: float = key(
    300.0,
    'seconds after which one is written anyway',
    above=0,
    high=1_000_000,
    how=True,
  )


@dataclasses.dataclass(frozen=True)
class Encode:
  """Frames through the image model."""

  output: str = key(
    'patches',
    'what of it is the latent',
    choices=(
      'cls',
      'mean_patch',
      'grid2',
      'grid4',
      'patches',
      'pooled',
      'projected',
    ),
  )
  layer: int = key(-1, 'the normed end, or a block from 0', low=-1, high=1000)
  image_size: int = key(
    0, 'pixels; 0: as the model was trained', low=0, high=4096
  )
  batch_size: int = key(256, 'frames', low=1, high=1_000_000)
  workers: int = key(
    0, 'processes that decode; 0: a thread a core', low=0, high=1024, how=True
  )
  ahead: int = key(
    32, 'episodes decoded ahead of their use', low=0, high=10_000, how=True
  )
  shard_frames: int = key(
    20_000, 'frames of a shard', low=1, high=1_000_000_000
  )
  error_budget: float = key(
    0.01, 'share of undecodable episodes borne', low=0, high=1, how=True
  )


@dataclasses.dataclass(frozen=True)
class Frames:
  """Frames decoded once, for an image model of one's own."""

  size: int = key(64, 'pixels', low=8, high=4096)
  workers: int = key(
    0, 'processes that decode; 0: a thread a core', low=0, high=1024, how=True
  )
  error_budget: float = key(
    0.01, 'share of undecodable episodes borne', low=0, high=1, how=True
  )


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A way of making units."""

  transforms: tuple[str, ...] = key(
    (), 'steps of units/transforms.py, in order'
  )
  maker: Any = key(None, 'what makes units of them', plugins='units/makers')


@dataclasses.dataclass(frozen=True)
class Quantize:
  """Latents to hidden units; k-means is alike in all recipes, to compare."""

  num_clusters: int = key(128, 'units of a codebook', low=2, high=1_000_000)
  restarts: int = key(1, 'of k-means; the best is kept', low=1, high=1000)
  max_iterations: int = key(20, 'passes over the frames', low=1, high=1_000_000)
  batch_size: int = key(
    0, 'of mini-batch k-means; 0: full Lloyd', low=0, high=1_000_000
  )
  max_no_improvement: int = key(
    10, 'mini-batches; 0: go to the end', low=0, high=1_000_000
  )
  trunk_layer: int = key(
    2, 'block from 1 that later iterations cluster', low=0, high=1000
  )
  recipes: Mapping[str, Recipe] = key({}, 'by name', length=1)
