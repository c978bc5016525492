"""A recipe of units: transforms of latents, then a maker."""

from types import ModuleType

import jax
import numpy as np

from rpt_jax import settings
from rpt_jax.episodes import stack
from rpt_jax.episodes.windows import Clips
from rpt_jax.settings import Quantize, Recipe
from rpt_jax.types import Array, PyTree
from rpt_jax.units import transforms
from rpt_jax.units.makers import LATENT, Units


def maker(recipe: Recipe) -> ModuleType:
  """The file of `rpt_jax/units/makers` that a recipe ends in."""
  return settings.module('units/makers', settings.kind(recipe.maker))


def sizes(recipe: Recipe, shared: Quantize) -> tuple[int, int]:
  """(vocabulary of a level, levels) of its units."""
  return maker(recipe).sizes(recipe.maker, shared)


def lookahead(recipe: Recipe) -> float:
  """How many later frames of its clip a unit depends on; infinity: all."""
  own = maker(recipe).lookahead(recipe.maker)
  return transforms.lookahead(recipe.transforms) + own


def fit(
  recipe: Recipe,
  clips: Clips,
  key: Array,
  shared: Quantize,
  mesh: jax.sharding.Mesh | None = None,
) -> PyTree:
  """What `apply` needs, nested dicts of arrays: 'transforms' and 'maker'."""
  of_transforms = transforms.fit(
    recipe.transforms, lambda: transforms.slabs(clips)
  )
  clips = _transformed(recipe, of_transforms, clips)
  of_maker = maker(recipe).fit(recipe.maker, clips, key, shared, mesh)
  return {'transforms': of_transforms, 'maker': of_maker}


def apply(
  recipe: Recipe,
  fitted: PyTree,
  clips: Clips,
  key: Array,
  mesh: jax.sharding.Mesh | None = None,
) -> Units:
  """The units of any clips."""
  of_transforms = fitted.get('transforms', {})  # A saved {} is not there.
  clips = _transformed(recipe, of_transforms, clips)
  return maker(recipe).apply(recipe.maker, fitted['maker'], clips, key, mesh)


def transformed(recipe: Recipe, fitted: PyTree, clips: Clips) -> Array:
  """The latents [N, D] that the maker is given."""
  of_transforms = fitted.get('transforms', {})
  return _transformed(recipe, of_transforms, clips).arrays[LATENT]


def _transformed(recipe, of_transforms, clips):
  """Clips whose latents are transformed: in memory, or slab by slab to disk."""
  if not recipe.transforms:
    return clips
  count, stored = int(clips.lengths.sum()), None
  for x_ND, clip_N in transforms.slabs(clips):
    done_ND = transforms.apply(recipe.transforms, of_transforms, x_ND, clip_N)
    own = int((clip_N >= 0).sum())
    if own == count:
      return _with(clips, done_ND)
    if stored is None:
      stored = stack.Scratch(done_ND.shape[1:], np.float32)
    stored.append(np.asarray(done_ND)[:own])
  return _with(clips, stored)


def _with(clips, x_ND):
  return Clips(clips.arrays | {LATENT: x_ND}, clips.lengths)
