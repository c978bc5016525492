"""The oracle: the unit of a frame is the true action that was done in it.

No way of making units without actions: it is what those are compared with, the
ceiling of predicting what a robot does. A recipe with this maker asks the stage
collect for actions; nothing else of the config does therefore. Latents, and so
the transforms of its recipe, are not looked at: give it none.

A discrete action is its own unit. Of others every number falls into one of
`bins` that are equally frequent in `pretrain`, and a unit is a combination of
bins. Units of different action spaces share their ids, as discrete actions of a
config do: what is being done is seen in the frames, and an id of each domain's
own would tell which domain it is instead of what was done.
"""

import dataclasses

import numpy as np

from rpt_jax import settings as keys
from rpt_jax.units import makers

NEEDS = ('action',)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How actions that are numbers become few."""

  bins: int = keys.key(
    5, 'of each number, equally frequent', low=2, high=65_536
  )


def sizes(settings: Settings, shared) -> tuple[int, int]:
  """(vocabulary, 1): as many as other makers' units, to compare with them."""
  del settings
  return shared.num_clusters, 1


def lookahead(settings: Settings) -> float:
  """None: the action of a frame is chosen there."""
  del settings
  return 0


def check(settings: Settings, shared, num_actions: int, width: int) -> None:
  """ValueError 'bins: ...' where actions have more forms than there are units.

  Args:
    num_actions: how many discrete ones there are; 0: they are continuous, and
    width: numbers each.
  """
  _check_count(settings, shared, num_actions or settings.bins**width)


def _check_count(settings, shared, count):
  if count > shared.num_clusters:
    raise ValueError(
      f'bins: found {settings.bins} of each number, which gives {count} kinds '
      f'of actions, expected at most num_clusters={shared.num_clusters}; take '
      'fewer bins or more clusters'
    )


def fit(settings: Settings, clips, key, shared, mesh):
  """{'edge_BA', 'whole_A', 'count_A', 'stride_A'} of the A columns of actions.

  Raises ValueError as `check` does.
  """
  del key, mesh
  x_NA = _columns(clips)
  absent_NA = np.isnan(x_NA)
  whole_A = (absent_NA | (x_NA >= 0) & (x_NA == np.round(x_NA))).all(0)
  most_A = np.where(absent_NA, 0, x_NA).max(0)
  count_A = np.where(whole_A, most_A + 1, settings.bins).astype(np.int64)
  stride_A = np.ones_like(count_A)
  for a in range(1, len(count_A)):  # Columns there together are one action.
    same = (absent_NA[:, :a] == absent_NA[:, a : a + 1]).all(0)
    stride_A[a] = count_A[:a][same].prod()
  _check_count(settings, shared, int((stride_A * count_A).max()))
  shares = np.linspace(0, 1, settings.bins + 1)[1:-1]
  return {
    'edge_BA': np.nanquantile(x_NA, shares, axis=0).astype(np.float32),
    'whole_A': whole_A.astype(np.int32),
    'count_A': count_A.astype(np.int32),
    'stride_A': stride_A.astype(np.int32),
  }


def apply(settings: Settings, fitted, clips, key, mesh) -> makers.Units:
  """Units [N, 1]; -1 where nothing is known to be done."""
  del settings, key, mesh
  x_NA = _columns(clips)
  absent_NA = np.isnan(x_NA)
  bin_NA = (x_NA[None] >= fitted['edge_BA'][:, None]).sum(0)
  # An action that `pretrain` lacks is taken for the last one that it has.
  id_NA = np.clip(np.where(absent_NA, 0, x_NA), 0, fitted['count_A'][None] - 1)
  digit_NA = np.where(fitted['whole_A'][None] > 0, id_NA, bin_NA)
  digit_NA = np.where(absent_NA, 0, digit_NA).astype(np.int32)
  unit_N = (digit_NA * fitted['stride_A'][None]).sum(1, dtype=np.int32)
  unit_N = np.where(absent_NA.all(1), -1, unit_N).astype(np.int32)
  return makers.Units(unit_N[:, None])


def _columns(clips):
  """Actions f32 [N, A]; NaN in the columns of other action spaces."""
  action = np.asarray(clips.arrays['action'], np.float32)
  return action[:, None] if action.ndim == 1 else action
