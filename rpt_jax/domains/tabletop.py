"""Coloured blocks on a table, and sentences that say what is to be done.

A clip of `pretrain` and `heldout` is a table before and after, and its
instruction is what was asked for between; every table lets one ask for many
things, so that only the sentence tells which. Episodes of `play` are strokes of
a hand that pursues one thing after another, with its actions, and nobody says
anything. Policies act in it by `attempt`, in jitted JAX.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import results
from rpt_jax.domains.unacted import Drawn, episode
from rpt_jax.envs import tabletop
from rpt_jax.settings import key
from rpt_jax.types import Array, Episode

_STEPS = 2  # Frames of a clip with a sentence.


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many tables there are of each kind."""

  size: int = key(64, 'pixels', low=16, high=1024)
  pretrain: int = key(
    3000, 'tables before and after, with a sentence', low=1, high=10_000_000
  )
  heldout: int = key(200, 'likewise; never trained on', low=1, high=10_000_000)
  play: int = key(
    400, 'episodes of strokes that nobody asked for', low=1, high=10_000_000
  )
  play_steps: int = key(24, 'strokes of each', low=2, high=10_000)


class Tables(NamedTuple):
  """N tables before and after, and what was asked for."""

  first_NP: np.ndarray  # Positions of blocks, in sides of the frame.
  last_NP: np.ndarray
  goal_N: np.ndarray
  texts: list[str]


def domains(name: str, settings: Settings, seed: int):
  """The one set of tables of an entry."""
  return (Tabletop(name, settings, seed),)


@dataclasses.dataclass(frozen=True)
class Tabletop(Drawn):
  """A set of tables; the state is where the blocks are."""

  settings: Settings
  seed: int
  splits = ('pretrain', 'heldout', 'play')
  demos = 'play'
  probed = ('state',)
  state_dim = tabletop.STATE_DIM
  visible = tuple(range(tabletop.STATE_DIM))
  action_dim = tabletop.ACTION_DIM
  near = tabletop.NEAR
  strokes = tabletop.MOST  # That suffice for what a sentence asks for.

  @property
  def longest(self) -> int:
    return _STEPS

  def collect(self, directory: Path) -> list[results.Row]:
    """Writes all splits; rows: episodes and frames."""
    splits, metadata = {}, {}
    for i, split in enumerate(self.splits):
      count = getattr(self.settings, split)
      base = jax.random.fold_in(jax.random.key(self.seed), i)
      keys = jax.random.split(base, count)
      make = self._played if split == 'play' else self._told
      splits[split], metadata[split] = make(keys, [self.seed, i])
    return self.written(directory, splits, metadata)

  def describe(self) -> str:
    return f'{self.name}: coloured blocks on a table, with sentences'

  def table(self) -> list[str]:
    size, dim = self.settings.size, self.state_dim
    return [
      f'{self.name:26} image [T, {size}, {size}, 3] u8, state [T, {dim}], a '
      f'sentence; T = {_STEPS}, of play {self.settings.play_steps} with '
      f'actions of {self.action_dim} numbers'
    ]

  def tables(self, collected: Path, split: str) -> Tables:
    """Those of a split with sentences, in its order."""
    source = self.source(collected, split)
    state_NP = source.read_all(('state',)).arrays['state']
    state_NTP = state_NP.reshape(len(source), _STEPS, -1)
    about = [source.metadata(i) for i in range(len(source))]
    goal_N = np.array([each['goal'] for each in about], np.int32)
    texts = [each['instruction'] for each in about]
    return Tables(state_NTP[:, 0], state_NTP[:, 1], goal_N, texts)

  def attempt(
    self,
    act: Callable[[Array, Array], Array],
    first_NP: Array,
    key: Array,
    strokes: int,
  ) -> dict[str, Array]:
    """N tables under a policy, for `jit`.

    Args:
      act: (frames uint8 [N, H, W, 3], key) -> actions [N, A].

    Returns:
      'state' [T + 1, N, P] and 'image' uint8 [T + 1, N, H, W, 3], T = strokes.
    """
    first_NB2 = first_NP.reshape(len(first_NP), -1, 2)

    def stroke(block_NB2, key):
      image_NHWC = self._drawn(block_NB2)
      action_NA = act(image_NHWC, key).clip(-1.0, 1.0)
      return jax.vmap(tabletop.step)(block_NB2, action_NA), (
        block_NB2,
        image_NHWC,
      )

    last, (block, image) = jax.lax.scan(
      stroke, first_NB2, jax.random.split(key, strokes)
    )
    block = jax.numpy.concatenate([block, last[None]])
    image = jax.numpy.concatenate([image, self._drawn(last)[None]])
    return {'state': block.reshape(*block.shape[:2], -1), 'image': image}

  def succeeded(self, tables: Tables, last_NP: Array) -> Array:
    """Bool [N]: what was asked for is so, and nothing else is otherwise."""
    first, last = (x.reshape(len(x), -1, 2) for x in (tables.first_NP, last_NP))
    return jax.vmap(tabletop.succeeded)(first, last, tables.goal_N)

  def own(self, goal_N: np.ndarray) -> np.ndarray:
    """Which block each goal is of: [N]."""
    return np.asarray(tabletop.goal(goal_N)[0])

  def _drawn(self, block_NB2):
    size = self.settings.size
    return jax.vmap(lambda block: tabletop.render(block, size))(block_NB2)

  def _told(self, keys, seed):
    """Clips of a table before and after, and what is said of each."""
    drawn = jax.jit(jax.vmap(tabletop.told))(keys)
    block_NTB2 = np.stack([drawn['first'], drawn['last']], 1)
    rng, about = np.random.default_rng(seed), []
    for index in np.asarray(drawn['goal']):
      template = int(rng.integers(len(tabletop.TEMPLATES)))
      said = tabletop.sentence(index, template)
      about.append({'instruction': said, 'goal': int(index)})
    nothing_TA = np.zeros((_STEPS, self.action_dim), np.float32)
    return self._episodes(block_NTB2, [nothing_TA] * len(keys)), about

  def _played(self, keys, seed):
    """Episodes of play; nothing is drawn by a seed of NumPy."""
    del seed
    steps = self.settings.play_steps
    drawn = jax.jit(jax.vmap(lambda k: tabletop.play(k, steps)))(keys)
    about = [{'instruction': '', 'goal': -1}] * len(keys)
    action_NTA = np.asarray(drawn['action'])
    return self._episodes(np.asarray(drawn['block']), action_NTA), about

  def _episodes(self, block_NTB2, actions) -> list[Episode]:
    draw = jax.jit(self._drawn)
    return [
      episode(
        {
          'image': np.asarray(draw(block_TB2)),
          'state': block_TB2.reshape(len(block_TB2), -1).astype(np.float32),
        },
        len(block_TB2),
      )._replace(action=np.asarray(action_TA, np.float32))
      for block_TB2, action_TA in zip(block_NTB2, actions, strict=True)
    ]
