"""What a robot gives, made the observation that a policy takes.

A robot that recorded demonstrations calls things as its dataset does, gives one
of each, and frames of the size its cameras have. What training made of the
dataset is done to them here, and nothing else: no name and no size is guessed.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rpt_jax.policy.checks import Field
from rpt_jax.types import DatasetNames


def taken(
  given: Any, fields: Mapping[str, Field], recorded: DatasetNames, batch: int
) -> tuple[Any, bool]:
  """(the observation with the names, axes and sizes of `fields`, is it of one).

  Entries without a batch are taken where the batch is one and none has it.
  What fits nowhere is left as it is, for `checks.observation` to name.
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
