"""Units by the cosine to a learned code of each (HuBERT, arXiv 2106.07447)."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from rpt_jax import precision
from rpt_jax import settings as keys
from rpt_jax.models import categorical
from rpt_jax.models.heads import HeadSpec
from rpt_jax.models.transformer import dense

KINDS = ('discrete',)


@dataclasses.dataclass(frozen=True)
class Settings:
  """How sharp the logits are."""

  temperature: float = keys.key(
    0.1, 'the cosine is divided by it', above=0, high=100
  )


class Head(nn.Module):
  """[B, T, D] -> logits [B, T, C, levels, vocab]."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    del query
    spec, width = self.spec, read_BTD.shape[-1]
    levels, vocab = spec.target.levels, spec.target.vocab
    y = dense(spec.steps * levels * width, 'project')(
      read_BTD.reshape(-1, width)
    )
    codes_LVD = self.param(
      'codes', nn.initializers.uniform(1.0), (levels, vocab, width)
    )
    cosine_LNV = precision.product()(
      _unit(codes_LVD),
      _unit(y.reshape(-1, levels, width)),
      (((2,), (2,)), ((0,), (1,))),
    ).swapaxes(1, 2)
    logits = jnp.moveaxis(cosine_LNV, 0, 1) / spec.settings.temperature
    return logits.reshape(*read_BTD.shape[:2], spec.steps, levels, vocab)


def logits(reader, read_BTD):
  """Logits [B, T, C, levels, vocab]."""
  return reader(read_BTD)


def loss(reader, read_BTD, target, valid_BTC, key):
  """Nats, summed over levels, and 'accuracy'."""
  del valid_BTC, key
  return categorical.loss(reader(read_BTD), target)


def sample(reader, read_BTD, key, num):
  """Units, each level by itself."""
  return categorical.sample(reader(read_BTD), key, num)


def _unit(x):
  norm = jnp.sum(x * x, axis=-1, keepdims=True)
  return x / jnp.sqrt(norm + 1e-12)
