"""The sequence model: streams -> stems -> trunk -> heads.

Tokens are [B, T, M, D], time-major. One learned mask vector per stream stands
in for what is hidden (RPT, arXiv 2306.10007, 3); where tokens stand is the
trunk's to embed. A stream without time, a sentence of L tokens, goes before
them: the trunk works on N = L + T * M tokens, and what is read of it are the
T * M. Stems, mask vectors and heads are named by their streams, so that
parameters move by name between models of other streams. Continuous inputs are
standardised by the caller; some are read with their change since the step
before (`models/motion.py`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from rpt_jax.models import heads as heads_lib
from rpt_jax.models import motion, trunks, visibility
from rpt_jax.models.heads import HeadSpec, Reader
from rpt_jax.models.stems import Stem, is_token, parameter
from rpt_jax.types import Array, PyTree, StreamSpec


class SequenceModel(nn.Module):
  """A trunk over `streams`, with `heads` on every step.

  M counts the streams with a time, in their order among `streams`; `trunk` has
  the settings of a file of `models/trunks`; `context` is the longest window;
  `visibility` is a rule of `models/visibility.py`. The features of a step are
  the mean over its tokens. Heads read these features, or the tokens of the
  streams in their `reads`.
  """

  streams: tuple[StreamSpec, ...]
  heads: tuple[HeadSpec, ...]
  trunk: Any
  width: int
  context: int
  visibility: str = 'causal'

  @nn.compact
  def __call__(
    self, inputs, *, valid_BT, corrupt_BTM=None, present_BTM=None, state=None
  ):
    """Reads windows of streams.

    Args:
      inputs: stream name -> [B, T, ...] as its StreamSpec says; a prefix
        [B, L] integers, negative where there is no token, or [B, L, dim].
      valid_BT: bool; padded steps may hold anything, NaN included.
      corrupt_BTM: bool (M or 1 wide); True is replaced by the stream's mask
        vector.
      present_BTM: bool; False: the stream is absent at that step.
      state: `motion.Carried` from the window before; None: episodes begin.

    Returns:
      'reads' (head -> [B, T, D], what it reads), 'features' [B, T, D],
      'tokens' [B, T, M, D], 'layers' (depth + 1 arrays [B, T, D], the first
      before any block), 'state' (None where the trunk carries nothing).

    Raises:
      ValueError: a stream is missing, misshaped, or longer than `context`.
    """
    self._check(inputs, valid_BT.shape[1])
    if present_BTM is None:
      present_BTM = jnp.ones((*valid_BT.shape, len(self._timed())), bool)
    real_BTM = present_BTM & valid_BT[..., None]
    if state is None:
      state = motion.Carried(None, {})
    x_BTMD, last = self._embed(inputs, real_BTM, corrupt_BTM, state.last)
    prefix_BLD, real_BL = self._prefix_tokens(inputs)
    place = visibility.place(self.visibility, real_BTM, real_BL)
    x_BND = rearrange(x_BTMD, 'b t m d -> b (t m) d')
    if prefix_BLD is not None:
      x_BND = jnp.concatenate([prefix_BLD, x_BND], axis=1)
    trunk = trunks.kind(self.trunk).Trunk
    h_BND, layers, carried = trunk(
      self.trunk, self.width, self.context, name='trunk'
    )(x_BND, place, state.trunk)

    def steps(y_BND):
      timed_BND = y_BND[:, y_BND.shape[1] - x_BTMD.shape[1] * x_BTMD.shape[2] :]
      return rearrange(timed_BND, 'b (t m) d -> b t m d', t=x_BTMD.shape[1])

    read = [_mean(steps(y_BND), present_BTM) for y_BND in layers]
    norm = nn.LayerNorm(name='norm')
    features_BTD, tokens_BTMD = norm(read[-1]), steps(h_BND)
    reads = self._reads(features_BTD, tokens_BTMD, norm)
    if self.is_initializing():
      for spec in self.heads:
        heads_lib.make(spec, parameter('head', spec.name))(reads[spec.name])
    return {
      'reads': reads,
      'features': features_BTD,
      'tokens': tokens_BTMD,
      'layers': tuple(read),
      'state': None if carried is None else motion.Carried(carried, last),
    }

  def _timed(self):
    """The streams with a time, in the order of M."""
    return [s for s in self.streams if s.timed]

  def _prefix_tokens(self, inputs):
    """Tokens without time [B, L, D] and bool [B, L] where; None if L = 0."""
    specs = [s for s in self.streams if not s.timed]
    if not specs:
      return None, None
    tokens = [
      Stem(s, self.width, name=parameter('stem', s.name))(inputs[s.name])
      for s in specs
    ]
    present = [is_token(s, inputs[s.name]) for s in specs]
    return jnp.concatenate(tokens, axis=1), jnp.concatenate(present, axis=1)

  def _reads(self, features_BTD, tokens_BTMD, norm):
    """Name of a head -> the features, or the sum of its normed tokens."""
    order = [s.name for s in self._timed()]
    streams = dict.fromkeys(name for h in self.heads for name in h.reads)
    missing = [name for name in streams if name not in order]
    if missing:
      raise ValueError(
        f'heads: reads {missing}, but the streams are {order}; read streams '
        'of the model'
      )
    normed = {m: norm(tokens_BTMD[:, :, order.index(m)]) for m in streams}
    return {
      spec.name: sum(normed[m] for m in spec.reads)
      if spec.reads
      else features_BTD
      for spec in self.heads
    }

  def _check(self, inputs, steps):
    """Raises ValueError for a missing stream or too long a window."""
    missing = [s.name for s in self.streams if s.name not in inputs]
    if missing:
      raise ValueError(
        f'inputs: no stream {missing}, found {sorted(inputs)}; give every '
        'stream of the model'
      )
    if steps > self.context:
      raise ValueError(
        f'inputs: {steps} steps, but the context of the model is '
        f'{self.context}; cut the window or raise the context'
      )

  def _embed(self, inputs, real_BTM, corrupt_BTM, last):
    """Stems and mask vectors [B, T, M, D]; {stream: the last step of it}."""
    hide_BTM = ~real_BTM
    if corrupt_BTM is not None:
      hide_BTM = hide_BTM | corrupt_BTM
    tokens, latest = [], {}
    for m, spec in enumerate(self._timed()):
      real_BT1 = real_BTM[..., m : m + 1]
      x = inputs[spec.name]
      x = jnp.where(real_BT1, x, jnp.zeros((), x.dtype))
      hide_BT1 = hide_BTM[..., m : m + 1]
      change_BTD = None
      if spec.motion:
        change_BTD, latest[spec.name] = motion.change(
          x, ~hide_BT1[..., 0], last.get(spec.name)
        )
      stem = Stem(spec, self.width, name=parameter('stem', spec.name))
      x_BTD = stem(x, change_BTD)
      mask_D = self.param(
        parameter('mask', spec.name),
        nn.initializers.uniform(1.0),
        (self.width,),
      )
      tokens.append(jnp.where(hide_BT1, mask_D[None, None], x_BTD))
    return jnp.stack(tokens, axis=2), latest


def _mean(x_BTMD, present_BTM):
  """The mean over the streams of a step that are there."""
  if x_BTMD.shape[2] == 1:
    return x_BTMD[:, :, 0]
  weight = present_BTM.astype(x_BTMD.dtype)
  total = jnp.maximum(weight.sum(2, keepdims=True), 1.0)
  return jnp.einsum('btmd,btm->btd', x_BTMD, weight / total)


@dataclasses.dataclass(frozen=True, eq=False)  # Itself alone, for jax.jit.
class Bound:
  """What objectives call: a model with its parameters.

  `constants` {head: {name: array}} are what heads have that is not learned.
  """

  model: SequenceModel
  params: PyTree
  constants: Mapping[str, dict[str, Array]]

  @property
  def streams(self) -> tuple[StreamSpec, ...]:
    """What it reads; those with a time are in the order of M."""
    return self.model.streams

  @property
  def visibility(self) -> str:
    return self.model.visibility

  def __call__(
    self,
    inputs: dict[str, Array],
    valid_BT: Array,
    corrupt_BTM: Array | None = None,
    present_BTM: Array | None = None,
    state: PyTree = None,
  ) -> dict:
    """The output of the model, as `SequenceModel` describes it."""
    return self.model.apply(
      {'params': self.params},
      inputs,
      valid_BT=valid_BT,
      corrupt_BTM=corrupt_BTM,
      present_BTM=present_BTM,
      state=state,
    )

  @property
  def heads(self) -> tuple[str, ...]:
    """What it says something of."""
    return tuple(spec.name for spec in self.model.heads)

  def head(self, name: str) -> Reader:
    """The head of a stream, to be given its part of 'reads'."""
    spec = next(spec for spec in self.model.heads if spec.name == name)
    params = self.params[parameter('head', name)]
    return Reader(spec, params, self.constants.get(name, {}))


def bind(
  model: SequenceModel,
  params: PyTree,
  constants: Mapping[str, dict[str, Array]] | None = None,
) -> Bound:
  """`apply(inputs, valid_BT, corrupt_BTM=None, present_BTM=None)`."""
  return Bound(model, params, constants or {})


def init(model: SequenceModel, key: Array) -> PyTree:
  """Parameters of a model, from its specs alone."""
  valid_BT = jnp.ones((1, model.context), bool)
  inputs = {s.name: absent(s, *valid_BT.shape) for s in model.streams}
  return jax.jit(model.init)(key, inputs, valid_BT=valid_BT)['params']


def sharding(model: SequenceModel) -> tuple:
  """How its parameters are split: the rules of its trunk."""
  return trunks.kind(model.trunk).SHARDING


def start(model: SequenceModel, batch: int) -> motion.Carried | None:
  """The state of episodes that begin; None: the trunk carries nothing."""
  trunk = trunks.start(model.trunk, model.width, batch)
  return None if trunk is None else motion.start(model.streams, trunk, batch)


def absent(spec: StreamSpec, batch: int, steps: int) -> Array:
  """What stands for a stream that is not there.

  Zeros [B, T, dim] or [B, T, levels]; of a prefix [B, L], no token, or zeros
  [B, L, dim].
  """
  if not spec.timed and spec.dim:
    return jnp.zeros((batch, spec.levels, spec.dim))
  if not spec.timed:
    return jnp.full((batch, spec.levels), -1, jnp.int32)
  if spec.kind == 'continuous':
    return jnp.zeros((batch, steps, spec.dim))
  return jnp.zeros((batch, steps, spec.levels), jnp.int32)


def describe(model: SequenceModel) -> str:
  """Who sees whom in a model, as `visibility.describe` draws it."""
  names = tuple(s.name for s in model.streams if s.timed)
  lengths = {s.name: s.levels for s in model.streams if not s.timed}
  return visibility.describe(model.visibility, model.context, names, lengths)
