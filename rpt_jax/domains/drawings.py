"""Drawings with captions: a shape of some colour and size at some place.

A clip is two frames of one drawing, which has moved a little; its instruction
is its caption, by one of `TEMPLATES`. Some pairs of a colour and a shape are in
no clip of `pretrain`, and all clips of `heldout` are of them: who names those
knows colours and shapes apart.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rpt_jax import results
from rpt_jax.domains.unacted import Drawn, episode
from rpt_jax.settings import key
from rpt_jax.types import Episode

COLOURS = {
  'red': (220, 40, 40),
  'green': (40, 180, 60),
  'blue': (50, 80, 230),
  'yellow': (235, 215, 50),
  'purple': (150, 60, 190),
  'white': (245, 245, 245),
}
SHAPES = 'circle', 'square', 'triangle', 'cross', 'ring'
SIZES = {'small': 0.13, 'large': 0.22}  # Radii, in sides of the frame.
PLACES = {
  'top left': (0.28, 0.28),
  'top right': (0.28, 0.72),
  'bottom left': (0.72, 0.28),
  'bottom right': (0.72, 0.72),
}
ATTRIBUTES: Mapping[str, Sequence[str]] = {
  'colour': tuple(COLOURS),
  'shape': SHAPES,
  'size': tuple(SIZES),
  'place': tuple(PLACES),
}
TEMPLATES = (
  'a {size} {colour} {shape} at the {place}',
  'at the {place} there is a {size} {colour} {shape}',
  'the {shape} at the {place} is {colour} and {size}',
)
STEPS = 2  # Frames of a clip.
_JITTER, _NOISE = 0.06, 8.0  # Of a place, in sides; of a pixel, of 255.


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many drawings, and which pairs are kept for the end."""

  size: int = key(32, 'pixels', low=16, high=1024)
  pretrain: int = key(3000, 'clips', low=1, high=10_000_000)
  heldout: int = key(400, 'clips', low=1, high=10_000_000)
  kept_apart: int = key(
    6, 'pairs of a colour and a shape that are held out', low=1, high=24
  )
  shuffled: bool = key(
    False, 'every clip has the caption of another: a control'
  )


def domains(name: str, settings: Settings, seed: int):
  """The one set of drawings of an entry."""
  return (Drawings(name, settings, seed),)


@dataclasses.dataclass(frozen=True)
class Drawings(Drawn):
  """A set of drawings; its state is where the shape is, and how large."""

  settings: Settings
  seed: int
  probed = ('state',)
  state_dim = 3
  visible = (0, 1, 2)

  @property
  def longest(self) -> int:
    return STEPS

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes both splits; rows: clips and frames."""
    splits, metadata = {}, {}
    apart = held_out(self.settings.kept_apart)
    for i, split in enumerate(self.splits):
      count = getattr(self.settings, split)
      rng = np.random.default_rng([self.seed, i])
      drawn = [_drawn(rng, (split == 'heldout'), apart) for _ in range(count)]
      order = np.arange(count)
      if self.settings.shuffled:
        order = np.roll(order, 1)  # What was drawn next is of no relation.
      metadata[split] = [
        about | {'instruction': drawn[other]['instruction']}
        for about, other in zip(drawn, order, strict=True)
      ]
      splits[split] = [_clip(rng, x, self.settings.size) for x in drawn]
    print(f'  {self.name}: held out {apart}', flush=True)
    return self.written(directory, splits, metadata)

  def describe(self) -> str:
    size = self.settings.size
    return f'{self.name}: drawings of one shape, {size} px, with captions'

  def table(self) -> list[str]:
    size = self.settings.size
    return [
      f'{self.name:26} image [T, {size}, {size}, 3] u8, state [T, 3], a '
      f'caption; T = {STEPS}'
    ]


def held_out(count: int) -> list[tuple[str, str]]:
  """Pairs of a colour and a shape; every colour and shape is in others."""
  pairs = itertools.product(range(len(SHAPES)), range(len(COLOURS)))
  diagonals = sorted(pairs, key=lambda x: ((x[1] - x[0]) % len(COLOURS), x))
  colours = tuple(COLOURS)
  return [(colours[c], SHAPES[s]) for s, c in diagonals[:count]]


def _drawn(rng, heldout, apart):
  """What is in a drawing, and its caption."""
  while True:
    about = {
      name: str(rng.choice(values)) for name, values in ATTRIBUTES.items()
    }
    if ((about['colour'], about['shape']) in apart) == heldout:
      break
  template = TEMPLATES[rng.integers(len(TEMPLATES))]
  return about | {'instruction': template.format(**about)}


def _clip(rng, about, size) -> Episode:
  """Two frames, the shape near its place in both."""
  radius = SIZES[about['size']] * rng.uniform(0.85, 1.15)
  ground = rng.integers(20, 90, 3)
  centre_T2 = np.array(PLACES[about['place']])[None] + rng.uniform(
    -_JITTER, _JITTER, (STEPS, 2)
  )
  image = [draw(rng, about, xy, radius, ground, size) for xy in centre_T2]
  radius_T1 = np.full((STEPS, 1), radius)
  state_T3 = np.concatenate([centre_T2, radius_T1], 1).astype(np.float32)
  return episode({'image': np.stack(image), 'state': state_T3}, STEPS)


def draw(rng, about, centre, radius: float, ground, size: int) -> np.ndarray:
  """A frame uint8 [size, size, 3]; `centre` (row, column) and `radius` in
  sides, `ground` the colour behind."""
  row, column = (np.mgrid[:size, :size] + 0.5) / size
  y, x = (row - centre[0]) / radius, (column - centre[1]) / radius
  far = np.hypot(x, y)
  inside = {
    'circle': far < 1,
    'square': np.maximum(abs(x), abs(y)) < 0.9,
    'triangle': (y < 0.8) & (abs(x) < (y + 1) / 1.8),
    'cross': (np.minimum(abs(x), abs(y)) < 0.35) & (far < 1.1),
    'ring': (far < 1) & (far > 0.5),
  }[about['shape']]
  colours = np.array([ground, COLOURS[about['colour']]], float)
  image = colours[inside.astype(int)] + rng.normal(0, _NOISE, (size, size, 3))
  return image.clip(0, 255).round().astype(np.uint8)
