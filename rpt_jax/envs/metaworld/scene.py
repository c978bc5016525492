"""Meta-World drawn off-screen on the CPU: model edits and cameras.

Geometry costs, not pixels. The edits leave the physics alone: they hide goal
markers, drop shadows and reflections, thin the meshes of the robot (67,000
faces to 5,000, the same to the eye at 64-128 px; objects stay as they are),
and bring `corner2` nearer to the table, where Masked World Models (Seo et al.
2022) put it.
"""

import importlib.metadata

import numpy as np

from rpt_jax.envs import canvas

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
  return canvas.missing()


def edit(model) -> None:
  """Makes a model cheap to draw, and its goal invisible, in place.

  Comes before the first rendering: a GL context takes its meshes when made.
  """
  canvas.simplify(model)
  model.cam_pos[model.cam('corner2').id] = _NEAR_CORNER2
  for name in _ROBOT:
    _thin(model, model.mesh(name).id)


class Studio:
  """One GL context that draws every simulation of the same task.

  Raises ValueError for a camera that is not in the model.
  """

  def __init__(self, model, cameras, size: int):
    unknown = sorted(set(cameras) - set(CAMERAS))
    if unknown or not cameras:
      raise ValueError(
        f'cameras: found {unknown or "none"}, expected some of '
        f'{", ".join(CAMERAS)}'
      )
    self._cameras = {name: model.cam(name).id for name in cameras}
    self._canvas = canvas.Canvas(model, size)

  def draw(self, model, data, images) -> None:
    """Writes every camera's picture to `images` {camera: uint8 [H, W, 3]}."""
    for name, camera in self._cameras.items():
      rows = self._canvas.render(model, data, camera)
      # Rows come bottom first, which undoes half of turning by 180 degrees.
      images[name][:] = rows[:, ::-1] if name in _UPSIDE_DOWN else rows[::-1]

  def close(self) -> None:
    """Frees the context; drawing after it is an error."""
    self._canvas.close()


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
