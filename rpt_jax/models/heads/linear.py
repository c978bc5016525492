"""One linear layer: values of a chunk, or logits.

Values are learned by squared error, a mean over dimensions; logits by
cross-entropy, summed over levels.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from rpt_jax.models import categorical
from rpt_jax.models.heads import HeadSpec
from rpt_jax.models.transformer import dense

KINDS = ('continuous', 'discrete')


@dataclasses.dataclass(frozen=True)
class Settings:
  """Nothing to choose."""


class Head(nn.Module):
  """[B, T, D] -> [B, T, C, dim], or logits [B, T, C, levels, vocab]."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    del query
    spec, target = self.spec, self.spec.target
    y_ND = dense(spec.numbers, 'project')(
      read_BTD.reshape(-1, read_BTD.shape[-1])
    )
    each = (target.dim,)
    if target.kind == 'discrete':
      each = target.levels, target.vocab
    return y_ND.reshape(*read_BTD.shape[:2], spec.steps, *each)


def logits(reader, read_BTD):
  """Logits [B, T, C, levels, vocab]."""
  return reader(read_BTD)


def loss(reader, read_BTD, target, valid_BTC, key):
  """Squared error and 'absolute_error', or nats and 'accuracy'."""
  del key
  if reader.spec.target.kind == 'discrete':
    return categorical.loss(reader(read_BTD), target)
  error = jnp.where(valid_BTC[..., None], reader(read_BTD) - target, 0.0)
  return (error**2).mean(-1), {'absolute_error': jnp.abs(error).mean(-1)}


def sample(reader, read_BTD, key, num):
  """Classes are drawn; of values there is one guess, the same in all draws."""
  if reader.spec.target.kind == 'discrete':
    return categorical.sample(reader(read_BTD), key, num)
  guess = reader(read_BTD)
  return jnp.broadcast_to(guess[None], (num, *guess.shape))
