"""Meta-World drawn off-screen on the CPU: model edits and cameras.

Geometry costs, not pixels. The edits leave the physics alone: they hide goal
markers, drop shadows and reflections, thin the meshes of the robot (67,000
faces to 5,000, the same to the eye at 64-128 px; objects stay as they are),
and bring `corner2` nearer to the table, where Masked World Models (Seo et al.
2022) put it.
"""

import ctypes.util
import importlib.metadata
import os

import numpy as np

MUJOCO = '3.3.0'  # Meta-World 3.1.1 breaks on any other.
CAMERAS = (
  'topview',
  'corner',
  'corner2',
  'corner3',
  'corner4',
  'behindGripper',
  'gripperPOV',
)
_UPSIDE_DOWN = ('corner', 'corner2', 'corner3', 'corner4')
_NEAR_CORNER2 = (0.75, 0.075, 0.7)
_ROBOT = ('base', 'eGripperBase', 'head', 'pedestal')  # meshes
_ROBOT += tuple(f'l{link}' for link in range(7))
_CELLS = 12  # along the longest side of a mesh
_MAX_GEOMS = 1000


def missing() -> str:
  """What drawing Meta-World lacks here and how to get it, or ''.

  Sets MUJOCO_GL where unset, so it comes before MuJoCo is imported.
  """
  try:
    importlib.metadata.version('metaworld')
    version = importlib.metadata.version('mujoco')
  except importlib.metadata.PackageNotFoundError:
    return "Meta-World needs the extra metaworld: pip install -e '.[metaworld]'"
  if version != MUJOCO:
    return (
      f'mujoco: found {version}, expected {MUJOCO}, the one Meta-World works '
      f'with: pip install mujoco=={MUJOCO}'
    )
  back_end = os.environ.setdefault('MUJOCO_GL', 'osmesa')
  if back_end == 'osmesa' and not ctypes.util.find_library('OSMesa'):
    return (
      'Meta-World draws with OSMesa, and its library is missing: '
      'apt-get install -y --no-install-recommends libosmesa6'
    )
  return ''


def edit(model) -> None:
  """Makes a model cheap to draw, and its goal invisible, in place.

  Comes before the first rendering: a GL context takes its meshes when made.
  """
  model.vis.quality.offsamples = 0
  model.vis.quality.shadowsize = 0
  model.light_castshadow[:] = 0
  model.mat_reflectance[:] = 0
  model.site_rgba[:, 3] = 0  # Goals and markers.
  model.cam_pos[model.cam('corner2').id] = _NEAR_CORNER2
  for name in _ROBOT:
    _thin(model, model.mesh(name).id)


class Studio:
  """One GL context that draws every simulation of the same task.

  Raises ValueError for a camera that is not in the model.
  """

  def __init__(self, model, cameras, size: int):
    import mujoco
    from mujoco import gl_context

    unknown = sorted(set(cameras) - set(CAMERAS))
    if unknown or not cameras:
      raise ValueError(
        f'cameras: found {unknown or "none"}, expected some of '
        f'{", ".join(CAMERAS)}'
      )
    self._mujoco, self._size = mujoco, size
    self._cameras = {name: model.cam(name).id for name in cameras}
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
    self._rows = np.empty((size, size, 3), np.uint8)

  def draw(self, model, data, images) -> None:
    """Writes every camera's picture to `images` {camera: uint8 [H, W, 3]}."""
    mujoco = self._mujoco
    window = mujoco.MjrRect(0, 0, self._size, self._size)
    everything = mujoco.mjtCatBit.mjCAT_ALL.value
    self._gl.make_current()
    for name, camera in self._cameras.items():
      self._camera.fixedcamid = camera
      mujoco.mjv_updateScene(
        model, data, self._options, None, self._camera, everything, self._scene
      )
      mujoco.mjr_render(window, self._scene, self._context)
      mujoco.mjr_readPixels(self._rows, None, window, self._context)
      # Rows come bottom first, which undoes half of turning by 180 degrees.
      turned = self._rows[:, ::-1]
      images[name][:] = turned if name in _UPSIDE_DOWN else self._rows[::-1]

  def close(self) -> None:
    """Frees the context; drawing after it is an error."""
    self._context.free()
    self._gl.free()


def _thin(model, mesh):
  """Merges the vertices of a cell; physics does not read what is changed."""
  start, num = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
  vertices = model.mesh_vert[start : start + num]
  cell = np.ptp(vertices, axis=0).max() / _CELLS
  _, first, cell_of = np.unique(
    np.floor(vertices / cell), axis=0, return_index=True, return_inverse=True
  )
  start, num = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
  faces = first[cell_of.ravel()][model.mesh_face[start : start + num]]
  corners = np.sort(faces, axis=1)
  kept = np.flatnonzero((np.diff(corners, axis=1) > 0).all(axis=1))
  kept = kept[np.unique(corners[kept], axis=0, return_index=True)[1]]
  end = start + len(kept)
  model.mesh_face[start:end] = faces[kept]
  model.mesh_facenormal[start:end] = model.mesh_facenormal[start + kept]
  model.mesh_facenum[mesh] = len(kept)
