"""A policy for rollouts: frames in, the window carried, actions out."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rpt_jax.types import Array, PyTree


class Memory(NamedTuple):
  """What a policy carries: its parameters and the window of past latents."""

  params: PyTree
  latent_BTD: Array
  valid_BT: Array


def start(params: PyTree, batch: int, context: int, dim: int) -> Memory:
  """An empty window for `batch` episodes."""
  return Memory(
    params,
    jnp.zeros((batch, context, dim), jnp.bfloat16),
    jnp.zeros((batch, context), bool),
  )


def make(encode: Callable, act: Callable) -> Callable:
  """The policy `(memory, observation, keys) -> (memory, action)`.

  Args:
    encode: observation (its 'image', 'state') -> standardised latents [B, D].
    act: (params, latent_BTD, valid_BT) -> action of the last step, [B, ...].
  """

  def policy(memory, observation, keys):
    del keys
    latent_B1D = encode(observation)[:, None]
    latent_B1D = latent_B1D.astype(memory.latent_BTD.dtype)
    new_B1 = jnp.ones((len(latent_B1D), 1), bool)
    memory = Memory(
      memory.params,
      jnp.concatenate([memory.latent_BTD[:, 1:], latent_B1D], axis=1),
      jnp.concatenate([memory.valid_BT[:, 1:], new_B1], axis=1),
    )
    action = act(memory.params, memory.latent_BTD, memory.valid_BT)
    return memory, jax.lax.stop_gradient(action)

  return policy
