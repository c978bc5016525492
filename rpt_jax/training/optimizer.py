"""AdamW with warm-up, cosine decay, clipping, and decay on kernels only.

What is frozen gets no update and has no moments.
"""

import functools
import re
import types
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rpt_jax.types import PyTree


class Optimizer(NamedTuple):
  """An optax transformation and its learning rate as a function of step."""

  init: Callable
  update: Callable
  schedule: Callable


def adamw(
  learning_rate: float,
  num_steps: int,
  *,
  weight_decay: float = 0.01,
  warmup: float = 0.05,
  clip: float = 1.0,
  b2: float = 0.999,
  decay: str = r'kernel$',
  freeze: str = '',
  rates: Mapping[str, float] = types.MappingProxyType({}),
) -> Optimizer:
  """AdamW: linear warm-up to the peak, cosine to 0, global-norm clipping.

  Args:
    learning_rate: the peak; it and `num_steps` may be traced, so that
      trainings of other lengths and rates share what is compiled.
    num_steps: of the whole training.
    weight_decay: for parameters whose path ('trunk/blocks/up/kernel') the
      regular expression `decay` finds.
    warmup: share of the steps.
    clip: largest norm of the gradient of what trains.
    freeze: parameters whose path this regular expression finds stay as they
      are; '' freezes none.
    rates: {regular expression on the path: factor of the learning rate}.

  Raises:
    ValueError: a setting out of range, or (at init) `decay`, `freeze` or one of
      `rates` finds nothing, or `freeze` everything.
  """
  _check_positive(learning_rate=learning_rate, num_steps=num_steps, clip=clip)
  if not (weight_decay >= 0 and 0 <= warmup < 1):
    raise ValueError(
      f'weight_decay {weight_decay}, warmup {warmup}: expected at least 0, '
      'and a share in [0, 1)'
    )
  schedule = functools.partial(_rate, learning_rate, num_steps, warmup)
  tx = optax.chain(
    optax.clip_by_global_norm(clip),
    optax.adamw(
      schedule,
      b2=b2,
      weight_decay=weight_decay,
      mask=lambda params: _matching(params, decay),
    ),
    *(
      optax.masked(
        optax.scale(factor), functools.partial(_matching, pattern=pattern)
      )
      for pattern, factor in rates.items()
    ),
  )
  if freeze:
    parts = {True: optax.set_to_zero(), False: tx}
    tx = optax.partition(parts, lambda params: _matching(params, freeze))

  def init(params):
    for pattern in (decay, *rates):
      path_mask(params, pattern)
    if freeze and all(jax.tree.leaves(path_mask(params, freeze))):
      raise ValueError(
        f'freeze {freeze!r} finds every parameter; leave some to train'
      )
    return tx.init(params)

  return Optimizer(init, tx.update, schedule)


def _rate(peak, num_steps, warmup, step):
  """Linear from peak / warm-up steps to the peak, then a cosine to 0."""
  rising = jnp.round(warmup * num_steps)
  falling = jnp.maximum(num_steps, rising + 1) - rising
  first = 1.0 / jnp.maximum(rising, 1)
  ramp = first + (1 - first) * step / jnp.maximum(rising, 1)
  done = jnp.clip((step - rising) / falling, 0.0, 1.0)
  cosine = 0.5 * (1 + jnp.cos(jnp.pi * done))
  return peak * jnp.where(step < rising, ramp, cosine)


def _check_positive(**settings):
  for name, value in settings.items():
    if not isinstance(value, jax.core.Tracer) and not value > 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')


def path_mask(params: PyTree, pattern: str) -> PyTree:
  """Bool per leaf: does `pattern` find its path 'a/b/c'?

  Raises ValueError if it finds none: such a pattern is a typo.
  """
  chosen = _matching(params, pattern)
  if not any(jax.tree.leaves(chosen)):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [path_name(path) for path, _ in leaves]
    raise ValueError(
      f'pattern {pattern!r} finds none of the {len(names)} parameters; they '
      f'are called like {names[:3]}'
    )
  return chosen


def _matching(params, pattern):
  return jax.tree_util.tree_map_with_path(
    lambda path, _: bool(re.search(pattern, path_name(path))), params
  )


def path_name(path: tuple) -> str:
  """'a/b/c' of a jax key path."""
  return jax.tree_util.keystr(path, simple=True, separator='/')
