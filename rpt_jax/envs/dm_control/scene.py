"""The Control Suite drawn off-screen on the CPU, before other backgrounds.

Shadow map and multisampling are left out, which makes a frame of 64 pixels 20
to 40 times cheaper. What hides nothing, by the depth buffer, is the background.
"""

import contextlib
import importlib.metadata

import numpy as np

from rpt_jax.envs import canvas

MUJOCO = '3.3.0'  # What Meta-World needs, and dm_control 1.0.28 works with.
LOWEST = 0.1  # Metres: a camera that is moved stays above the ground.
CAMERA = 0  # Of the suite's models, the one that follows the robot.


def missing() -> str:
  """What drawing the suite lacks here and how to get it, or ''.

  Sets MUJOCO_GL where unset, so it comes before MuJoCo is imported.
  """
  try:
    importlib.metadata.version('dm_control')
    importlib.metadata.version('mujoco')
  except importlib.metadata.PackageNotFoundError:
    return (
      'the Control Suite needs the extra dm_control: pip install -e '
      "'.[dm_control]'"
    )
  return canvas.missing()


def edit(model) -> None:
  """Makes a model cheap to draw, in place; comes before the first drawing."""
  canvas.simplify(model)


@contextlib.contextmanager
def distracted(model, data, camera, colour_M3):
  """Camera and materials are elsewhere meanwhile; physics reads neither.

  Args:
    camera: (yaw, pitch, roll, zoom): turned about the robot and its own axis,
      radians; its distance is (1 + zoom) times what it was.
    colour_M3: of materials; cut to what colours are.
  """
  before = data.cam_xpos[CAMERA].copy(), data.cam_xmat[CAMERA].copy()
  colours = model.mat_rgba[:, :3].copy()
  if np.any(camera):
    centre = data.subtree_com[max(int(model.cam_bodyid[CAMERA]), 1)]
    place, turn = moved(*before, centre, camera)
    data.cam_xpos[CAMERA], data.cam_xmat[CAMERA] = place, turn
  model.mat_rgba[:, :3] = np.clip(colour_M3, 0, 1)
  try:
    yield
  finally:
    data.cam_xpos[CAMERA], data.cam_xmat[CAMERA] = before
    model.mat_rgba[:, :3] = colours


def moved(place, turn, centre, camera) -> tuple[np.ndarray, np.ndarray]:
  """(place [3], rotation [9]) of a camera moved about a centre.

  Yaw is about the vertical, pitch about the camera's own horizontal axis, roll
  about where it looks; the centre stays where it was in the picture but for
  the zoom.
  """
  yaw, pitch, roll, zoom = camera
  axes = turn.reshape(3, 3)  # Columns: right, up, backwards.
  about = _about(np.array([0.0, 0.0, 1.0]), yaw) @ _about(axes[:, 0], pitch)
  place = centre + (1 + zoom) * about @ (place - centre)
  place[2] = max(place[2], LOWEST)
  axes = about @ axes
  return place, (_about(axes[:, 2], roll) @ axes).ravel()


def _about(axis, angle):
  """The rotation [3, 3] by an angle about an axis (Rodrigues)."""
  x, y, z = axis
  cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
  return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


class Studio:
  """One GL context that draws every simulation of the same task."""

  def __init__(self, model, size: int):
    import mujoco

    self._mujoco = mujoco
    self._canvas = canvas.Canvas(model, size)
    self._depth = np.empty((size, size), np.float32)

  def draw(self, model, data, background=None, ground=1.0) -> np.ndarray:
    """The picture, uint8 [H, W, 3].

    Args:
      background: uint8 [H, W, 3] where nothing is; None: the suite's own sky.
      ground: how much of the ground hides it, 0 to 1.
    """
    image = self._render(model, data, sky=background is None).copy()
    if background is None:
      return image
    empty = self._depth[::-1] >= 1
    image[empty] = background[empty]
    if ground < 1:
      floor = (self._bodies(model, data) == 0) & ~empty
      mixed = ground * image[floor] + (1 - ground) * background[floor]
      image[floor] = mixed.astype(np.uint8)
    return image

  def mask(self, model, data) -> np.ndarray:
    """bool [H, W]: pixels of what is no part of the world, so of the robot."""
    return self._bodies(model, data) > 0

  def close(self) -> None:
    """Frees the context; drawing after it is an error."""
    self._canvas.close()

  def _bodies(self, model, data):
    """The body that each pixel shows, [H, W]; -1: none."""
    rows = self._render(model, data, sky=False, segments=True)
    shown = rows.astype(np.int32) @ [1, 1 << 8, 1 << 16]
    scene = self._canvas.scene
    bodies = np.full(scene.ngeom + 1, -1)
    for geom in scene.geoms[: scene.ngeom]:
      if geom.objtype == self._mujoco.mjtObj.mjOBJ_GEOM:
        bodies[geom.segid + 1] = model.geom_bodyid[geom.objid]
    return bodies[shown]

  def _render(self, model, data, sky, segments=False):
    """What the camera sees, rows from the top."""
    flag, flags = self._mujoco.mjtRndFlag, self._canvas.scene.flags
    flags[flag.mjRND_SHADOW] = 0
    flags[flag.mjRND_REFLECTION] = 0
    flags[flag.mjRND_HAZE] = 0
    flags[flag.mjRND_SKYBOX] = sky
    flags[flag.mjRND_SEGMENT] = segments
    flags[flag.mjRND_IDCOLOR] = segments
    return self._canvas.render(model, data, CAMERA, self._depth)[::-1]
