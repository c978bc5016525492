"""Targets ahead of each step, and losses that count only what is there.

Targets may run past the window: inputs have T steps, targets S >= T, and
`target_valid` [B, S] says which of them belong to the clip.
"""

import jax.numpy as jnp
import numpy as np

from rpt_jax.types import Array

STEPS = (1, 4, 8)  # Ahead, that measures are given at.


def ahead(
  x_BS: Array, batch: dict, first: int, steps: int
) -> tuple[Array, Array]:
  """What follows each step t: x[t + first], ..., x[t + first + steps - 1].

  Args:
    x_BS: [B, S, ...] targets aligned with the inputs at their first step.
    batch: 'valid' [B, T] and, where S > T, 'target_valid' [B, S].

  Returns:
    ([B, T, steps, ...], bool [B, T, steps]): valid where the step itself and
    its target are; nothing beyond S is.

  Raises:
    ValueError: S does not fit the masks.
  """
  valid_BT = batch['valid']
  valid_BS = batch.get('target_valid', valid_BT)
  if x_BS.shape[:2] != valid_BS.shape:
    raise ValueError(
      f'targets: found {x_BS.shape[:2]} (batch, steps) with a mask of '
      f'{valid_BS.shape}; targets longer than the inputs need target_valid'
    )
  size = x_BS.shape[1]
  at = np.arange(valid_BT.shape[1])[:, None] + first + np.arange(steps)[None]
  inside = at < size
  at = np.minimum(at, size - 1)
  valid = valid_BS[:, at] & inside[None] & valid_BT[..., None]
  return x_BS[:, at], valid


def mean(x: Array, valid: Array) -> Array:
  """Sum of `x` where `valid` over their count; 0 where nothing is valid."""
  total, count = pair(x, valid)
  return total / jnp.maximum(count, 1.0)


def pair(x: Array, valid: Array) -> tuple[Array, Array]:
  """(sum of `x` where `valid`, count), as metrics are reported."""
  return jnp.where(valid, x, 0.0).sum(), valid.sum().astype(jnp.float32)


def by_step(measure: str, x_K: Array, valid_K: Array) -> dict:
  """{'<measure>_<k>': (sum, count)} of [..., K], k steps ahead, in `STEPS`."""
  return {
    f'{measure}_{k}': pair(x_K[..., k - 1], valid_K[..., k - 1])
    for k in STEPS
    if k <= x_K.shape[-1]
  }


def check(streams, expected, objective):
  """Raise ValueError for a target that an objective has no use for."""
  names = [stream.name for stream in streams]
  if set(names) - set(expected):
    raise ValueError(
      f'{objective}: found targets {names}, expected some of {expected}'
    )


def spec(streams, name, objective):
  """The target called `name`; raises ValueError naming what there is."""
  for stream in streams:
    if stream.name == name:
      return stream
  names = [s.name for s in streams]
  raise ValueError(f'{objective}: needs target {name!r}, found {names}')
