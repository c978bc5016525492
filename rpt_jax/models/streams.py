"""Streams in, streams out: stems embed them, heads read them back."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from rpt_jax import precision
from rpt_jax.models.transformer import dense
from rpt_jax.types import StreamSpec

TEMPERATURE = 0.1  # Of the cosine logits (HuBERT).


@dataclasses.dataclass(frozen=True)
class HeadSpec:
  """What is read at every step, for `steps` steps.

  `kind` is 'linear' (-> [B, T, steps, dim]) or 'cosine', logits over the
  units of `levels` codebooks (-> [B, T, steps, levels, vocab]). `reads` names
  the streams whose tokens of a step are normed, summed and read; with none it
  is the features of the step.
  """

  name: str
  kind: str
  dim: int = 0
  vocab: int = 0
  levels: int = 1
  steps: int = 1
  reads: tuple[str, ...] = ()


def parameter(role: str, stream: str) -> str:
  """What the parameters of a stream are called: 'stem_latent_corner2'.

  `role` is 'stem', 'mask' or 'head'. Stream names hold '/', which separates
  the parts of a parameter's path in checkpoints.
  """
  return f'{role}_{stream.replace("/", "_")}'


class Stem(nn.Module):
  """Embeds one stream: [B, T, dim] floats or [B, T, levels] integers."""

  spec: StreamSpec
  width: int

  @nn.compact
  def __call__(self, x):
    """-> [B, T, width]; raises ValueError where shape and spec disagree."""
    spec = self.spec
    size = spec.dim if spec.kind == 'continuous' else spec.levels
    if x.ndim != 3 or x.shape[-1] != size:
      raise ValueError(
        f'stream {spec.name!r}: found shape {x.shape}, expected '
        f'[batch, steps, {size}] ({spec.kind}); fix the batch or the StreamSpec'
      )
    if spec.kind == 'continuous':
      h_ND = dense(self.width, 'project')(x.reshape(-1, size))
      return h_ND.reshape(*x.shape[:2], self.width)
    level_L = jnp.arange(size) * spec.vocab
    table = nn.Embed(size * spec.vocab, self.width, name='embed')
    return table(x + level_L[None, None]).sum(2)


class Head(nn.Module):
  """Reads one stream from features [B, T, D]."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, x_BTD):
    spec = self.spec
    batch, steps, width = x_BTD.shape
    x_ND = x_BTD.reshape(-1, width)
    if spec.kind == 'linear':
      y = dense(spec.steps * spec.dim, 'project')(x_ND)
      return y.reshape(batch, steps, spec.steps, spec.dim)
    if spec.kind != 'cosine':
      raise ValueError(
        f"head {spec.name!r}: kind {spec.kind!r}, expected 'linear' or 'cosine'"
      )
    y = dense(spec.steps * spec.levels * width, 'project')(x_ND)
    codes_LVD = self.param(
      'codes',
      nn.initializers.uniform(1.0),
      (spec.levels, spec.vocab, width),
    )
    cosine_LNV = precision.dot_general(
      _unit(codes_LVD),
      _unit(y.reshape(-1, spec.levels, width)),
      (((2,), (2,)), ((0,), (1,))),
    ).swapaxes(1, 2)
    logits = jnp.moveaxis(cosine_LNV, 0, 1) / TEMPERATURE
    return logits.reshape(batch, steps, spec.steps, spec.levels, spec.vocab)


def _unit(x):
  norm = jnp.sum(x * x, axis=-1, keepdims=True)
  return x / jnp.sqrt(norm + 1e-12)
