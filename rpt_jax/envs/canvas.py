"""Drawing MuJoCo off-screen on the CPU, one GL context for a model."""

import ctypes.util
import os

import numpy as np

_MAX_GEOMS = 1000


def missing() -> str:
  """What drawing lacks here and how to get it, or ''.

  Sets MUJOCO_GL where unset, so it comes before MuJoCo is imported.
  """
  back_end = os.environ.setdefault('MUJOCO_GL', 'osmesa')
  if back_end == 'osmesa' and not ctypes.util.find_library('OSMesa'):
    return (
      'MuJoCo draws with OSMesa, and its library is missing: '
      'apt-get install -y --no-install-recommends libosmesa6'
    )
  return ''


def simplify(model) -> None:
  """Takes from a model what makes pictures dear and shows no object.

  Multisampling, shadows, reflections, and sites, which mark goals and targets.
  """
  model.vis.quality.offsamples = 0
  model.vis.quality.shadowsize = 0
  model.light_castshadow[:] = 0
  model.mat_reflectance[:] = 0
  model.site_rgba[:, 3] = 0


class Canvas:
  """Where pictures are drawn; `scene.flags` say what is drawn with them.

  Args:
    model: of the simulations, its meshes and textures as they will stay.
    size: of the pictures, pixels.
  """

  def __init__(self, model, size: int):
    import mujoco
    from mujoco import gl_context

    self._mujoco = mujoco
    self._window = mujoco.MjrRect(0, 0, size, size)
    model.vis.global_.offwidth = model.vis.global_.offheight = size
    self._gl = gl_context.GLContext(size, size)
    self._gl.make_current()
    self.scene = mujoco.MjvScene(model, maxgeom=_MAX_GEOMS)
    self._options = mujoco.MjvOption()
    scale = mujoco.mjtFontScale.mjFONTSCALE_100
    self._context = mujoco.MjrContext(model, scale.value)
    mujoco.mjr_setBuffer(
      mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context
    )
    self._camera = mujoco.MjvCamera()
    self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    self._rows = np.empty((size, size, 3), np.uint8)

  def render(self, model, data, camera: int, depth_HW=None) -> np.ndarray:
    """What a camera sees, uint8 [H, W, 3], rows from the bottom.

    The array is drawn over by the next call; `depth_HW`, float32, is written
    where it is given.
    """
    mujoco = self._mujoco
    self._gl.make_current()
    self._camera.fixedcamid = camera
    everything = mujoco.mjtCatBit.mjCAT_ALL.value
    mujoco.mjv_updateScene(
      model, data, self._options, None, self._camera, everything, self.scene
    )
    mujoco.mjr_render(self._window, self.scene, self._context)
    mujoco.mjr_readPixels(self._rows, depth_HW, self._window, self._context)
    return self._rows

  def close(self) -> None:
    """Frees the context; drawing after it is an error."""
    self._context.free()
    self._gl.free()
