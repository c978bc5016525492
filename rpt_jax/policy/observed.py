"""What a robot gives, made the observation that a policy takes, and checked.

A robot that recorded demonstrations calls things as its dataset does, gives one
of each, and frames of the size its cameras have. What training made of the
dataset is done to them here, and nothing else: no name and no size is guessed.
Every check raises one ValueError that names what was found and expected.
"""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rpt_jax.types import DatasetNames


class Field(NamedTuple):
  """One entry of an observation: a frame [H, W, 3] or a vector [P].

  With a `vocab` it is a prefix, [L] integers below it, negative where there is
  no token.
  """

  shape: tuple[int, ...]
  labels: tuple[str, ...] = ()
  vocab: int = 0

  @property
  def frame(self) -> bool:
    return len(self.shape) == 3

  @property
  def dtype(self):
    if self.vocab:
      return np.int32
    return np.uint8 if self.frame else np.float32


def taken(
  given: Any, fields: Mapping[str, Field], recorded: DatasetNames, batch: int
) -> tuple[Any, bool]:
  """(the observation with the names, axes and sizes of `fields`, is it of one).

  Entries without a batch are taken where the batch is one and none has it.
  What fits nowhere is left as it is, for `check` to name.
  """
  if not isinstance(given, dict):
    return given, False
  seen = _named(given, fields, recorded.columns)
  single = batch == 1 and all(
    np.ndim(x) == len(fields[name].shape)
    for name, x in seen.items()
    if name in fields
  )
  if single:
    seen = {name: np.asarray(x)[None] for name, x in seen.items()}
  for camera, size in recorded.sizes.items():
    if camera in seen and camera in fields:
      seen[camera] = _scaled(seen[camera], size, fields[camera].shape[:2])
  return seen, single


def check(given, expected: dict[str, Field], batch: int) -> dict:
  """{name: array} as the program takes it, of an observation as given."""
  if not isinstance(given, dict):
    raise ValueError(
      f'observation: found {type(given).__name__}, expected a dict of '
      f'{sorted(expected)}'
    )
  _check_names(given, expected)
  read = {}
  for name, field in expected.items():
    x = np.asarray(given[name])
    _check_shape(f'observation {name!r}', x, field, batch)
    if field.vocab:
      read[name] = _tokens(name, x, field.vocab)
    else:
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
  with np.errstate(over='ignore'):  # What is beyond float32 is infinite.
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


def choices(
  action_B: np.ndarray, num_actions: int, advice: str = 'give one of them'
) -> np.ndarray:
  """A copy as int32; ValueError naming what is no action of the robot."""
  if not np.issubdtype(action_B.dtype, np.integer):
    raise ValueError(
      f"'action': found dtype {action_B.dtype}, expected integers, each one of "
      f'{num_actions} actions'
    )
  bad = np.flatnonzero((action_B < 0) | (action_B >= num_actions))
  if len(bad):
    raise ValueError(
      f"'action': {action_B[bad[0]]} in lane {bad[0]}, expected 0 to "
      f'{num_actions - 1}; {advice}'
    )
  return action_B.astype(np.int32)


def _named(given, fields, columns):
  """With the dataset's columns under the names of the policy."""
  seen, used = dict(given), set()
  for name in fields.keys() - given.keys():
    own = columns.get(name, ())
    if own and all(column in given for column in own):
      parts = [np.atleast_1d(np.asarray(given[column])) for column in own]
      seen[name] = parts[0] if len(parts) == 1 else np.concatenate(parts, -1)
      used.update(own)
  return {name: x for name, x in seen.items() if name not in used - {*fields}}


def _scaled(image_BHWC, recorded, size):
  """Frames of the recorded size as training saw them; others as they are."""
  image_BHWC = np.asarray(image_BHWC)
  kind = image_BHWC.dtype, image_BHWC.shape[1:]
  if kind != (np.uint8, (*recorded, 3)):
    return image_BHWC
  from rpt_jax.episodes import decode  # It needs Pillow.

  return decode.resize(image_BHWC, size)


def _tokens(name, x_BL, vocab):
  """A copy as int32; ValueError for what is no token."""
  if not np.issubdtype(x_BL.dtype, np.integer) or (x_BL >= vocab).any():
    raise ValueError(
      f'{name!r}: found {x_BL.dtype} up to {x_BL.max(initial=-1)}, expected '
      f'integers below {vocab}, negative where there is no token'
    )
  return x_BL.astype(np.int32)


def _check_names(given, expected):
  missing = [name for name in expected if name not in given]
  unknown = [name for name in given if name not in expected]
  if not missing and not unknown:
    return
  hints = []
  for name in unknown:
    near = difflib.get_close_matches(name, missing or expected, 1, cutoff=0.4)
    hints += [f'{name!r} may be meant as {near[0]!r}'] if near else []
  raise ValueError(
    f'observation: found {sorted(given)}, expected {sorted(expected)}; '
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
