"""How widely does a policy scatter? The control of monitors.

The mean variance of the chunks that are drawn where one is predicted (the
output variance that Sentinel compares with, Agia et al. 2024, arXiv 2410.04640,
section 5). It knows nothing of what was said before.
"""

import dataclasses

import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.policy import monitors


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many chunks are drawn."""

  samples: int = keys.key(256, 'chunks of a step', low=2, high=65_536)


def check(settings, program, model):
  """Raises ValueError where no chunks are drawn."""
  del settings, model
  monitors.check_draws('spread', program)


def start(settings, program, model, batch):
  """It carries nothing."""
  del settings, program, model, batch
  return ()


def update(settings, watched, state):
  """The variance [B] where a chunk is predicted, 0 where one goes on."""

  chunk_BNCA = watched.chunk_BNCA[:, : settings.samples]
  score_B = chunk_BNCA.var(1).mean((1, 2))
  return state, jnp.where(watched.due, score_B, 0.0)
