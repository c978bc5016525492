"""What a sentence says of a scene: its objects, and how they stand.

The instruction of a clip, in words that are written and read here alone:

    scene: small red cube, large blue cylinder. small red cube is on large blue
    cylinder; large blue cylinder is in the drawer
    view: small red cube

A `view` shows one object alone, as whoever asks for it shows it; a 'scene' and
a 'film' hold all objects named, a 'new' one objects that no training has seen.
What is not said of named objects is not so.
"""

import itertools
from typing import NamedTuple

import numpy as np

VIEW, SCENE, NEW, FILM = KINDS = 'view', 'scene', 'new', 'film'
OF_ONE = ('in the gripper', 'in the drawer')
OF_TWO = ('on', 'left of', 'in front of', 'near')


class Scene(NamedTuple):
  """Objects by name; `one_NU` bool [N, 2] as `OF_ONE`, `two_NNR` [N, N, 4]:
  whether the first is `OF_TWO` the second."""

  kind: str
  names: tuple[str, ...]
  one_NU: np.ndarray
  two_NNR: np.ndarray


def write(scene: Scene) -> str:
  """The sentence that `read` reads."""
  names, said = scene.names, []
  for i, u in np.argwhere(scene.one_NU):
    said.append(f'{names[i]} is {OF_ONE[u]}')
  for i, j, r in np.argwhere(scene.two_NNR):
    said.append(f'{names[i]} is {OF_TWO[r]} {names[j]}')
  return f'{scene.kind}: {", ".join(names)}. {"; ".join(said)}'.strip()


def read(text: str) -> Scene | None:
  """What a sentence says; None where it is of other words."""
  kind, _, rest = text.partition(': ')
  listed, _, told = rest.partition('.')
  names = tuple(listed.split(', ')) if listed else ()
  if kind not in KINDS or not names or len({*names}) < len(names):
    return None
  count = len(names)
  one_NU = np.zeros((count, len(OF_ONE)), bool)
  two_NNR = np.zeros((count, count, len(OF_TWO)), bool)
  meaning = {
    f'{name} is {words}': (one_NU, (i, u))
    for i, name in enumerate(names)
    for u, words in enumerate(OF_ONE)
  } | {
    f'{names[i]} is {words} {names[j]}': (two_NNR, (i, j, r))
    for i, j in itertools.permutations(range(count), 2)
    for r, words in enumerate(OF_TWO)
  }
  for statement in filter(None, told.strip().split('; ')):
    if statement not in meaning:
      return None
    table, place = meaning[statement]
    table[place] = True
  return Scene(kind, names, one_NU, two_NNR)


def f1(said: np.ndarray, true: np.ndarray) -> float:
  """2 TP / (2 TP + FP + FN); NaN where nothing is so and nothing is said."""
  right, either = (said & true).sum(), said.sum() + true.sum()
  return float(2 * right / either) if either else float('nan')
