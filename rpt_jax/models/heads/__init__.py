"""Heads: what is read back of a stream, one file a kind.

A head reads [B, T, D], the features of every step or its tokens, and speaks of
`steps` steps of one stream. `query` is what is evaluated against what was read
(a noisy chunk and its time, an action, a code); None: there is none, or the
parameters are being made. A file has

  Settings              frozen dataclass, `check(where)` where there are ranges
  KINDS                 of streams that it can give: 'continuous', 'discrete'
  Head                  module (spec)(read_BTD, query=None)
  loss(reader, read_BTD, target, valid_BTC, key)
                        (each [B, T, C], {measure: [B, T, C]}) of the target
                        [B, T, C, dim] or [B, T, C, levels]; where it is not
                        valid it may hold anything, and is not counted
  sample(reader, read_BTD, key, num)
                        `num` draws of the target: [num, B, T, C, ...]
  fit(target_ND, spec)  only where it has constants: {name: array} that is not
                        learned, bins or bounds, of scaled values [N, dim] or
                        integers [N, levels]; it may be traced
  guided(reader, read_BTD, key, plan_BTCA, weight_BTC)
                        only where it can: one draw [B, T, C, dim] that goes on
                        as a plan says, so far as its weights within 0 and 1 ask
  check(spec)           only where some chunks cannot be: ValueError
  logits(reader, read_BTD)
                        if it gives discrete streams: [B, T, C, levels, vocab]

and is called through a `Reader`.
"""

import dataclasses
from typing import Any, Protocol

import flax.linen as nn

from rpt_jax import settings as keys
from rpt_jax.types import Array, PyTree, StreamSpec

ROOM = 'models/heads'


@dataclasses.dataclass(frozen=True)
class HeadSpec:
  """What is read at every step: `steps` steps of a stream.

  `settings` are those of its kind. `reads` names the streams whose tokens of
  a step are normed, summed and read; with none it is the features of the step.
  An objective whose target is as wide as the model, which it does not know,
  leaves the `dim` of a continuous one at 0; see `sized`.
  """

  target: StreamSpec
  settings: Any
  steps: int = 1
  reads: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    return self.target.name

  @property
  def numbers(self) -> int:
    """What a linear layer has to give: values, or logits of all levels."""
    target = self.target
    each = target.dim
    if target.kind == 'discrete':
      each = target.levels * target.vocab
    return self.steps * each


class Kind(Protocol):
  """A file of this room; see above."""

  Settings: type
  KINDS: tuple[str, ...]
  Head: type[nn.Module]

  def loss(self, reader, read_BTD, target, valid_BTC, key) -> tuple: ...
  def sample(self, reader, read_BTD, key, num) -> Array: ...


def kind(spec: HeadSpec) -> Kind:
  """The file of a head."""
  return keys.module(ROOM, keys.kind(spec.settings))


def fit(spec: HeadSpec, target_ND: Array) -> dict[str, Array]:
  """The constants of a head, {} where it has none."""
  return kind(spec).fit(target_ND, spec) if fits(spec) else {}


def fits(spec: HeadSpec) -> bool:
  """Whether a head has constants."""
  return hasattr(kind(spec), 'fit')


def guides(spec: HeadSpec) -> bool:
  """Whether what a head draws can go on as a plan says."""
  return hasattr(kind(spec), 'guided')


def sized(spec: HeadSpec, width: int) -> HeadSpec:
  """The head with its target's width, the model's where it has none."""
  if spec.target.kind != 'continuous' or spec.target.dim:
    return spec
  target = dataclasses.replace(spec.target, dim=width)
  return dataclasses.replace(spec, target=target)


def usual(stream: StreamSpec) -> Any:
  """Settings of what streams are read with where nothing else is asked for."""
  names = {'continuous': 'linear', 'discrete': 'cosine'}
  return keys.module(ROOM, names[stream.kind]).Settings()


def make(spec: HeadSpec, name: str | None = None) -> nn.Module:
  """The module of a head; ValueError for a stream that it cannot give."""
  file = kind(spec)
  if spec.target.kind not in file.KINDS:
    raise ValueError(
      f'head of {spec.name!r}: found {keys.kind(spec.settings)!r} for a '
      f'{spec.target.kind} stream, expected one that gives such streams; it '
      f'gives {file.KINDS}'
    )
  if hasattr(file, 'check'):
    file.check(spec)
  return file.Head(spec, name=name)


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
  """A head with its parameters and constants."""

  spec: HeadSpec
  params: PyTree
  constants: dict[str, Array]

  def __call__(self, read_BTD: Array, query: Any = None) -> Array:
    """What the module gives."""
    module = make(self.spec)
    return module.apply({'params': self.params}, read_BTD, query)

  def loss(self, read_BTD, target, valid_BTC, key) -> tuple[Array, dict]:
    """(each [B, T, C], {measure: [B, T, C]})."""
    return kind(self.spec).loss(self, read_BTD, target, valid_BTC, key)

  def sample(self, read_BTD, key, num: int = 1) -> Array:
    """Draws [num, B, T, C, ...]."""
    return kind(self.spec).sample(self, read_BTD, key, num)

  def guided(self, read_BTD, key, plan_BTCA, weight_BTC) -> Array:
    """One draw [B, T, C, dim] that goes on as the plan says."""
    file = kind(self.spec)
    return file.guided(self, read_BTD, key, plan_BTCA, weight_BTC)

  def logits(self, read_BTD) -> Array:
    """[B, T, C, levels, vocab] of a discrete stream."""
    return kind(self.spec).logits(self, read_BTD)
