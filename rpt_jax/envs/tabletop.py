"""Coloured blocks on a table: one scene in which many things can be asked for.

A sentence asks for one of `NUM_GOALS` goals, a block in a corner, and nothing
but the sentence tells which. Positions are (x to the right, y down) in sides of
the frame. An action is one stroke of a hand, four numbers within -1 and 1:
where it takes hold, and how far it drags what lies there, at most `STROKE`.
All functions act on one table, of blocks [3, 2]; callers vmap them.
"""

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.types import Array

COLOURS = {'red': (220, 50, 50), 'green': (50, 180, 70), 'blue': (60, 90, 230)}
PLACES = {
  'top left': (0.14, 0.14),
  'top right': (0.86, 0.14),
  'bottom left': (0.14, 0.86),
  'bottom right': (0.86, 0.86),
}
TEMPLATES = (
  'put the {colour} block in the {place} corner',
  'the {colour} one belongs at the {place}',
  'move to the {place} the {colour} block',
)
BLOCKS, ACTION_DIM, STATE_DIM = len(COLOURS), 4, 2 * len(COLOURS)
NUM_GOALS = BLOCKS * len(PLACES)
STATE_NAMES = tuple(f'{c} {axis}' for c in COLOURS for axis in 'xy')
HALF, STROKE = 0.1, 0.25  # Of a block's side; of a stroke.
NEAR = 0.1  # A block nearer than that to where it should be is there.
MOST = 8  # Strokes that an expert needs at most.
_APART, _EDGE, _ARRIVED = 0.28, 0.14, 0.03
_TABLE = (196, 188, 176)
_HOLD_NOISE, _DRAG_NOISE = 0.02, 0.015  # Deviations of an expert's stroke.
_CORNERS_42 = np.array(list(PLACES.values()), np.float32)


def start(key: Array) -> Array:
  """Blocks anywhere on the table and apart, f32 [3, 2]."""
  drawn = jax.random.uniform(
    key, (32, BLOCKS, 2), minval=_EDGE, maxval=1 - _EDGE
  )
  apart = jnp.linalg.norm(drawn - jnp.roll(drawn, 1, axis=1), axis=-1).min(1)
  return drawn[(apart > _APART).argmax()]  # The first that are; or any.


def step(block_B2: Array, action_A: Array) -> Array:
  """The blocks after a stroke: the nearest one in reach goes along."""
  hold_2 = (action_A[:2] + 1) / 2
  far_B = jnp.abs(block_B2 - hold_2[None]).max(-1)
  held_B = (jnp.arange(BLOCKS) == far_B.argmin()) & (far_B <= HALF)
  length = jnp.linalg.norm(action_A[2:])
  drag_2 = STROKE * action_A[2:] / jnp.maximum(length, 1.0)
  moved_B2 = block_B2 + jnp.where(held_B[:, None], drag_2[None], 0.0)
  return moved_B2.clip(HALF, 1 - HALF)


def goal(index: Array) -> tuple[Array, Array]:
  """(which block, where it should be [2]) of a goal's number."""
  return index // len(PLACES), jnp.asarray(_CORNERS_42)[index % len(PLACES)]


def can_be_asked(block_B2: Array) -> Array:
  """Bool [NUM_GOALS]: the block is elsewhere, and no other in its corner."""
  away_BP = jnp.linalg.norm(block_B2[:, None] - _CORNERS_42[None], axis=-1)
  taken_BP = away_BP < _APART
  others_BP = taken_BP.sum(0)[None] - taken_BP > 0
  return ((away_BP > NEAR) & ~others_BP).reshape(-1)


def expert(block_B2: Array, own: Array, place_2: Array, key: Array) -> Array:
  """The stroke [4] that brings block `own` nearer to a place, a little off."""
  noise_22 = jax.random.normal(key, (2, 2))
  hold_2 = block_B2[own] + _HOLD_NOISE * noise_22[0].clip(-2, 2)
  drag_2 = place_2 - block_B2[own]
  length = jnp.linalg.norm(drag_2)
  drag_2 = drag_2 * jnp.minimum(1.0, STROKE / jnp.maximum(length, 1e-6))
  drag_2 = drag_2 + _DRAG_NOISE * noise_22[1].clip(-2, 2)
  return jnp.concatenate([2 * hold_2 - 1, drag_2 / STROKE]).clip(-1.0, 1.0)


def render(block_B2: Array, size: int = 64) -> Array:
  """The table from above, uint8 [size, size, 3]; red lies under blue."""
  centres = (jnp.arange(size) + 0.5) / size
  x, y = centres[None, :], centres[:, None]
  image = jnp.broadcast_to(jnp.float32(_TABLE), (size, size, 3))
  for at_2, rgb in zip(block_B2, COLOURS.values(), strict=True):
    far = jnp.maximum(jnp.abs(x - at_2[0]), jnp.abs(y - at_2[1])) - HALF
    shown = jnp.clip(0.5 - far * size, 0.0, 1.0)[..., None]
    image = image * (1 - shown) + jnp.float32(rgb)[None, None] * shown
  return (image + 0.5).astype(jnp.uint8)


def succeeded(first_B2: Array, last_B2: Array, index: Array) -> Array:
  """Whether a goal is reached, and no other block has been displaced."""
  own, place_2 = goal(index)
  target_B2 = first_B2.at[own].set(place_2)
  return (jnp.linalg.norm(last_B2 - target_B2, axis=-1) < NEAR).all()


def sentence(index: int, template: int) -> str:
  """What is said of a goal, one way to say it."""
  colour, place = divmod(int(index), len(PLACES))
  return TEMPLATES[template].format(
    colour=list(COLOURS)[colour], place=list(PLACES)[place]
  )


def told(key: Array) -> dict[str, Array]:
  """What an expert made of a table: blocks 'first', 'last' and the 'goal'."""
  start_key, goal_key, key = jax.random.split(key, 3)
  first_B2 = start(start_key)
  index = jax.random.categorical(
    goal_key, jnp.where(can_be_asked(first_B2), 0.0, -jnp.inf)
  )
  own, place_2 = goal(index)

  def stroke(block_B2, key):
    arrived = jnp.linalg.norm(block_B2[own] - place_2) < _ARRIVED
    moved_B2 = step(block_B2, expert(block_B2, own, place_2, key))
    return jnp.where(arrived, block_B2, moved_B2), None

  last_B2, _ = jax.lax.scan(stroke, first_B2, jax.random.split(key, MOST))
  return {'first': first_B2, 'last': last_B2, 'goal': index}


def play(key: Array, steps: int) -> dict[str, Array]:
  """One thing after another, and nobody asks for it.

  Returns:
    'block' f32 [T, 3, 2] and the 'action' f32 [T, 4] that follows each.
  """
  start_key, aim_key, key = jax.random.split(key, 3)
  block_B2 = start(start_key)

  def stroke(carry, key):
    block_B2, (own, place_2) = carry
    aim_key, key = jax.random.split(key)
    arrived = jnp.linalg.norm(block_B2[own] - place_2) < _ARRIVED
    new = _aim(aim_key, block_B2)
    own = jnp.where(arrived, new[0], own)
    place_2 = jnp.where(arrived, new[1], place_2)
    action_A = expert(block_B2, own, place_2, key)
    moved_B2 = step(block_B2, action_A)
    return (moved_B2, (own, place_2)), {'block': block_B2, 'action': action_A}

  begun = block_B2, _aim(aim_key, block_B2)
  _, episode = jax.lax.scan(stroke, begun, jax.random.split(key, steps))
  return episode


def _aim(key, block_B2):
  """A block and where to: some corner, or anywhere that is free."""
  corner_key, own_key, place_key, which_key = jax.random.split(key, 4)
  asked = jnp.where(can_be_asked(block_B2), 0.0, -jnp.inf)
  corner = goal(jax.random.categorical(corner_key, asked))
  own = jax.random.randint(own_key, (), 0, BLOCKS)
  place_N2 = jax.random.uniform(
    place_key, (16, 2), minval=_EDGE, maxval=1 - _EDGE
  )
  far_NB = jnp.linalg.norm(place_N2[:, None] - block_B2[None], axis=-1)
  far_NB = jnp.where((jnp.arange(BLOCKS) == own)[None], 1.0, far_NB)
  anywhere = own, place_N2[(far_NB.min(1) > _APART).argmax()]
  in_corner = jax.random.bernoulli(which_key)
  return jax.tree.map(lambda a, b: jnp.where(in_corner, a, b), corner, anywhere)
