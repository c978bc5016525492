"""Do chunks agree with the ones before? Erratic policies contradict themselves.

Wherever a chunk is predicted, as many are drawn as tell what the policy may do;
their steps that the chunks before have also spoken of are compared with what
those said, by the maximum mean discrepancy of all draws (STAC, the erratic half
of Sentinel, Agia et al. 2024, arXiv 2410.04640, section 4.1; the discrepancy is
Gretton et al. 2012, equation 5). Slow and confidently wrong policies agree with
themselves.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.policy import monitors
from rpt_jax.types import Array

_LANES = 64  # Robots that are compared at once: distances are [lanes, 2N, 2N].


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many chunks are drawn."""

  samples: int = keys.key(256, 'chunks of a step', low=2, high=65_536)


class State(NamedTuple):
  """The chunks drawn when one was last predicted, [B, N, C, A], scaled."""

  chunk_BNCA: Array


def check(settings, program, model):
  """Raises ValueError where no chunks are drawn, or none overlap."""
  del settings, model
  monitors.check_draws('stac', program)
  chunk, execute = program.head.steps, program.execution.execute
  if execute >= chunk:
    raise ValueError(
      f"monitor 'stac': execute={execute} of chunks of {chunk} actions, "
      f'expected fewer than {chunk}: chunks that follow each other must overlap'
    )


def start(settings, program, model, batch):
  """Nothing was drawn yet."""
  del model
  shape = batch, settings.samples, program.head.steps, program.width
  return State(jnp.zeros(shape))


def update(settings, watched, state):
  """The discrepancy [B] where a chunk is predicted, 0 where one goes on."""
  memory, execute = watched.memory, watched.program.execution.execute
  chunk_BNCA = watched.chunk_BNCA[:, : settings.samples]

  def compared():
    pairs = state.chunk_BNCA[:, :, execute:], chunk_BNCA[:, :, :-execute]
    flat = [x.reshape(*x.shape[:2], -1) for x in pairs]
    score_B = jax.lax.map(
      lambda pair: discrepancy(*pair), tuple(flat), batch_size=_LANES
    )
    return State(chunk_BNCA), jnp.where(memory.count == 0, 0.0, score_B)

  def goes_on():
    return state, jnp.zeros(len(memory.valid_BT))

  return jax.lax.cond(watched.due, compared, goes_on)


def discrepancy(x_ND, y_ND):
  """MMD^2 of two samples, k(a, b) = exp(-|a - b|^2 / (2 median)).

  The biased estimate, which is never below 0; the median is of the squared
  distances between any two of both samples, as in published code.
  """
  both_ND = jnp.concatenate([x_ND, y_ND])
  square_N = (both_ND**2).sum(-1)
  distance_NN = square_N[:, None] + square_N[None] - 2 * both_ND @ both_ND.T
  distance_NN = jnp.maximum(distance_NN, 0.0)
  first, second = np.triu_indices(len(both_ND), 1)
  median = jnp.median(distance_NN[first, second])
  kernel_NN = jnp.exp(-distance_NN / jnp.maximum(2 * median, 1e-12))
  n = len(x_ND)
  within = kernel_NN[:n, :n].mean() + kernel_NN[n:, n:].mean()
  return jnp.maximum(within - 2 * kernel_NN[:n, n:].mean(), 0.0)
