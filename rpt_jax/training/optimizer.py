"""AdamW with warm-up, cosine decay, clipping, and decay on kernels only.

What is frozen gets no update and has no moments.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import jax
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
) -> Optimizer:
  """AdamW: linear warm-up to the peak, cosine to 0, global-norm clipping.

  Args:
    learning_rate: the peak.
    num_steps: of the whole training.
    weight_decay: for parameters whose path ('trunk/blocks/up/kernel') the
      regular expression `decay` finds.
    warmup: share of the steps.
    clip: largest norm of the gradient of what trains.
    freeze: parameters whose path this regular expression finds stay as they
      are; '' freezes none.

  Raises:
    ValueError: a setting out of range, or (at init) `decay` or `freeze` finds
      nothing, or `freeze` everything.
  """
  _check_positive(learning_rate=learning_rate, num_steps=num_steps, clip=clip)
  if not (weight_decay >= 0 and 0 <= warmup < 1):
    raise ValueError(
      f'weight_decay {weight_decay}, warmup {warmup}: expected at least 0, '
      'and a share in [0, 1)'
    )
  warmup_steps = round(warmup * num_steps)
  schedule = optax.warmup_cosine_decay_schedule(
    learning_rate / max(warmup_steps, 1),
    learning_rate,
    warmup_steps,
    max(num_steps, warmup_steps + 1),
  )
  tx = optax.chain(
    optax.clip_by_global_norm(clip),
    optax.adamw(
      schedule,
      b2=b2,
      weight_decay=weight_decay,
      mask=lambda params: _found(params, decay),
    ),
  )
  if freeze:
    parts = {True: optax.set_to_zero(), False: tx}
    tx = optax.partition(parts, lambda params: _found(params, freeze))

  def init(params):
    path_mask(params, decay)
    if freeze and all(jax.tree.leaves(path_mask(params, freeze))):
      raise ValueError(
        f'freeze {freeze!r} finds every parameter; leave some to train'
      )
    return tx.init(params)

  return Optimizer(init, tx.update, schedule)


def _check_positive(**settings):
  for name, value in settings.items():
    if not value > 0:
      raise ValueError(f'{name}: found {value}, expected a positive number')


def path_mask(params: PyTree, pattern: str) -> PyTree:
  """Bool per leaf: does `pattern` find its path 'a/b/c'?

  Raises ValueError if it finds none: such a pattern is a typo.
  """
  chosen = _found(params, pattern)
  if not any(jax.tree.leaves(chosen)):
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [path_name(path) for path, _ in leaves]
    raise ValueError(
      f'pattern {pattern!r} finds none of the {len(names)} parameters; they '
      f'are called like {names[:3]}'
    )
  return chosen


def _found(params, pattern):
  return jax.tree_util.tree_map_with_path(
    lambda path, _: bool(re.search(pattern, path_name(path))), params
  )


def path_name(path: tuple) -> str:
  """'a/b/c' of a jax key path."""
  return jax.tree_util.keystr(path, simple=True, separator='/')
