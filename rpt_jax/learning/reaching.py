"""A policy that is shown a goal, learned from play by hindsight.

Whatever comes later in an episode was a goal that its actions reach
(Andrychowicz et al. 2017, arXiv 1707.01495; by imitation Lynch et al. 2019,
arXiv 1903.01973): a step learns from a goal some steps ahead, all as often, so
that play in which nobody asked for anything teaches to do what one will ask
for.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rpt_jax import settings
from rpt_jax.models import sequence
from rpt_jax.models.sequence import SequenceModel
from rpt_jax.objectives import behaviour_cloning
from rpt_jax.types import ACTION, LATENT, Array, Batch, PyTree, StreamSpec


class Play(NamedTuple):
  """Episodes of one length: what was seen, what shows a goal, what was done."""

  latent_ETD: np.ndarray
  goal_ETG: np.ndarray  # The frames of the same steps, as goals are shown.
  action_ETA: np.ndarray

  @property
  def dims(self) -> tuple[int, int, int]:
    """Numbers of what is seen, of a goal, of an action."""
    return tuple(x.shape[-1] for x in self)


def model(c: settings.Reach, dims: tuple[int, int, int]) -> SequenceModel:
  """The policy; `dims` are those of its play.

  What is seen and the goal are one token: that they differ, and where, is what
  an action depends on, and so it is linear in what the first layer reads.
  """
  seen, goal, acted = dims
  both = StreamSpec(LATENT, 'continuous', dim=seen + goal)
  action = StreamSpec(ACTION, 'continuous', dim=acted)
  heads = behaviour_cloning.heads(c.head, 1, (both,), action)
  return SequenceModel((both,), heads, c.trunk, c.width, 1)


def batches(c: settings.Reach, play: Play, seed: int) -> Callable[[int], Batch]:
  """step -> steps of play, each with a goal that came later."""
  episodes, steps = play.action_ETA.shape[:2]

  def at(step):
    rng = np.random.default_rng([seed, step])
    episode_B = rng.integers(0, episodes, c.batch_size)
    step_B = rng.integers(0, steps - 1, c.batch_size)
    ahead_B = rng.integers(1, c.horizon + 1, c.batch_size)
    goal_B = np.minimum(step_B + ahead_B, steps - 1)
    latent_BD = play.latent_ETD[episode_B, step_B]
    goal_BG = play.goal_ETG[episode_B, goal_B]
    both_BC = np.concatenate([latent_BD, goal_BG], 1)
    action_BA = play.action_ETA[episode_B, step_B]
    return Batch(
      inputs={LATENT: both_BC[:, None]},
      targets={ACTION: action_BA[:, None]},
      valid=np.ones((c.batch_size, 1), bool),
    )

  return at


loss = behaviour_cloning.loss


def act(
  own: SequenceModel,
  params: PyTree,
  latent_ND: Array,
  goal_NG: Array,
  key: Array,
) -> Array:
  """Actions [N, A], one draw of each."""
  both_NC = jnp.concatenate([latent_ND, goal_NG], -1)
  inputs = {LATENT: both_NC[:, None]}
  apply = sequence.bind(own, params)
  valid_N1 = jnp.ones((len(latent_ND), 1), bool)
  read_N1D = apply(inputs, valid_N1)['reads'][ACTION]
  return apply.head(ACTION).sample(read_N1D, key, 1)[0, :, 0, 0]
