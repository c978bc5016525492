"""MinAtar games: physical state, palettes and scripted experts.

A frame is the simulator's own 10x10 channels seen through a palette; another
game needs a palette, a physical state and an expert, no renderer.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.envs.gymnax import raster

_PANEL = 0.45
_EDGE = np.array([0.5, 1.0, 1.0, 1.0, 1.0, 0.5], np.float32)
_CELL = np.outer(_EDGE, _EDGE)[None, :, None, :, None]  # 6 by 6 pixels
_WHITE = (245.0, 245.0, 235.0)
_ORANGE = (250.0, 150.0, 50.0)
_TEAL = (70.0, 210.0, 190.0)
_RED = (240.0, 80.0, 80.0)
_GREEN = (130.0, 220.0, 90.0)
_YELLOW = (252.0, 222.0, 90.0)
_HIDDEN = None

# One colour a channel, in the order of the simulator's observation; where two
# channels share a cell the earlier one is seen.
BREAKOUT_PALETTE = (_TEAL, _YELLOW, (120.0, 110.0, 60.0), _ORANGE)
FREEWAY_PALETTE = (
  _YELLOW,
  _RED,
  (70.0, 70.0, 190.0),
  (80.0, 120.0, 200.0),
  (90.0, 170.0, 200.0),
  (110.0, 200.0, 150.0),
  (150.0, 210.0, 100.0),
)
INVADERS_PALETTE = (_TEAL, _HIDDEN, _ORANGE, _GREEN, _WHITE, _RED)


def _camera(scene):
  """The camera shift in whole pixels (x, y), so that cells stay crisp."""
  return jnp.round(scene.shift).astype(jnp.int32)


def backdrop(scene):
  """A darkened panel for the cells."""
  xy = raster.grid(_camera(scene))
  panel = raster.box(xy, (32.0, 32.0), (30.5, 30.5))
  dark = 1.0 - _PANEL * jnp.clip(0.5 - panel, 0.0, 1.0)
  image = scene.background.astype(jnp.float32) * dark[:, :, None]
  return scene._replace(background=(image + 0.5).astype(jnp.uint8))


def draw(simulator, state, scene, palette):
  """Cells of `palette` over the scene, u8 [64, 64, 3]."""
  seen = simulator.get_obs(state) > 0
  shown, free = [], jnp.ones((10, 10), jnp.bool_)
  for channel, rgb in enumerate(palette):
    if rgb is not _HIDDEN:
      shown.append(seen[:, :, channel] & free)
      free &= ~seen[:, :, channel]
  rgb = jnp.stack([raster.colour(scene, c) for c in palette if c])
  ink = jnp.concatenate([rgb, jnp.ones_like(rgb[:, :1])], axis=1)
  # A matmul, so that XLA does not compute every cell anew at each of its
  # pixels (ten times slower).
  cells = jnp.einsum('cij,ck->ijk', jnp.stack(shown).astype(jnp.float32), ink)
  # The ring of empty cells makes of a camera shift a slice.
  cells = jnp.pad(cells, ((1, 1), (1, 1), (0, 0)))
  board = (cells[:, None, :, None, :] * _CELL).reshape(72, 72, 4)
  x, y = _camera(scene)
  board = jax.lax.dynamic_slice(board, (4 - y, 4 - x, 0), (64, 64, 4))
  image = scene.background.astype(jnp.float32) * (1.0 - board[:, :, 3:])
  return (image + board[:, :, :3] + 0.5).astype(jnp.uint8)


breakout_draw = functools.partial(draw, palette=BREAKOUT_PALETTE)
freeway_draw = functools.partial(draw, palette=FREEWAY_PALETTE)
invaders_draw = functools.partial(draw, palette=INVADERS_PALETTE)

BREAKOUT_NAMES = (
  'ball_x', 'ball_y', 'ball_dx', 'ball_dy', 'paddle_x', 'bricks',
)  # fmt: skip


def breakout_physical(state):
  """Ball and paddle in cells; direction ±1; how many bricks stand."""
  right = (state.ball_dir == 1) | (state.ball_dir == 2)
  down = state.ball_dir >= 2
  return (
    state.ball_x,
    state.ball_y,
    2.0 * right - 1.0,
    2.0 * down - 1.0,
    state.pos,
    jnp.sum(state.brick_map),
  )


def breakout_start(key, state):
  """Any column and direction of the ball, a paddle in reach, bricks missing.

  The game itself starts in one of two states, and one demonstration would
  tell all.
  """
  unit = jax.random.uniform(key, (103,))
  column = jnp.int32(10 * unit[0])
  right = unit[1] < 0.5
  landing = _fold(jnp.where(right, column, 19 - column) + 5)
  paddle = landing + jnp.int32(9 * unit[2]) - 4
  kept = unit[3:].reshape(10, 10) < 0.75
  return state.replace(
    ball_x=column,
    last_x=column,
    ball_dir=jnp.where(right, 2, 3),
    pos=jnp.clip(paddle, 0, 9),
    brick_map=state.brick_map * kept,
  )


def _fold(phase):
  """Column of a ball that bounces between the side walls; period 20."""
  phase = jnp.mod(phase, 20)
  return jnp.where(phase < 10, phase, 19 - phase)


def _flight(brick_map, phase):
  """Steps until a ball that leaves row 8 upwards strikes a brick; 99: none."""
  step = jnp.arange(1, 18)
  row = jnp.abs(8 - step + (step > 8))
  struck = brick_map[row, _fold(phase + step)] > 0
  return jnp.min(jnp.where(struck, step, 99))


def breakout_expert(state):
  """Follow the ball; meet it on the side that sends it to a brick sooner.

  A paddle under the ball's last column mirrors it, one under the column it
  enters turns it back.
  """
  right = (state.ball_dir == 1) | (state.ball_dir == 2)
  down = state.ball_dir >= 2
  phase = jnp.where(right, state.ball_x, 19 - state.ball_x)
  left = jnp.maximum(9 - state.ball_y, 1)
  under, beside = _fold(phase + left - 1), _fold(phase + left)
  on, back = phase + left, 19 - phase - left
  mirror = _flight(state.brick_map, on)
  turn = _flight(state.brick_map, back)
  turn = jnp.where(jnp.abs(beside - state.pos) <= left, turn, 100)
  target = jnp.where(down, jnp.where(turn < mirror, beside, under), under)
  target = jnp.where(down, target, _fold(phase + 1))
  return jnp.where(target < state.pos, 1, jnp.where(target > state.pos, 2, 0))


FREEWAY_NAMES = (
  'chicken_y',
  *(f'car{i}_x' for i in range(8)),
  *(f'car{i}_velocity' for i in range(8)),
)


def freeway_physical(state):
  """Rows and columns in cells; velocity in cells a simulator step."""
  pace = state.cars[:, 3]
  velocity = jnp.where(pace > 0, 1.0, -1.0) / (jnp.abs(pace) + 1.0)
  return state.pos, state.cars[:, 0], velocity


def freeway_start(key, state):
  """Cars anywhere on their lanes, the chicken ready to move."""
  unit = jax.random.uniform(key, (2, 8))
  column = jnp.int32(10 * unit[0])
  timer = jnp.int32((jnp.abs(state.cars[:, 3]) + 1) * unit[1])
  cars = state.cars.at[:, 0].set(column).at[:, 2].set(timer)
  return state.replace(cars=cars, move_timer=0)


def _struck(cars, frames):
  """Whether the chicken would be struck, bool [frames, 10] by frame and row.

  A car moves when its timer is out, then every pace + 1 frames, and strikes
  column 4 both before and after its move.
  """
  column, timer, pace = cars[:, 0], cars[:, 2], cars[:, 3]
  frame = jnp.arange(-1, frames)[:, None]
  period = jnp.abs(pace)[None, :] + 1
  moves = (frame - timer[None, :] + period) // period * (frame >= 0)
  at = jnp.mod(column[None, :] + jnp.sign(pace)[None, :] * moves, 10) == 4
  return jnp.pad(at[1:] | at[:-1], ((0, 0), (1, 1)))


def freeway_expert(state, repeat=3, decisions=16):
  """The fastest way across that no car crosses, looking 16 moves ahead.

  Cars run like clockwork between crossings, so the plan is a small dynamic
  program over (decision, row), and its first move is taken.
  """
  struck = _struck(state.cars, repeat * decisions)
  struck = jnp.any(struck.reshape(decisions, repeat, 10), axis=1)

  def back(value, step):
    hit, left = step
    value = jnp.where(hit, -10.0, value).at[0].set(left)
    up, down = value[:-1], value[1:]
    up = jnp.concatenate([value[:1], up])
    down = jnp.concatenate([down, value[-1:]])
    options = jnp.stack([value, up, down])
    return jnp.max(options, axis=0), options

  left = 1.0 + jnp.arange(decisions, 0.0, -1.0)
  start = -jnp.arange(10.0)
  _, options = jax.lax.scan(back, start, (struck, left), reverse=True)
  return jnp.argmax(options[0, :, state.pos] + jnp.array([0.0, 1e-3, 0.0]))


INVADERS_NAMES = (
  'cannon_x', 'aliens', 'aliens_left', 'aliens_right', 'aliens_bottom',
  'aliens_direction', 'shots', 'cooldown', 'bomb_x', 'bomb_y',
)  # fmt: skip
# Aliens have a colour for each direction.
INVADERS_VISIBLE = tuple(name for name in INVADERS_NAMES if name != 'cooldown')


def invaders_physical(state):
  """Cannon, the block of aliens, own shots, the lowest bomb (-1: none)."""
  column = jnp.any(state.alien_map > 0, axis=0)
  row = jnp.any(state.alien_map > 0, axis=1)
  bombs = state.e_bullet_map > 0
  lowest = 9 - jnp.argmax(jnp.any(bombs, axis=1)[::-1])
  any_bomb = jnp.any(bombs)
  return (
    state.pos,
    jnp.sum(state.alien_map),
    jnp.argmax(column),
    9 - jnp.argmax(column[::-1]),
    9 - jnp.argmax(row[::-1]),
    state.alien_dir,
    jnp.sum(state.f_bullet_map),
    state.shot_timer,
    jnp.where(any_bomb, jnp.argmax(bombs[lowest]), -1),
    jnp.where(any_bomb, lowest, -1),
  )


def invaders_start(key, state):
  """Cannon and aliens anywhere across, timers anywhere in their periods."""
  unit = jax.random.uniform(key, (5,))
  return state.replace(
    pos=jnp.int32(10 * unit[0]),
    alien_map=jnp.roll(state.alien_map, jnp.int32(5 * unit[1]) - 2, 1),
    alien_dir=jnp.where(unit[2] < 0.5, 1, -1),
    alien_move_timer=jnp.int32(13 * unit[3]),
    alien_shot_timer=1 + jnp.int32(10 * unit[4]),
  )


def _march(aliens, direction, moves):
  """One step of the block where `moves`: sideways, or down at a border."""
  edge = jnp.where(direction < 0, aliens[:, 0].sum(), aliens[:, 9].sum()) > 0
  side = jnp.where(
    direction < 0, jnp.roll(aliens, -1, 1), jnp.roll(aliens, 1, 1)
  )
  marched = jnp.where(edge, jnp.roll(aliens, 1, 0), side)
  turned = jnp.where(edge, -direction, direction)
  return (
    jnp.where(moves, marched, aliens),
    jnp.where(moves, turned, direction),
  )


def _kills(state):
  """Columns from which a shot fired now meets an alien, bool [10]."""

  def fly(carry, k):
    aliens, shots, direction, timer, met = carry
    shots = jnp.roll(shots, -1, 0).at[9].set(0)
    moves = timer == 0
    period = jnp.minimum(jnp.sum(aliens > 0), state.enemy_move_interval)
    aliens, direction = _march(aliens, direction, moves)
    timer = jnp.where(moves, period, timer) - 1
    hit = (aliens > 0) & (shots > 0)
    aliens, shots = aliens * (1 - hit), shots * (1 - hit)
    met |= aliens[8 - k] > 0
    return (aliens, shots, direction, timer, met), None

  start = (
    state.alien_map,
    state.f_bullet_map,
    jnp.asarray(state.alien_dir, jnp.int32),
    jnp.asarray(state.alien_move_timer, jnp.int32),
    jnp.zeros(10, jnp.bool_),
  )
  (*_, met), _ = jax.lax.scan(fly, start, jnp.arange(9))
  return met


def invaders_expert(state):
  """Dodge the bombs about to land, walk to the nearest sure shot, fire."""
  columns = jnp.arange(10)
  met = _kills(state)
  distance = jnp.abs(columns - state.pos) + 20 * ~met
  target = jnp.argmin(distance)
  place = jnp.clip(state.pos + jnp.array([0, -1, 1]), 0, 9)
  bombs = state.e_bullet_map > 0
  cost = (
    jnp.abs(place - target)
    + 100 * bombs[8, place]
    + 30 * bombs[7, place]
    + 5 * bombs[6, place]
  )
  move = jnp.argmin(cost)
  ready = (state.shot_timer == 0) & met[state.pos]
  return jnp.where((move == 0) & ready, 3, move)
