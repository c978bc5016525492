"""Text towers of CLIP and SigLIP: token ids to vectors in the images' space."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax import target
from rpt_jax.models.transformer import Transformer, dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import layout, published, weights


class TextEncoder(nn.Module):
  """Token ids to one vector a sentence; hashable, so static under `jit`.

  `causal` and `end_token`: CLIP reads the first such token of each sentence
  (or, where it is None, the largest id); else the last place is read, padding
  or not, as in SigLIP. `projection` features, with `projection_bias` or not;
  0 leaves the vector as it is.
  """

  vocab: int
  length: int
  width: int
  depth: int
  num_heads: int
  mlp_ratio: float
  activation: str
  epsilon: float
  dtype: str = target.BY_HARDWARE
  causal: bool = True
  end_token: int | None = None
  projection: int = 0
  projection_bias: bool = False

  @nn.compact
  def __call__(self, ids_NT: Array) -> tuple[Array, Array]:
    """ids -> (tokens [N, T, D] after the norm, vector [N, E])."""
    num, length = ids_NT.shape
    if length > self.length:
      raise ValueError(
        f'text: found {length} tokens, expected at most {self.length}'
      )
    normal = nn.initializers.normal(0.02)
    table_VD = self.param('tokens', normal, (self.vocab, self.width))
    place_TD = self.param('positions', normal, (self.length, self.width))
    x_NTD, _ = Transformer(
      self.width,
      self.depth,
      self.num_heads,
      self.mlp_ratio,
      activation=self.activation,
      epsilon=self.epsilon,
      dtype=self.dtype,
      name='transformer',
    )(table_VD[ids_NT] + place_TD[None, :length], self._mask(length))
    x_NTD = nn.LayerNorm(self.epsilon, name='norm')(x_NTD)
    x_ND = x_NTD[jnp.arange(num), self._end(ids_NT)]
    if self.projection:
      project = dense(
        self.projection, 'projection', self.dtype, self.projection_bias
      )
      x_ND = project(x_ND)
    return x_NTD, x_ND

  def _mask(self, length):
    if not self.causal:
      return None
    return jnp.tril(jnp.ones((length, length), bool))[None, None]

  def _end(self, ids_NT):
    if not self.causal:
      return jnp.full(len(ids_NT), ids_NT.shape[1] - 1)
    if self.end_token is None:
      return ids_NT.argmax(axis=1)
    return (ids_NT == self.end_token).argmax(axis=1)


@dataclasses.dataclass(frozen=True)
class TextFamily:
  """As `published.Family`, for text; `encoder(config, tensors)`."""

  encoder: Callable[[dict, weights.Tensors], TextEncoder]
  table: Callable[[str], layout.Table]
  prefixes: tuple[str, ...]
  ignored: str


@dataclasses.dataclass(frozen=True)
class TextModel:
  """A frozen text model.

  `apply(params, ids int [N, T]) -> f32 [N, dim]`, T at most `length`; ids are
  those of the checkpoint's own tokenizer. SigLIP wants T = length, padded.
  """

  name: str
  apply: Callable[[PyTree, Array], Array]
  params: PyTree
  dim: int
  length: int


def load(
  folder: str | os.PathLike,
  family: TextFamily,
  *,
  dtype: str = target.BY_HARDWARE,
) -> TextModel:
  """The text model saved in `folder`; errors as in `published.load`."""
  folder = pathlib.Path(folder)
  tensors = weights.open_tensors(folder)
  encoder = family.encoder(weights.read_config(folder), tensors)
  weights.check_depth(tensors, encoder.depth, 'num_hidden_layers')
  encoder = encoder.clone(dtype=dtype)
  ids = jax.ShapeDtypeStruct((1, encoder.length), jnp.int32)
  shapes = jax.eval_shape(encoder.init, jax.random.key(0), ids)['params']
  table = family.table(published.find_prefix(tensors, family.prefixes))
  ignored = re.compile(family.ignored).fullmatch
  params = layout.read(tensors, shapes, table, ignored)

  def apply(params, ids_NT):
    return encoder.apply({'params': params}, ids_NT)[1]

  params = jax.tree.map(jnp.asarray, params)
  dim = encoder.projection or encoder.width
  return TextModel(str(folder), apply, params, dim, encoder.length)


def fields(config: dict) -> dict:
  """The fields of a `TextEncoder` that CLIP and SigLIP spell the same way."""
  return dict(
    vocab=config['vocab_size'],
    length=config['max_position_embeddings'],
    width=config['hidden_size'],
    depth=config['num_hidden_layers'],
    num_heads=config['num_attention_heads'],
    mlp_ratio=config['intermediate_size'] / config['hidden_size'],
    activation=published.activation(config['hidden_act']),
    epsilon=config['layer_norm_eps'],
  )


def table(prefix: str, block: dict) -> dict:
  """Names of the tensors that CLIP and SigLIP spell the same way."""
  return {
    'tokens': f'{prefix}embeddings.token_embedding.weight',
    'positions': f'{prefix}embeddings.position_embedding.weight',
    'norm': f'{prefix}final_layer_norm',
  } | layout.blocks(f'{prefix}encoder.layers.{{}}', **block)
