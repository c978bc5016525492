"""What can be said of a stream without learning, to compare a model with.

All work on one stream x_BTD, of which only the steps `seen_BT` are looked at;
what stands elsewhere, NaN included, changes nothing. 0 is the mean of a
standardised stream, and the guess where nothing is seen.
"""

import jax.numpy as jnp
from jax import lax

from rpt_jax.types import Array


def back(x_BT, steps):
  """What was `steps` steps before each, of [B, T, ...]; before the first 0."""
  pads = ((0, 0), (steps, 0)) + ((0, 0),) * (x_BT.ndim - 2)
  return jnp.pad(x_BT, pads)[:, : x_BT.shape[1]]


def last(x_BTD: Array, seen_BT: Array) -> Array:
  """Of every step: the value last seen before it, 0 where there is none."""
  return _pick(x_BTD, seen_BT, _before(seen_BT))


def copy_last(x_BTD: Array, seen_BT: Array) -> Array:
  """`last`, and before the first seen step its value."""
  before_BT = _before(seen_BT)
  at_BT = jnp.where(before_BT < 0, _after(seen_BT), before_BT)
  return _pick(x_BTD, seen_BT, at_BT)


def interpolation(x_BTD: Array, seen_BT: Array) -> Array:
  """Linear between the nearest seen before and after; a copy at the ends."""
  steps = seen_BT.shape[1]
  before_BT, after_BT = _before(seen_BT), _after(seen_BT)
  first_BT = jnp.where(before_BT < 0, after_BT, before_BT)
  second_BT = jnp.where(after_BT < steps, after_BT, before_BT)
  share_BT = (jnp.arange(steps)[None] - first_BT) / jnp.maximum(
    second_BT - first_BT, 1
  )
  share_BT1 = jnp.where(first_BT < second_BT, share_BT, 0.0)[..., None]
  first_BTD = _pick(x_BTD, seen_BT, first_BT)
  second_BTD = _pick(x_BTD, seen_BT, second_BT)
  return first_BTD + (second_BTD - first_BTD) * share_BT1


def linear(x_BTD: Array, seen_BT: Array) -> Array:
  """Goes on as between the two steps before, else as `last`."""
  x_BTD = _known(x_BTD, seen_BT)
  both_BT = back(seen_BT, 1) & back(seen_BT, 2)
  line_BTD = 2 * back(x_BTD, 1) - back(x_BTD, 2)
  return jnp.where(both_BT[..., None], line_BTD, last(x_BTD, seen_BT))


def _before(seen_BT):
  """The last seen step before each; -1: none."""
  at_BT = jnp.where(seen_BT, jnp.arange(seen_BT.shape[1])[None], -1)
  before_BT = lax.cummax(at_BT, axis=1)[:, :-1]
  return jnp.pad(before_BT, ((0, 0), (1, 0)), constant_values=-1)


def _after(seen_BT):
  """The first seen step after each; T: none."""
  steps = seen_BT.shape[1]
  at_BT = jnp.where(seen_BT, jnp.arange(steps)[None], steps)
  after_BT = lax.cummin(at_BT, axis=1, reverse=True)[:, 1:]
  return jnp.pad(after_BT, ((0, 0), (0, 1)), constant_values=steps)


def _pick(x_BTD, seen_BT, at_BT):
  """x_BTD at steps `at_BT`; 0 where those are outside of it."""
  steps = x_BTD.shape[1]
  inside_BT = (at_BT >= 0) & (at_BT < steps)
  at_BT1 = jnp.clip(at_BT, 0, steps - 1)[..., None]
  x_BTD = jnp.take_along_axis(_known(x_BTD, seen_BT), at_BT1, axis=1)
  return _known(x_BTD, inside_BT)


def _known(x_BTD, seen_BT):
  return jnp.where(seen_BT[..., None], x_BTD, jnp.zeros((), x_BTD.dtype))
