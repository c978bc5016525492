"""The words the rooms share, and the letters in array names.

Dimension glossary (`x_BTD` is an array of shape [B, T, D]):

  A  action dimension            L  codebook levels (or layers of a trunk)
  B  batch                       M  streams (modalities) of one time step
  C  chunk of future actions     N  samples of any kind (rows)
  D  width of a latent           P  physical state, or patches of an image
  E  environments in parallel    S  seeds
  H  attention heads             T  time steps of a clip or window
  K  clusters of a codebook      V  vocabulary of a discrete stream
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

Array = Any  # jax.Array or np.ndarray
PyTree = Any


@dataclasses.dataclass(frozen=True)
class StreamSpec:
  """A named, time-aligned sequence of one episode.

  `kind` is 'continuous' ([T, dim] floats), 'discrete' ([T, levels] integers
  below `vocab`) or 'prefix' ([L] integers, no time).
  """

  name: str
  kind: str
  dim: int = 0
  vocab: int = 0
  levels: int = 1


class Episode(NamedTuple):
  """One episode in RLDS terms, NumPy, T steps.

  `action[t]` follows `observation[t]`; `reward[t]` and `discount[t]` follow
  `action[t]`. `is_terminal` marks an end of the task, not of the recording.
  """

  observation: dict[str, np.ndarray]  # image [T, 64, 64, 3] uint8, state [T, P]
  action: np.ndarray  # [T] int32 or [T, A] float32
  reward: np.ndarray  # [T] float32
  discount: np.ndarray  # [T] float32
  is_first: np.ndarray  # [T] bool
  is_last: np.ndarray  # [T] bool
  is_terminal: np.ndarray  # [T] bool

  @property
  def length(self) -> int:
    """T; not `len()`, which counts the fields of a NamedTuple."""
    return len(self.reward)
