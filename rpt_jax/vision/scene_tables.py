"""Scenes of stored frames as tables of what is so, for objectives."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from einops import rearrange

from rpt_jax.vision import relations


class Table(NamedTuple):
  """Scenes of a split, of at most Q objects; absent ones are last.

  Attributes:
    clip_C: their clips.
    object_CQ: which object, -1: none.
    one_CQU, two_CQQR: what is so, as `relations.Scene` has it.
    view_OV: rows of the views of each object, filled up with its own.
    kinds: of each scene.
  """

  clip_C: np.ndarray
  object_CQ: np.ndarray
  one_CQU: np.ndarray
  two_CQQR: np.ndarray
  view_OV: np.ndarray
  kinds: np.ndarray

  def batch(self, frames, scene_B, draw_BK) -> dict[str, np.ndarray]:
    """'image', 'views', 'present', 'one', 'two' of scenes.

    `draw_BK`, uniform numbers in [0, 1) [B, 1 + Q], choose frame and views.
    """
    clip_B, object_BQ = self.clip_C[scene_B], self.object_CQ[scene_B]
    steps_B = frames.lengths[clip_B]
    step_B = (draw_BK[:, 0] * steps_B).astype(int)
    view_BQ = (draw_BK[:, 1:] * self.view_OV.shape[1]).astype(int)
    return {
      'image': frames.take(frames.clips.offsets[clip_B] + step_B),
      'views': frames.take(self.view_OV[object_BQ, view_BQ]),
      'present': object_BQ >= 0,
      'one': self.one_CQU[scene_B],
      'two': self.two_CQQR[scene_B],
    }


def tabulate(frames) -> Table:
  """The scenes of frames; ValueError where an object has no view."""
  said = [(i, relations.read(text)) for i, text in enumerate(frames.texts)]
  said = [(i, s) for i, s in said if s is not None and frames.lengths[i]]
  views = {
    s.names[0]: np.arange(frames.lengths[i]) + frames.clips.offsets[i]
    for i, s in said
    if s.kind == relations.VIEW
  }
  scenes = [(i, s) for i, s in said if s.kind != relations.VIEW]
  names = sorted({name for _, s in scenes for name in s.names})
  if alone := [name for name in names if name not in views]:
    raise ValueError(
      f'config.image_model: found {alone[0]!r} in a scene and no clip of it '
      f"alone, expected one whose instruction is 'view: {alone[0]}.'"
    )
  if not scenes:  # Where shapes matter alone: nothing is in any clip.
    nothing = relations.Scene(relations.SCENE, (), *_tables(0))
    scenes, names, views = [(0, nothing)], ['-'], {'-': np.zeros(1, int)}
  most = max(1, *(len(s.names) for _, s in scenes)) if scenes else 1
  object_CQ = np.full((len(scenes), most), -1)
  one_CQU, two_CQQR = (np.stack([x] * len(scenes)) for x in _tables(most))
  for row, (_, s) in enumerate(scenes):
    count = len(s.names)
    object_CQ[row, :count] = [names.index(name) for name in s.names]
    one_CQU[row, :count] = s.one_NU
    two_CQQR[row, :count, :count] = s.two_NNR
  longest = max(len(views[name]) for name in names)
  return Table(
    np.array([i for i, _ in scenes]),
    object_CQ,
    one_CQU,
    two_CQQR,
    np.stack([np.resize(views[name], longest) for name in names]),
    np.array([s.kind for _, s in scenes]),
  )


def _tables(count):
  """Of so many objects, about which nothing is so."""
  ones, twos = len(relations.OF_ONE), len(relations.OF_TWO)
  return np.zeros((count, ones), bool), np.zeros((count, count, twos), bool)


def real_of(present_BQ):
  """(bool [B, Q], [B, Q, Q]): objects that are there, pairs of two of them."""
  pair_BQQ = present_BQ[:, :, None] & present_BQ[:, None]
  itself_QQ = jnp.eye(present_BQ.shape[1], dtype=bool)
  return present_BQ, pair_BQQ & ~itself_QQ[None]


def bars(answers, count, size):
  """uint8 [N, size, size, 3]: a bar for each relation of the first object."""
  one_NQU, two_NQQR = (np.asarray(x) for x in answers)
  others = rearrange(two_NQQR[:, 0, 1:count], 'n q r -> n (q r)')
  holds_NK = np.concatenate([one_NQU[:, 0], others], axis=1)
  row_H = np.arange(size) * holds_NK.shape[1] // size
  grey_NH = np.where(holds_NK[:, row_H], 235, 40).astype(np.uint8)
  # A dark line between two bars.
  grey_NH[:, np.flatnonzero(np.diff(row_H, prepend=0))] = 0
  return np.broadcast_to(grey_NH[:, :, None, None], (*grey_NH.shape, size, 3))
