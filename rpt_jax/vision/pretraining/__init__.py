"""What an image model learns from stored frames, one file each.

`config.image_model` names the file; where `config.encoder` is 'trained', what
it trains is what sees.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from rpt_jax import settings as keys
from rpt_jax.episodes import loader
from rpt_jax.episodes.frames import Frames
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import vit
from rpt_jax.vision.model import VisionModel

# What an objective may need of the frames, and whether they have it.
NEEDS = {
  'frames': ('a frame', len),
  'pairs': ('a clip of two frames', lambda f: f.lengths.max(initial=0) > 1),
  'text': ('a clip with an instruction', lambda f: any(f.texts)),
}


class Model(Protocol):
  """The shapes of what is trained; frozen and hashable, parameters apart."""

  tokens: int  # Of a row of a batch, that a rate is told of.

  def init(self, key: Array) -> PyTree:
    """Parameters."""


class Objective(Protocol):
  """What a file has."""

  # Has batch_size, balanced, steps, learning_rate and weight_decay.
  Settings: type
  NEEDS: tuple[str, ...]  # Some of `NEEDS` above.
  CAPTION: str  # What its pictures show, for the page.
  SHARDING: tuple  # How parameters are split, see `training/sharding.py`.

  def model(self, settings: Any, size: int) -> Model:
    """For frames of a size; ValueError '<key of Settings>: ...'."""

  def batch_at(
    self, settings: Any, frames: Frames, seed: int, rows: np.ndarray | None
  ) -> Callable[[int], dict[str, np.ndarray]]:
    """step -> batch {name: [B, ...]}, pure; of it the `rows`, or None: all."""

  def loss(
    self, settings: Any, model: Model, params: PyTree, batch, key: Array
  ) -> tuple[Array, dict[str, Array]]:
    """(loss, metrics) of a batch."""

  def judge(
    self, model: Model, params: PyTree, heldout: Frames, key: Array
  ) -> dict[str, Array]:
    """{metric: value} on frames that were not trained on."""

  def pictures(
    self, model: Model, params: PyTree, heldout: Frames, key: Array
  ) -> dict[str, Array]:
    """{title: uint8 [N, H, W, 3]}, drawn side by side; {}: there are none."""

  def save(self, model: Model, params: PyTree, directory) -> None:
    """Writes what `vision.load` reads."""

  def untrained(self, model: Model, **how) -> VisionModel:
    """What `vision.load(directory, **how)` will give, shapes for weights."""


def check_shapes(settings: Any, where: str, prefix: str = '') -> None:
  """Raises ValueError unless a ViT can have `<prefix>width` and num_heads."""
  width = getattr(settings, f'{prefix}width')
  if width % 4:  # Of positions: sines, cosines, rows, columns.
    keys.refuse(f'{where}.{prefix}width', width, 'a multiple of 4')
  heads = getattr(settings, f'{prefix}num_heads')
  keys.divides(width, heads, f'{where}.{prefix}')


def check_patch(patch: int, size: int) -> None:
  """Raises ValueError unless frames of `size` pixels are whole patches."""
  if size % patch:
    raise ValueError(
      f'patch: found {patch}, expected a divisor of config.frames.size={size}'
    )


def encoder(settings: Any, size: int) -> vit.Encoder:
  """The ViT of settings' shapes whose tokens are read; checks the patch."""
  c = settings
  check_patch(c.patch, size)
  return vit.Encoder(
    size, c.patch, c.width, c.depth, c.num_heads, pool='none', parent=None
  )


def order(
  settings: Any, sizes: Sequence[int], seed: int, rows: np.ndarray | None
) -> Callable[[int], np.ndarray]:
  """step -> which samples a batch has of those that domains have end to end.

  Args:
    settings: has `batch_size` and `balanced`: domains take turns, or all
      samples are as likely.
    sizes: samples of each domain.
    seed, rows: as in `Objective.batch_at`.
  """
  size = settings.batch_size
  if settings.balanced:
    return loader.Balanced(sizes, size, seed, rows)
  return loader.Order(sum(sizes), size, seed, rows)


def check(needs: tuple[str, ...], frames: Frames) -> None:
  """Raise ValueError where frames lack what an objective needs."""
  for name in needs:
    what, has = NEEDS[name]
    if not has(frames):
      raise ValueError(
        f'config.image_model: needs {name}, found {len(frames)} frames in '
        f'{len(frames.lengths)} clips, expected {what} at least'
      )
