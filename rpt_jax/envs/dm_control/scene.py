"""The Control Suite drawn off-screen on the CPU, before other backgrounds.

Shadow map and multisampling are left out, which makes a frame of 64 pixels 20
to 40 times cheaper. What hides nothing, by the depth buffer, is the background.
"""

import contextlib
import ctypes.util
import importlib.metadata
import os

import numpy as np

MUJOCO = '3.3.0'  # What Meta-World needs, and dm_control 1.0.28 works with.
LOWEST = 0.1  # Metres: a camera that is moved stays above the ground.
CAMERA = 0  # Of the suite's models, the one that follows the robot.
_MAX_GEOMS = 1000


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
  back_end = os.environ.setdefault('MUJOCO_GL', 'osmesa')
  if back_end == 'osmesa' and not ctypes.util.find_library('OSMesa'):
    return (
      'the Control Suite is drawn with OSMesa, and its library is missing: '
      'apt-get install -y --no-install-recommends libosmesa6'
    )
  return ''


def edit(model) -> None:
  """Makes a model cheap to draw, in place; comes before the first drawing."""
  model.vis.quality.offsamples = 0
  model.vis.quality.shadowsize = 0
  model.light_castshadow[:] = 0
  model.mat_reflectance[:] = 0
  model.site_rgba[:, 3] = 0  # Targets and markers.


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
    from mujoco import gl_context

    self._mujoco, self._size = mujoco, size
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    self._gl = gl_context.GLContext(size, size)
    self._gl.make_current()
    self._scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
    self._options = mujoco.MjvOption()
    scale = mujoco.mjtFontScale.mjFONTSCALE_100
    self._context = mujoco.MjrContext(model, scale.value)
    mujoco.mjr_setBuffer(
      mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context
    )
    self._camera = mujoco.MjvCamera()
    self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    self._camera.fixedcamid = CAMERA
    self._rows = np.empty((size, size, 3), np.uint8)
    self._depth = np.empty((size, size), np.float32)

  def draw(self, model, data, background=None, ground=1.0) -> np.ndarray:
    """The picture, uint8 [H, W, 3].

    Args:
      background: uint8 [H, W, 3] where nothing is; None: the suite's own sky.
      ground: how much of the ground hides it, 0 to 1.
    """
    self._render(model, data, sky=background is None)
    image = self._rows[::-1].copy()
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
    self._context.free()
    self._gl.free()

  def _bodies(self, model, data):
    """The body that each pixel shows, [H, W]; -1: none."""
    self._render(model, data, sky=False, segments=True)
    shown = self._rows[::-1].astype(np.int32) @ [1, 1 << 8, 1 << 16]
    bodies = np.full(self._scene.ngeom + 1, -1)
    for geom in self._scene.geoms[: self._scene.ngeom]:
      if geom.objtype == self._mujoco.mjtObj.mjOBJ_GEOM:
        bodies[geom.segid + 1] = model.geom_bodyid[geom.objid]
    return bodies[shown]

  def _render(self, model, data, sky, segments=False):
    mujoco, flags = self._mujoco, self._scene.flags
    flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
    flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    flags[mujoco.mjtRndFlag.mjRND_HAZE] = 0
    flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = sky
    flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = segments
    flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = segments
    self._gl.make_current()
    everything = mujoco.mjtCatBit.mjCAT_ALL.value
    mujoco.mjv_updateScene(
      model, data, self._options, None, self._camera, everything, self._scene
    )
    window = mujoco.MjrRect(0, 0, self._size, self._size)
    mujoco.mjr_render(window, self._scene, self._context)
    mujoco.mjr_readPixels(self._rows, self._depth, window, self._context)
