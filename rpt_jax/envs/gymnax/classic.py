"""Classic control: physical state, renderer and scripted expert of each.

A backdrop paints what never moves into the scene, once a clip; a renderer
draws the rest, in pixels, y down, 64 by 64.
Experts are functions of the present state alone. Their constants were found
by random search over returns at the action repeat of the catalogue.
"""

import jax.numpy as jnp

from rpt_jax.envs.gymnax import raster

_STEEL = (186.0, 196.0, 214.0)
_ORANGE = (250.0, 150.0, 50.0)
_TEAL = (70.0, 210.0, 190.0)
_YELLOW = (252.0, 222.0, 90.0)
_RED = (240.0, 80.0, 80.0)
_GROUND = (112.0, 98.0, 84.0)

CARTPOLE_NAMES = ('x', 'x_dot', 'angle_sin', 'angle_cos', 'angle_dot')
CARTPOLE_VISIBLE = ('x', 'angle_sin', 'angle_cos')


def cartpole_physical(state):
  """Cart position and velocity; the pole's angle from upright."""
  angle = state.theta
  return (
    state.x,
    state.x_dot,
    jnp.sin(angle),
    jnp.cos(angle),
    state.theta_dot,
  )


def cartpole_backdrop(scene):
  """The track."""
  xy = raster.grid(scene.shift)
  track = raster.box(xy, (32.0, 54.0), (40.0, 1.5))
  return raster.repaint(scene, [(track, _STEEL)])


def cartpole_draw(_, state, scene):
  """The cart on its track; the pole longer than life, to be legible."""
  xy = raster.grid(scene.shift)
  x, y = 32.0 + 11.0 * state.x, 46.0
  tip = (x + 38.0 * jnp.sin(state.theta), y - 38.0 * jnp.cos(state.theta))
  return raster.paint(
    scene,
    [
      (raster.box(xy, (x, y + 2.0), (9.0, 5.0)), _TEAL),
      (raster.capsule(xy, (x, y), tip, 2.6), _ORANGE),
      (raster.disc(xy, (x, y), 1.6), _YELLOW),
    ],
  )


def cartpole_expert(state):
  """Bang-bang state feedback: push towards where the pole falls."""
  lean = 0.0957 * state.x + 0.1912 * state.x_dot
  lean += 2.2196 * state.theta + 0.5569 * state.theta_dot
  return lean > 0.0


ACROBOT_NAMES = (
  'angle1_sin', 'angle1_cos', 'angle2_sin', 'angle2_cos',
  'angle1_dot', 'angle2_dot',
)  # fmt: skip
ACROBOT_VISIBLE = ACROBOT_NAMES[:4]


def acrobot_physical(state):
  """Angle of the first link from hanging, of the second from the first."""
  first, second = state.joint_angle1, state.joint_angle2
  return (
    jnp.sin(first),
    jnp.cos(first),
    jnp.sin(second),
    jnp.cos(second),
    state.velocity_1,
    state.velocity_2,
  )


def acrobot_backdrop(scene):
  """The height to be reached."""
  xy = raster.grid(scene.shift)
  goal = raster.box(xy, (32.0, 18.5), (40.0, 0.5))
  return raster.repaint(scene, [(goal, _RED)])


def acrobot_draw(_, state, scene):
  """Two links from the centre."""
  xy = raster.grid(scene.shift)
  first = state.joint_angle1
  both = first + state.joint_angle2
  elbow = (32.0 + 13.5 * jnp.sin(first), 32.0 + 13.5 * jnp.cos(first))
  tip = (elbow[0] + 13.5 * jnp.sin(both), elbow[1] + 13.5 * jnp.cos(both))
  return raster.paint(
    scene,
    [
      (raster.capsule(xy, (32.0, 32.0), elbow, 2.6), _TEAL),
      (raster.capsule(xy, elbow, tip, 2.6), _ORANGE),
      (raster.disc(xy, (32.0, 32.0), 1.8), _STEEL),
      (raster.disc(xy, elbow, 1.8), _YELLOW),
    ],
  )


def acrobot_expert(state):
  """Energy pumping: torque by the sign of velocities, timed by the angles."""
  first, second = state.joint_angle1, state.joint_angle2
  drive = 2.3313 * state.velocity_2 - 0.9606 * state.velocity_1
  drive += 1.4 * jnp.sin(first) - 0.1692 * jnp.sin(second)
  drive -= 1.1588 * jnp.sin(first + second)
  return jnp.where(drive > 0.0, 2, 0)


PENDULUM_NAMES = ('angle_sin', 'angle_cos', 'angle_dot')
PENDULUM_VISIBLE = ('angle_sin', 'angle_cos')


def pendulum_physical(state):
  """Angle from upright, and its velocity."""
  return jnp.sin(state.theta), jnp.cos(state.theta), state.theta_dot


def pendulum_backdrop(scene):
  """A mark where up is."""
  xy = raster.grid(scene.shift)
  mark = raster.box(xy, (32.0, 3.5), (4.0, 1.0))
  return raster.repaint(scene, [(mark, _RED)])


def pendulum_draw(_, state, scene):
  """A rod with a bob about the centre."""
  xy = raster.grid(scene.shift)
  x = 32.0 + 22.0 * jnp.sin(state.theta)
  y = 32.0 - 22.0 * jnp.cos(state.theta)
  return raster.paint(
    scene,
    [
      (raster.capsule(xy, (32.0, 32.0), (x, y), 2.4), _TEAL),
      (raster.disc(xy, (x, y), 5.0), _ORANGE),
      (raster.disc(xy, (32.0, 32.0), 2.4), _STEEL),
    ],
  )


def pendulum_expert(state):
  """Energy swing-up, and state feedback near the top.

  With unit mass and length the torque accelerates by 3u and gravity by
  15 sin(angle); the energy below is zero at rest at the top.
  """
  angle = jnp.mod(state.theta + jnp.pi, 2 * jnp.pi) - jnp.pi
  speed = state.theta_dot
  energy = 0.5 * speed**2 + 15.0 * (jnp.cos(angle) - 1.0)
  lack = jnp.clip(0.5875 * (-0.3698 - energy), -1.0, 1.0)
  pump = jnp.where(speed >= 0.0, 2.0, -2.0) * lack
  hold = -(7.9765 * angle + 2.0782 * speed)
  near = jnp.abs(angle + 0.2214 * speed) < 0.4682
  return jnp.where(near, hold, pump)


CAR_NAMES = ('position', 'velocity')
CAR_VISIBLE = ('position',)


def car_physical(state):
  """Position along the valley and velocity."""
  return state.position, state.velocity


def _hill(position):
  """Height of the track in pixels, y down (gym: 0.45 sin 3x + 0.55)."""
  return 40.0 - 14.4 * jnp.sin(3.0 * position)


def car_backdrop(scene, goal):
  """The valley and the flag at the goal."""
  xy = raster.grid(scene.shift)
  place = xy[0] / 32.0 - 1.3
  slope = -1.35 * jnp.cos(3.0 * place)
  x, y = 32.0 * (goal + 1.3), _hill(goal)
  return raster.repaint(
    scene,
    [
      (raster.box(xy, (x, y - 6.0), (0.7, 8.0)), _STEEL),
      (raster.box(xy, (x + 2.5, y - 12.0), (3.0, 2.5)), _RED),
      (raster.below(xy, _hill(place), slope), _GROUND),
    ],
  )


def car_draw(_, state, scene):
  """The car, a wheel on the slope."""
  xy = raster.grid(scene.shift)
  tilt = -1.35 * jnp.cos(3.0 * state.position)
  lift = 4.6 / jnp.sqrt(1.0 + tilt * tilt)
  x = 32.0 * (state.position + 1.3) + lift * tilt
  centre = (x, _hill(state.position) - lift)
  return raster.paint(
    scene,
    [
      (raster.disc(xy, centre, 4.6), _ORANGE),
      (raster.disc(xy, centre, 1.8), _YELLOW),
    ],
  )


def car_expert(state):
  """Push right while the velocity lies in a band that depends on position.

  The band's form is Z. Xiao's closed-form policy for MountainCar-v0
  (Reinforcement Learning, Springer 2023); its offsets are searched.
  """
  place, velocity = state.position, state.velocity
  low = jnp.minimum(
    0.0225 - 0.09 * (place + 0.25) ** 2, 0.3 * (place + 0.9) ** 4 - 0.0107
  )
  high = 0.0789 - 0.07 * (place + 0.38) ** 2
  return jnp.where((low < velocity) & (velocity < high), 2, 0)


def car_continuous_expert(state):
  """Push along the velocity, no harder than it takes; off the left wall."""
  along = state.velocity - 0.0112 * (state.position + 0.5)
  right = (along > 0.0) | (state.position < -1.19)
  return jnp.where(right, 0.29, -0.378)
