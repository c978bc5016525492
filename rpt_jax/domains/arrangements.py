"""Objects on a table, and what sentences say of how they stand.

A clip of a scene is two frames of it from slightly different places, its
instruction what `vision/relations.py` writes: which objects are there, what is
on, near, left or in front of what, what is in the drawer or in the gripper.
Beside scenes there are views of each object alone. Objects of two colours and
of one size are in no clip of `pretrain`; half the scenes of `heldout` are of
nothing else ('new'), and its last clips are a film of one frame each, in which
the gripper carries an object into the drawer.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rpt_jax import results
from rpt_jax.domains.unacted import Drawn, episode
from rpt_jax.envs import arrangements
from rpt_jax.envs.arrangements import Placed, Thing
from rpt_jax.settings import key
from rpt_jax.vision import relations
from rpt_jax.vision.relations import Scene

NEW: Mapping[str, Sequence[str]] = {
  'colour': ('orange', 'cyan'),
  'size': ('medium',),
}
STEPS = 2  # Frames of a scene.
_APART, _NEAR, _ASIDE = 0.07, 0.1, 0.02  # Metres between centres.
_LIFT = 0.13  # Metres; of the gripper, at least.
_FILM = 12  # Frames.


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many scenes, of how many objects."""

  size: int = key(96, 'pixels', low=16, high=1024)
  pretrain: int = key(3000, 'scenes', low=1, high=10_000_000)
  heldout: int = key(400, 'scenes', low=2, high=10_000_000)
  objects: tuple[int, int] = key(
    (3, 5), 'of a scene, at least and at most', low=2, high=arrangements.SLOTS
  )
  views: int = key(8, 'frames of each object alone', low=1, high=10_000)

  def check(self, where: str) -> None:
    """Raises ValueError unless objects are (low, high)."""
    from rpt_jax.settings import ordered

    ordered(self.objects, f'{where}.objects')


def domains(name: str, settings: Settings, seed: int):
  """The one set of scenes of an entry."""
  return (Arrangements(name, settings, seed),)


def things(new: bool) -> list[Thing]:
  """Those that training sees, or those that it does not."""
  every = itertools.product(
    arrangements.SIZES, arrangements.COLOURS, arrangements.SHAPES
  )
  return [
    thing for thing in itertools.starmap(Thing, every) if is_new(thing) == new
  ]


def is_new(thing: Thing) -> bool:
  """Whether training never sees its colour, or its size."""
  return thing.colour in NEW['colour'] or thing.size in NEW['size']


@dataclasses.dataclass(frozen=True)
class Arrangements(Drawn):
  """A set of scenes; its state is where objects are, zeros for none."""

  settings: Settings
  seed: int
  probed = ()  # Slots are of other objects each time.
  state_dim = 3 * arrangements.SLOTS

  @property
  def longest(self) -> int:
    return max(STEPS, self.settings.views)

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes both splits; rows: clips and frames."""
    splits, metadata = {}, {}
    with arrangements.Studio(self.settings.size) as studio:
      for i, split in enumerate(self.splits):
        rng = np.random.default_rng([self.seed, i])
        clips = [*self._clips(studio, rng, split)]
        splits[split] = [clip for clip, _ in clips]
        metadata[split] = [{'instruction': text} for _, text in clips]
    return self.written(directory, splits, metadata)

  def describe(self) -> str:
    return f'{self.name}: objects on a table, {self.settings.size} px frames'

  def table(self) -> list[str]:
    c = self.settings
    return [
      f'{self.name:26} image [T, {c.size}, {c.size}, 3] u8, state '
      f'[T, {self.state_dim}], a sentence; T = {STEPS}, {c.views} of views'
    ]

  def _clips(self, studio, rng, split):
    """(episode, sentence) of all views, scenes and the film of a split."""
    c, held = self.settings, split == 'heldout'
    for thing in [*things(False), *(things(True) if held else ())]:
      views = np.stack([studio.view(rng, thing) for _ in range(c.views)])
      yield _episode(views, ()), f'{relations.VIEW}: {thing.name}.'
    for i in range(getattr(c, split)):
      new = held and i % 2 == 1
      count = rng.integers(c.objects[0], c.objects[1] + 1)
      placed, gripper = arranged(rng, things(new), count)
      frames = [studio.draw(rng, placed, gripper) for _ in range(STEPS)]
      kind = relations.NEW if new else relations.SCENE
      text = relations.write(told(kind, placed, gripper))
      yield _episode(np.stack(frames), placed), text
    if held:
      for placed, gripper in film(rng):
        frame = studio.draw(rng, placed, gripper)
        text = relations.write(told(relations.FILM, placed, gripper))
        yield _episode(frame[None], placed), text


def arranged(rng, kinds: Sequence[Thing], count: int):
  """(objects placed, where the gripper is): one may be held, some stacked."""
  chosen = [kinds[i] for i in rng.choice(len(kinds), count, replace=False)]
  gripper = np.array([*_spot(rng), rng.uniform(_LIFT, 0.2)])
  held, stored = rng.random() < 0.35, rng.random() < 0.4
  placed, bases = [], []
  for thing in chosen:
    turn = rng.uniform(-np.pi, np.pi)
    if held:
      held, centre, turn = False, gripper, 0.0
    elif stored:
      stored, aside = False, rng.uniform(-0.025, 0.025, 2)
      centre = np.array([*(arrangements.DRAWER + aside), thing.half])
    elif bases and rng.random() < 0.3:
      base = bases.pop(rng.integers(len(bases)))
      top = base.centre[2] + base.thing.half + thing.half
      centre = np.array([*base.centre[:2], top])
    else:
      centre = _free(rng, thing, placed)
      bases.append(Placed(thing, centre, turn))
    placed.append(Placed(thing, centre, turn))
  order = rng.permutation(count)
  return [placed[i] for i in order], gripper


def _spot(rng):
  """A place on the table, (x, y)."""
  return rng.uniform((-0.18, -0.13), (0.18, 0.13))


def _free(rng, thing, placed):
  """A centre on the table, apart from the drawer and from what stands."""
  while True:
    x, y = _spot(rng)
    away = np.abs(np.subtract((x, y), arrangements.DRAWER)).max() > 0.115
    centre = np.array([x, y, thing.half])
    others = (p.centre[:2] - centre[:2] for p in placed)
    if away and all(np.hypot(*other) > _APART for other in others):
      return centre


def told(kind: str, placed: Sequence[Placed], gripper) -> Scene:
  """What is so: left and in front by 2 cm at least, near within 10 cm."""
  centre_N3 = np.stack([p.centre for p in placed])
  half_N = np.array([p.thing.half for p in placed])
  aside = np.abs(centre_N3[:, :2] - np.array(arrangements.DRAWER)).max(1)
  in_drawer_N = (aside < 0.065) & (centre_N3[:, 2] < 0.06)
  in_gripper_N = np.linalg.norm(centre_N3 - gripper, axis=1) < 0.01
  from_NN3 = centre_N3[:, None] - centre_N3[None]  # From the second.
  flat_NN = np.linalg.norm(from_NN3[..., :2], axis=-1)
  above_NN = from_NN3[..., 2] - half_N[:, None] - half_N[None]
  two_NNR = np.stack(
    [
      (flat_NN < 0.02) & (np.abs(above_NN) < 0.005),
      from_NN3[..., 0] < -_ASIDE,
      from_NN3[..., 1] < -_ASIDE,
      np.linalg.norm(from_NN3, axis=-1) < _NEAR,
    ],
    axis=-1,
  )
  two_NNR &= ~np.eye(len(placed), dtype=bool)[..., None]
  one_NU = np.stack([in_gripper_N, in_drawer_N], axis=1)
  return Scene(kind, tuple(p.thing.name for p in placed), one_NU, two_NNR)


def film(rng):
  """Yields scenes: the first object, a new one, is put into the drawer."""
  old, new = things(False), things(True)
  carried = new[rng.integers(len(new))]
  kinds = [old[i] for i in rng.choice(len(old), 2, replace=False)]
  left, front = (
    np.array([x, y, k.half])
    for (x, y), k in zip(((-0.06, 0.05), (0.05, -0.08)), kinds, strict=True)
  )
  rest = [Placed(kinds[0], left, 0.4), Placed(kinds[1], front, 0.9)]
  start = np.array([-0.15, -0.05, carried.half])
  end = np.array([*arrangements.DRAWER, carried.half])
  for share in np.linspace(0, 1, _FILM):
    centre = start + share * (end - start)
    lift = min(4 * share, 4 * (1 - share), 1.0) * (_LIFT + 0.02)
    centre[2] += lift
    gripper = centre if lift else centre + np.array([0.0, 0.0, _LIFT])
    yield [Placed(carried, centre, 0.0), *rest], gripper


def _episode(image_THWC, placed):
  """Frames, and where the objects of a scene are."""
  state_P = np.zeros(3 * arrangements.SLOTS, np.float32)
  for slot, each in enumerate(placed):
    state_P[3 * slot : 3 * slot + 3] = each.centre
  steps = len(image_THWC)
  return episode(
    {'image': image_THWC, 'state': np.tile(state_P, (steps, 1))}, steps
  )
