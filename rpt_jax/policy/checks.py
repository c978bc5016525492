"""What a policy is made of and what it is shown, checked before anything runs.

Every check raises one ValueError that names what was found and expected.
"""

import difflib
import functools
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax.models import sequence
from rpt_jax.objectives.behaviour_cloning import ACTION
from rpt_jax.policy.program import CAMERA
from rpt_jax.sharing import loading
from rpt_jax.sharing.loading import Surgery

_FLAT = 1e-6  # A smaller deviation is that of a constant.


class Field(NamedTuple):
  """One entry of an observation: a frame [H, W, 3] or a vector [P]."""

  shape: tuple[int, ...]
  labels: tuple[str, ...] = ()

  @property
  def frame(self) -> bool:
    return len(self.shape) == 3


def fields(model, frames: dict, labels: dict) -> dict[str, Field]:
  """Entries of the observations of a model with a head for the action.

  Raises ValueError for streams no robot gives, frames of unknown size, labels
  of other streams or of another number.
  """
  dims = {s.name: s.dim for s in model.streams}
  actions = [h for h in model.heads if h.name == ACTION and h.kind == 'linear']
  if not actions or any(s.kind != 'continuous' for s in model.streams):
    raise ValueError(
      f'policy: streams {[(s.name, s.kind) for s in model.streams]}, heads '
      f'{[h.name for h in model.heads]}; expected continuous streams and a '
      "linear head 'action'"
    )
  dims[ACTION] = actions[0].dim
  cameras = [n.removeprefix(CAMERA) for n in dims if n.startswith(CAMERA)]
  if sorted(frames) != sorted(cameras):
    raise ValueError(
      f'frames: sizes of {sorted(frames)}, but the cameras of the streams are '
      f'{sorted(cameras)}; give {{camera: (height, width)}} of each'
    )
  told = {n: d for n, d in dims.items() if not n.startswith(CAMERA)}
  for name, names in labels.items():
    if len(names) != told.get(name):
      raise ValueError(
        f'labels: {len(names)} of {name!r}, expected one for each dimension of '
        f'{told}'
      )
  seen = {c: Field((*frames[c], 3)) for c in cameras}
  vectors = {n: Field((d,), labels.get(n, ())) for n, d in told.items()}
  del vectors[ACTION]
  return seen | vectors


def image_model(model, image) -> None:
  """Raises ValueError unless `image` gives the latents that streams want."""
  dims = {s.name: s.dim for s in model.streams if s.name.startswith(CAMERA)}
  found = None if image is None else image.dim
  if set(dims.values()) != ({found} - {None}):
    raise ValueError(
      f'image: latents of width {found}, but the streams of cameras are '
      f'{dims}; give the image model they were encoded with, and none without '
      'cameras'
    )


def params(model, found) -> None:
  """Raises ValueError unless parameters are those of one such model."""
  found = loading.shapes(found)
  loading.plan('params (of one seed)', found, _shapes(model), Surgery())


def scales(model, found: dict) -> tuple[dict, np.ndarray]:
  """(input scales, deviation of predicted actions [A]), float32.

  Of a dimension that never varied inputs are only centred, so that nothing is
  blown up. Raises ValueError for streams
  without statistics and for statistics that are none.
  """
  dims = {s.name: s.dim for s in model.streams}
  dims[ACTION] = next(h.dim for h in model.heads if h.name == ACTION)
  missing = [name for name in dims if name not in found]
  if missing:
    raise ValueError(
      f'scales: none of {missing}, found {sorted(found)}; give (mean, std) of '
      'every stream and of the action'
    )
  kept = {}
  for name, dim in dims.items():
    mean_D, std_D = (np.asarray(x, np.float32) for x in found[name])
    if mean_D.shape != (dim,) or std_D.shape != (dim,):
      raise ValueError(
        f'scales: {name!r} has shapes {mean_D.shape} and {std_D.shape}, '
        f'expected {(dim,)}'
      )
    if not (np.isfinite(mean_D) & np.isfinite(std_D) & (std_D >= 0)).all():
      raise ValueError(
        f'scales: {name!r} has a mean or deviation that is not finite, or a '
        'negative one; measure them again'
      )
    kept[name] = mean_D, np.where(std_D < _FLAT, np.float32(1), std_D)
  return kept, np.asarray(found[ACTION][1], np.float32)


def limits(found, dim: int) -> tuple[np.ndarray, np.ndarray]:
  """(low [A], high [A]) of an `action_limit`; infinite where it is None."""
  low_A, high_A = (-np.inf, np.inf) if found is None else found
  low_A, high_A = (
    np.broadcast_to(np.asarray(x, np.float32), (dim,)) for x in (low_A, high_A)
  )
  if not (low_A < high_A).all():
    raise ValueError(
      f'action_limit: {found}, expected (low, high), each a number or one for '
      f'each of {dim} dimensions, low below high'
    )
  return low_A, high_A


def observation(found, expected: dict[str, Field], batch: int) -> dict:
  """{name: array} as the program takes it, of an observation as given."""
  if not isinstance(found, dict):
    raise ValueError(
      f'observation: found {type(found).__name__}, expected a dict of '
      f'{sorted(expected)}'
    )
  _check_names(found, expected)
  read = {}
  for name, field in expected.items():
    x = np.asarray(found[name])
    _check_shape(f'observation {name!r}', x, field, batch)
    read[name] = x if field.frame else vector(name, x, field.labels)
  return read


def vector(
  name: str,
  x_BP: np.ndarray,
  labels: tuple[str, ...] = (),
  advice: str = 'check the sensor before the robot moves',
) -> np.ndarray:
  """A copy as float32; ValueError naming a number that is not finite."""
  if not np.issubdtype(x_BP.dtype, np.floating):
    raise ValueError(
      f'{name!r}: found dtype {x_BP.dtype}, expected float32 in the units of '
      'training'
    )
  x_BP = x_BP.astype(np.float32)
  bad = np.argwhere(~np.isfinite(x_BP))
  if len(bad):
    lane, index = bad[0]
    label = f' ({labels[index]})' if labels else ''
    raise ValueError(
      f'{name!r}: {x_BP[lane, index]} in lane {lane} at index {index}{label}; '
      f'{advice}'
    )
  return x_BP


def _check_names(found, expected):
  missing = [name for name in expected if name not in found]
  unknown = [name for name in found if name not in expected]
  if not missing and not unknown:
    return
  hints = []
  for name in unknown:
    near = difflib.get_close_matches(name, missing or expected, 1, cutoff=0.4)
    hints += [f'{name!r} may be meant as {near[0]!r}'] if near else []
  raise ValueError(
    f'observation: found {sorted(found)}, expected {sorted(expected)}; '
    f'missing {missing}, unknown {unknown}'
    + ''.join(f'; {hint}' for hint in hints)
  )


def _check_shape(what, x, field, batch):
  if x.shape[1:] != field.shape or x.ndim != 1 + len(field.shape):
    kind = 'frames of the size in training' if field.frame else 'a vector'
    raise ValueError(
      f'{what}: found shape {x.shape}, expected {(batch, *field.shape)}, {kind}'
    )
  if len(x) != batch:
    raise ValueError(
      f'{what}: a batch of {len(x)}, but reset was for {batch}; reset again '
      'for another number of robots'
    )
  if field.frame and x.dtype != np.uint8:
    raise ValueError(
      f'{what}: found dtype {x.dtype}, expected uint8 frames from 0 to 255, as '
      'the camera gives them'
    )


@functools.cache
def _shapes(model):
  init = functools.partial(sequence.init, model)
  return loading.shapes(jax.eval_shape(init, jax.random.key(0)))
