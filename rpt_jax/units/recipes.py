"""A recipe of units: transforms of latents, then a maker."""

from types import ModuleType

import jax

from rpt_jax import settings
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
  of_transforms, x_ND = transforms.fit_transform(
    recipe.transforms, clips.arrays[LATENT], clips.clip_N
  )
  clips = _with(clips, x_ND)
  of_maker = maker(recipe).fit(recipe.maker, clips, key, shared, mesh)
  return {'transforms': of_transforms, 'maker': of_maker}


def apply(recipe: Recipe, fitted: PyTree, clips: Clips, key: Array) -> Units:
  """The units of any clips."""
  clips = _with(clips, transformed(recipe, fitted, clips))
  return maker(recipe).apply(recipe.maker, fitted['maker'], clips, key)


def transformed(recipe: Recipe, fitted: PyTree, clips: Clips) -> Array:
  """The latents [N, D] that the maker is given."""
  of_transforms = fitted.get('transforms', {})  # A saved {} is not there.
  return transforms.apply(
    recipe.transforms, of_transforms, clips.arrays[LATENT], clips.clip_N
  )


def _with(clips, x_ND):
  return Clips(clips.arrays | {LATENT: x_ND}, clips.lengths)
