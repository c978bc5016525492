"""Coloured cubes and cylinders on a table, with a drawer and a gripper.

Drawn by MuJoCo and never simulated: whoever places objects says where they
are. x goes right, y away from the camera, z up, in metres.
"""

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.envs import canvas

COLOURS = {
  'red': (0.85, 0.12, 0.12),
  'green': (0.15, 0.65, 0.2),
  'blue': (0.15, 0.25, 0.9),
  'yellow': (0.9, 0.8, 0.15),
  'purple': (0.55, 0.2, 0.7),
  'white': (0.95, 0.95, 0.95),
  'orange': (0.95, 0.5, 0.1),
  'cyan': (0.2, 0.8, 0.85),
}
SHAPES = ('cube', 'cylinder')
SIZES = {'small': 0.022, 'medium': 0.029, 'large': 0.036}  # Half a side.
DRAWER = (0.16, 0.09)  # Its centre.
SLOTS = 5  # Objects at most.
_AWAY, _STUDIO = (0.0, 0.0, -5.0), (3.0, 0.0, 0.0)
_OBJECT = """
<body name="object{i}" mocap="true" pos="0 0 -5">
<geom name="cube{i}" type="box" size=".03 .03 .03"/>
<geom name="cylinder{i}" type="cylinder" size=".03 .03"/></body>"""
_XML = f"""
<mujoco><visual><headlight ambient=".45 .45 .45" diffuse=".5 .5 .5"/></visual>
<asset><texture type="skybox" builtin="flat" rgb1=".55 .55 .58"
rgb2=".55 .55 .58" width="8" height="48"/></asset><worldbody>
<geom type="box" size=".26 .19 .01" pos="0 0 -.01" rgba=".45 .36 .28 1"/>
<body pos="{DRAWER[0]} {DRAWER[1]} 0">
<geom type="box" size=".07 .005 .02" pos="0 .07 .02" rgba=".3 .3 .33 1"/>
<geom type="box" size=".07 .005 .02" pos="0 -.07 .02" rgba=".3 .3 .33 1"/>
<geom type="box" size=".005 .07 .02" pos=".07 0 .02" rgba=".3 .3 .33 1"/>
<geom type="box" size=".005 .07 .02" pos="-.07 0 .02" rgba=".3 .3 .33 1"/>
</body><body name="gripper" mocap="true" pos="0 0 .2">
<geom type="box" size=".055 .012 .01" pos="0 0 .05" rgba=".1 .1 .1 1"/>
<geom type="box" size=".006 .012 .025" pos=".045 0 .02" rgba=".1 .1 .1 1"/>
<geom type="box" size=".006 .012 .025" pos="-.045 0 .02" rgba=".1 .1 .1 1"/>
</body>{''.join(_OBJECT.format(i=i) for i in range(SLOTS))}
<camera name="front" pos="0 -.72 .52" xyaxes="1 0 0 0 .58 .81" fovy="29"/>
<camera name="studio" pos="3 -.2 .15" xyaxes="1 0 0 0 .6 .8" fovy="27"/>
</worldbody></mujoco>"""


@dataclasses.dataclass(frozen=True, order=True)
class Thing:
  """A kind of object."""

  size: str
  colour: str
  shape: str

  @property
  def name(self) -> str:
    """As sentences have it."""
    return f'{self.size} {self.colour} {self.shape}'

  @property
  def half(self) -> float:
    """Half its height and width, in metres."""
    return SIZES[self.size]


class Placed(NamedTuple):
  """An object, where its centre is [3], and how it is turned, in radians."""

  thing: Thing
  centre: np.ndarray
  turn: float


def missing() -> str:
  """What drawing lacks here and how to get it, or ''.

  Sets MUJOCO_GL where unset, so it comes before MuJoCo is imported.
  """
  if importlib.util.find_spec('mujoco') is None:
    return "MuJoCo is in the extra metaworld: pip install -e '.[metaworld]'"
  return canvas.missing()


class Studio:
  """Draws scenes `size` pixels wide; a context manager.

  Raises ValueError for a package or library that is missing.
  """

  def __init__(self, size: int):
    if problem := missing():
      raise ValueError(problem)
    import mujoco

    self._mujoco = mujoco
    self._model = mujoco.MjModel.from_xml_string(_XML)
    canvas.simplify(self._model)
    self._data = mujoco.MjData(self._model)
    self._canvas = canvas.Canvas(self._model, size)
    self._cameras = self._model.cam_pos.copy()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._canvas.close()

  def draw(self, rng, placed: Sequence[Placed], gripper) -> np.ndarray:
    """The table, uint8 [H, W, 3], from about the same place each time."""
    self._put(placed, gripper)
    return self._frame(rng, 'front', 0.02)

  def view(self, rng, thing: Thing) -> np.ndarray:
    """An object alone, turned at random: its canonical view."""
    centre = np.array(_STUDIO)
    turn = rng.uniform(-np.pi, np.pi)
    self._put([Placed(thing, centre, turn)], _AWAY)
    return self._frame(rng, 'studio', 0.008)

  def _put(self, placed, gripper):
    data, model = self._data, self._model
    data.mocap_pos[0] = gripper
    for slot in range(SLOTS):
      data.mocap_pos[1 + slot] = _AWAY
      if slot < len(placed):
        thing, centre, turn = placed[slot]
        data.mocap_pos[1 + slot] = centre
        data.mocap_quat[1 + slot] = np.cos(turn / 2), 0, 0, np.sin(turn / 2)
        for shape in SHAPES:
          geom = model.geom(f'{shape}{slot}')
          shown = float(shape == thing.shape)
          geom.size[:] = thing.half
          geom.rgba[:] = (*COLOURS[thing.colour], shown)

  def _frame(self, rng, camera, jitter):
    index = self._model.camera(camera).id
    moved = self._cameras[index] + rng.uniform(-jitter, jitter, 3)
    self._model.cam_pos[index] = moved
    light = rng.uniform(0.85, 1.1)
    self._mujoco.mj_forward(self._model, self._data)
    image = self._canvas.render(self._model, self._data, index)[::-1]
    lit = image * light + rng.normal(0, 3, image.shape)
    return lit.clip(0, 255).round().astype(np.uint8)
