"""The words the rooms share, and the letters in array names.

Dimension glossary (`x_BTD` is an array of shape [B, T, D]):

  A  action dimension            L  codebook levels, or tokens of a prefix
  B  batch                       M  streams (modalities) of one time step
  C  chunk of future actions     N  samples of any kind (rows)
  D  width of a latent           P  physical state, or patches of an image
  E  environments in parallel    S  seeds
  H  attention heads             T  time steps of a clip or window
  K  clusters of a codebook      V  vocabulary of a discrete stream
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import numpy as np

Array = Any  # jax.Array or np.ndarray
PyTree = Any

# Names of streams; "latent" is all cameras side by side, "latent/<camera>" one.
LATENT, CAMERA = 'latent', 'latent/'
UNIT, ACTION = 'unit', 'action'
TEXT = 'text'  # The instruction of an episode, a prefix.
TOKEN = 'token'  # What a document says, step by step.


@dataclasses.dataclass(frozen=True)
class StreamSpec:
  """A named, time-aligned sequence of one episode, or what stands before it.

  `kind` is 'continuous' ([T, dim] floats), 'discrete' ([T, levels] integers
  below `vocab`) or 'prefix' ([levels] integers below `vocab`, no time: a
  sentence of at most that many tokens, negative where there is none; with `dim`
  [levels, dim] floats, vectors of it, zeros where there is none). With
  `motion` a model reads beside each value its change since the step before.

  Raises ValueError for motion of what is not continuous.
  """

  name: str
  kind: str
  dim: int = 0
  vocab: int = 0
  levels: int = 1
  motion: bool = False

  def __post_init__(self):
    if self.motion and self.kind != 'continuous':
      raise ValueError(
        f'stream {self.name!r}: found motion of a {self.kind} stream, expected '
        'a continuous one: only numbers have a difference'
      )

  @property
  def timed(self) -> bool:
    """Has it a value at every step, and so a place among the M?"""
    return self.kind != 'prefix'


class DatasetNames(NamedTuple):
  """How a dataset has what a policy sees.

  Attributes:
    columns: {entry of an observation: columns that it is made of, in order};
      vectors of several are joined along the last axis.
    sizes: {camera: (height, width) of recorded frames}, where training saw
      them scaled by `episodes.decode.resize`.
  """

  columns: Mapping[str, tuple[str, ...]] = {}
  sizes: Mapping[str, tuple[int, int]] = {}

  def only(self, entries: Collection[str]) -> 'DatasetNames':
    """Of some entries alone."""
    chosen = ({k: v for k, v in x.items() if k in entries} for x in self)
    return DatasetNames(*chosen)


class Batch(TypedDict):
  """What an objective learns from: B windows of T steps, drawn once.

  Inputs and targets start at the same step; targets may run on beyond the
  window, S >= T. What is absent or padded may hold anything.
  """

  inputs: dict[str, Array]  # stream: [B, T, dim] f32, scaled; [B, T, levels]
  # integers; a prefix [B, L] integers, negative where there is none, or
  # [B, L, dim] f32, zeros where there is none
  targets: dict[str, Array]  # likewise, [B, S, ...]
  valid: Array  # [B, T] bool: the step belongs to the clip
  target_valid: NotRequired[Array]  # [B, S]; without it `valid`
  present: NotRequired[Array]  # [B, T, M]: the stream is there at that step


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
