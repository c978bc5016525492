"""Trunks: what mixes tokens, one file a kind.

A file has

  Settings       frozen dataclass, of which `depth` counts the blocks
  VISIBILITIES   rules of `models/visibility.py` that it can do
  SHARDING       (regular expression on the path, an axis or None per dimension)
                 of parameters that are split, as `training/sharding.py` has it
  Trunk          module (settings, width, context)(x_BND, place, state=None)
                 -> (x_BND, layers, state): positions are its own; `layers` are
                 depth + 1 arrays [B, N, D], the first before any block
  check(settings, width)
                 ValueError 'key: found ...' where they do not go together
  start(settings, width, batch)
                 only where it carries a state: that of episodes that begin, a
                 tree of [batch, ...]. A window then goes on where the last one
                 stopped, of any length, a step or many: `state` in, `state` out
                 (None in: it begins). Tokens that are not there leave it as it
                 is.
"""

from typing import Any, Protocol

import flax.linen as nn

from rpt_jax import settings as keys
from rpt_jax.types import PyTree

ROOM = 'models/trunks'


class Kind(Protocol):
  """A file of this room; see above."""

  Settings: type
  VISIBILITIES: tuple[str, ...]
  SHARDING: tuple[tuple[str, tuple], ...]
  Trunk: type[nn.Module]

  def check(self, settings: Any, width: int) -> None: ...


def kind(settings: Any) -> Kind:
  """The file of a trunk."""
  return keys.module(ROOM, keys.kind(settings))


def start(settings: Any, width: int, batch: int) -> PyTree:
  """The state of `batch` episodes that begin; None where none is carried."""
  begin = getattr(kind(settings), 'start', None)
  return begin(settings, width, batch) if begin else None
