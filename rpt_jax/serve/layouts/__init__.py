"""Message layouts, one a file: how a client's words become requests.

A file has

    check(about)                           ValueError for what it cannot serve
    greeting(about) -> dict                what a client is sent first
    read(message, about) -> Reset | Act    ValueError for what is neither
    begun(about) -> answer                 to a Reset
    acted(chunk, timing, request, about) -> answer     to an Act

An answer is a text or a value to pack. `chunk` [C, A] or [C] is what is planned
from the observation's step on, `timing` {name: milliseconds}.
"""

import dataclasses
import importlib
import types

import numpy as np

from rpt_jax.policy.observed import Field

KINDS = ('openpi', 'roboarena')
PROMPT = 'prompt'  # What the robot is told; most policies read none.
# Errors name what is unknown, and look for what it may be meant as.
_MOST_NAMES, _LONGEST = 64, 200


@dataclasses.dataclass(frozen=True)
class About:
  """What is served.

  `names` {what the policy calls it: what clients call it, or the vectors that
  it is side by side}; empty: they call it alike. `execute` actions of a chunk
  are played before the next is asked for. `action_space` is RoboArena's word.
  """

  fields: dict[str, Field]
  chunk: int
  action_dim: int
  num_actions: int = 0
  labels: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  execute: int = 1
  names: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  action_space: str = 'joint_position'


def load(kind: str) -> types.ModuleType:
  """The layout of a kind, one of `KINDS`."""
  return importlib.import_module(f'rpt_jax.serve.layouts.{kind}')


def renamed(entries: dict, names: dict[str, tuple[str, ...]]) -> dict:
  """The observation in a message, under the names that the policy has for it.

  What is not in `names` is left out. Raises ValueError for what is missing and
  for vectors that do not fit side by side.
  """
  missing = [
    part for of in names.values() for part in of if part not in entries
  ]
  if missing:
    raise ValueError(
      f'observation: missing {missing}, found {sorted(map(str, entries))[:50]}'
    )
  seen = {}
  for name, of in names.items():
    parts = [np.asarray(entries[part]) for part in of]
    seen[name] = parts[0] if len(parts) == 1 else np.concatenate(parts, -1)
  return seen


def entries(message) -> dict:
  """A message that is a map by short texts; ValueError for any other."""
  if not isinstance(message, dict) or any(type(k) is not str for k in message):
    kind = type(message).__name__
    raise ValueError(f'message: found {kind}, expected a map of an observation')
  if len(message) > _MOST_NAMES or any(len(k) > _LONGEST for k in message):
    raise ValueError(
      f'message: found {len(message)} names, expected at most {_MOST_NAMES} of '
      f'{_LONGEST} letters'
    )
  return message
