"""Streams in: a stem embeds each."""

import flax.linen as nn
import jax.numpy as jnp

from rpt_jax.models.transformer import dense
from rpt_jax.types import StreamSpec


def parameter(role: str, stream: str) -> str:
  """What the parameters of a stream are called: 'stem_latent_corner2'.

  `role` is 'stem', 'mask' or 'head'. Stream names hold '/', which separates
  the parts of a parameter's path in checkpoints.
  """
  return f'{role}_{stream.replace("/", "_")}'


def is_token(spec: StreamSpec, x):
  """Bool [B, levels]: which tokens of a prefix there are."""
  return (x != 0).any(-1) if spec.dim else x >= 0


class Stem(nn.Module):
  """Embeds one stream: [B, T, dim] floats or [B, T, levels] integers.

  Of a prefix, [B, levels] integers or [B, levels, dim] floats, every token is
  one vector. A stream with
  motion is read beside its change, [B, T, dim] likewise.
  """

  spec: StreamSpec
  width: int

  @nn.compact
  def __call__(self, x, change_BTD=None):
    """-> [B, T, width], of a prefix [B, levels, width].

    Raises ValueError where shape and spec disagree.
    """
    spec = self.spec
    size = spec.dim if spec.kind == 'continuous' else spec.levels
    if not spec.timed and spec.dim:
      return self._vectors(x)
    if x.ndim != 2 + spec.timed or x.shape[-1] != size:
      axes = 'batch, steps' if spec.timed else 'batch'
      raise ValueError(
        f'stream {spec.name!r}: found shape {x.shape}, expected '
        f'[{axes}, {size}] ({spec.kind}); fix the batch or the StreamSpec'
      )
    if not spec.timed:
      return self._prefix(x)
    if spec.kind == 'continuous':
      if spec.motion:
        x = jnp.concatenate([x, change_BTD], axis=-1)
      h_ND = dense(self.width, 'project')(x.reshape(-1, x.shape[-1]))
      return h_ND.reshape(*x.shape[:2], self.width)
    level_L = jnp.arange(size) * spec.vocab
    table = nn.Embed(size * spec.vocab, self.width, name='embed')
    return table(x + level_L[None, None]).sum(2)

  def _vectors(self, x_BLD):
    """Vectors of a sentence, and where they stand; zeros where none are."""
    spec = self.spec
    if x_BLD.shape[1:] != (spec.levels, spec.dim):
      raise ValueError(
        f'stream {spec.name!r}: found shape {x_BLD.shape}, expected '
        f'[batch, {spec.levels}, {spec.dim}] ({spec.kind}); fix the batch or '
        'the StreamSpec'
      )
    y_ND = dense(self.width, 'project')(x_BLD.reshape(-1, spec.dim))
    position_LD = self.param(
      'position', nn.initializers.normal(0.02), (spec.levels, self.width)
    )
    y_BLD = y_ND.reshape(*x_BLD.shape[:2], -1) + position_LD[None]
    return jnp.where(is_token(spec, x_BLD)[..., None], y_BLD, 0.0)

  def _prefix(self, x_BL):
    """What a token is and where it stands; zeros where there is none."""
    real_BL = is_token(self.spec, x_BL)
    table = nn.Embed(self.spec.vocab, self.width, name='embed')
    position_LD = self.param(
      'position', nn.initializers.normal(0.02), (x_BL.shape[1], self.width)
    )
    x_BLD = table(jnp.maximum(x_BL, 0)) + position_LD[None]
    return jnp.where(real_BL[..., None], x_BLD, 0.0)
