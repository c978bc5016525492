"""The sequence model: streams -> stems -> transformer -> heads.

Tokens are [B, T, M, D], time-major. One learned time embedding is shared by
the M tokens of a step, there is no modality embedding, and one learned mask
vector per stream stands in for what is hidden (RPT, arXiv 2306.10007, 3).
Stems, mask vectors and heads are named by their streams, so that parameters
move by name between models of other streams. Continuous inputs are
standardised by the caller.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax.models import visibility
from rpt_jax.models.streams import Head, HeadSpec, Stem, parameter
from rpt_jax.models.transformer import Transformer
from rpt_jax.types import Array, PyTree, StreamSpec


class SequenceModel(nn.Module):
  """Transformer over `streams` with `heads` on every step.

  `context` is the longest window; `visibility` is a rule of
  `models/visibility.py`. Under 'readout' a learned token joins every step and
  the features are read from it, else from the mean over a step's tokens.
  Heads read these features, or the tokens of the streams in their `reads`.
  """

  streams: tuple[StreamSpec, ...]
  heads: tuple[HeadSpec, ...]
  width: int
  depth: int
  num_heads: int
  context: int
  mlp_ratio: float = 4.0
  visibility: str = 'causal'
  prefix: int = 0
  scan_layers: bool | None = None
  remat: str = 'none'

  @nn.compact
  def __call__(self, inputs, *, valid_BT, corrupt_BTM=None, present_BTM=None):
    """Reads windows of streams.

    Args:
      inputs: stream name -> [B, T, ...] as its StreamSpec says.
      valid_BT: bool; padded steps may hold anything, NaN included.
      corrupt_BTM: bool (M or 1 wide); True is replaced by the stream's mask
        vector.
      present_BTM: bool; False: the stream is absent at that step.

    Returns:
      'heads' (name -> array, see HeadSpec), 'features' [B, T, D], 'tokens'
      [B, T, M, D], 'layers' (depth + 1 arrays [B, T, D], the first before
      any block).

    Raises:
      ValueError: a stream is missing, misshaped, or longer than `context`.
    """
    batch, steps = valid_BT.shape
    if present_BTM is None:
      present_BTM = jnp.ones((batch, steps, len(self.streams)), bool)
    there_BTM = present_BTM & valid_BT[..., None]
    x_BTMD = self._embed(inputs, there_BTM, corrupt_BTM)
    if self.visibility == 'readout':
      readout = self.param(
        'readout', nn.initializers.normal(1.0), (self.width,)
      )
      shape = (batch, steps, 1, self.width)
      x_BTMD = jnp.concatenate(
        [x_BTMD, jnp.broadcast_to(readout, shape)], axis=2
      )
      present_BTM = jnp.pad(
        present_BTM, ((0, 0), (0, 0), (0, 1)), constant_values=True
      )
    time_TD = self.param(
      'time', nn.initializers.normal(0.02), (self.context, self.width)
    )
    x_BTMD = x_BTMD + time_TD[None, :steps, None]
    return self._run(x_BTMD, valid_BT, present_BTM)

  def _run(self, x_BTMD, valid_BT, present_BTM):
    shape = x_BTMD.shape
    mask = visibility.mask(self.visibility, valid_BT, present_BTM, self.prefix)
    h_BND, layers = Transformer(
      self.width,
      self.depth,
      self.num_heads,
      self.mlp_ratio,
      self.scan_layers,
      self.remat,
      name='trunk',
    )(x_BTMD.reshape(shape[0], -1, self.width), mask)
    read = [
      self._read(h.reshape(shape), present_BTM) for h in (x_BTMD, *layers)
    ]
    norm = nn.LayerNorm(name='norm')
    features_BTD = norm(read[-1])
    tokens_BTMD = h_BND.reshape(shape)
    return {
      'heads': self._heads(features_BTD, tokens_BTMD, norm),
      'features': features_BTD,
      'tokens': tokens_BTMD,
      'layers': tuple(read),
    }

  def _heads(self, features_BTD, tokens_BTMD, norm):
    """Name -> what each head makes of the features, or of tokens' sum."""
    order = [s.name for s in self.streams]
    wanted = dict.fromkeys(name for h in self.heads for name in h.reads)
    missing = [name for name in wanted if name not in order]
    if missing:
      raise ValueError(
        f'heads: reads {missing}, but the streams are {order}; read streams '
        'of the model'
      )
    normed = {m: norm(tokens_BTMD[:, :, order.index(m)]) for m in wanted}
    read = {}
    for spec in self.heads:
      x_BTD = sum(normed[m] for m in spec.reads) if spec.reads else features_BTD
      read[spec.name] = Head(spec, name=parameter('head', spec.name))(x_BTD)
    return read

  def _read(self, x_BTMD, present_BTM):
    """One vector a step: the readout token, or the mean over its streams."""
    if self.visibility == 'readout':
      return x_BTMD[:, :, -1]
    if len(self.streams) == 1:
      return x_BTMD[:, :, 0]
    weight = present_BTM.astype(x_BTMD.dtype)
    total = jnp.maximum(weight.sum(2, keepdims=True), 1.0)
    return jnp.einsum('btmd,btm->btd', x_BTMD, weight / total)

  def _embed(self, inputs, there_BTM, corrupt_BTM):
    """Stems and mask vectors: [B, T, M, D]."""
    missing = [s.name for s in self.streams if s.name not in inputs]
    if missing:
      raise ValueError(
        f'inputs: no stream {missing}, found {sorted(inputs)}; give every '
        'stream of the model'
      )
    steps = there_BTM.shape[1]
    if steps > self.context:
      raise ValueError(
        f'inputs: {steps} steps, but the context of the model is '
        f'{self.context}; cut the window or raise the context'
      )
    hide_BTM = ~there_BTM
    if corrupt_BTM is not None:
      hide_BTM = hide_BTM | corrupt_BTM
    tokens = []
    for m, spec in enumerate(self.streams):
      there_BT1 = there_BTM[..., m : m + 1]
      x = inputs[spec.name]
      x = jnp.where(there_BT1, x, jnp.zeros((), x.dtype))
      x_BTD = Stem(spec, self.width, name=parameter('stem', spec.name))(x)
      mask_D = self.param(
        parameter('mask', spec.name),
        nn.initializers.uniform(1.0),
        (self.width,),
      )
      hide_BT1 = hide_BTM[..., m : m + 1]
      tokens.append(jnp.where(hide_BT1, mask_D[None, None], x_BTD))
    return jnp.stack(tokens, axis=2)


def bind(model: SequenceModel, params: PyTree):
  """`apply(inputs, valid_BT, corrupt_BTM=None, present_BTM=None)`, what
  objectives call: the output of `model` with `params`."""

  def apply(
    inputs,
    valid_BT,
    corrupt_BTM: Array | None = None,
    present_BTM: Array | None = None,
  ):
    return model.apply(
      {'params': params},
      inputs,
      valid_BT=valid_BT,
      corrupt_BTM=corrupt_BTM,
      present_BTM=present_BTM,
    )

  return apply


def init(model: SequenceModel, key: Array) -> PyTree:
  """Parameters of a model, from its specs alone."""
  inputs = {
    s.name: jnp.zeros((1, model.context, s.dim))
    if s.kind == 'continuous'
    else jnp.zeros((1, model.context, s.levels), jnp.int32)
    for s in model.streams
  }
  valid_BT = jnp.ones((1, model.context), bool)
  return jax.jit(model.init)(key, inputs, valid_BT=valid_BT)['params']


def parameter_count(params: PyTree) -> int:
  """How many numbers a tree of parameters (or of their shapes) holds."""
  return sum(x.size for x in jax.tree.leaves(params))
