"""The image model that a config names, as one function of frames."""

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rpt_jax import settings, vision
from rpt_jax.domains import Domain
from rpt_jax.domains.playing import pad
from rpt_jax.results import See
from rpt_jax.types import Array, PyTree

TRAINED = 'trained'  # By the stage see, on the frames of the config.
STATE = 'state'  # The control that sees the true state.
POSITIONS = 'positions'  # The control that sees what a frame shows of it.
TRUE = (STATE, POSITIONS)


class FrameEncoder(NamedTuple):
  """`apply(params, {'image': u8 [N, H, W, 3], 'state': f32 [N, P]})`.

  Gives latents [N, dim]; looks at 'image' or at 'state', as `field` says. Of
  the controls in `TRUE`, `shown` {domain: bool [dim]} are the numbers seen.
  """

  apply: Callable[[PyTree, dict[str, Array]], Array]
  params: PyTree
  dim: int
  field: str = 'image'
  shown: Mapping[str, np.ndarray] = types.MappingProxyType({})


def load(
  name: str,
  encode: settings.Encode,
  inputs: Mapping[str, Path],
  domains: Sequence[Domain],
) -> FrameEncoder:
  """The encoder called `name`; the state is padded to the widest domain's."""
  if name not in TRUE:
    return of_model(load_model(name, encode, inputs))
  dim = state_dim(domains)
  return FrameEncoder(
    _telling(dim),
    {},
    dim,
    STATE,
    {domain.name: _shown(name, domain, dim) for domain in domains},
  )


@functools.cache
def _telling(dim):
  """(which numbers are shown [dim], {'state': ...}) -> those, as latents."""
  return lambda shown_D, seen: pad(seen['state'], dim) * shown_D[None]


def _shown(name, domain, dim):
  """f32 [dim]: 1 where a control in `TRUE` sees a number of the state."""
  seen = domain.visible if name == POSITIONS else range(domain.state_dim)
  return np.isin(np.arange(dim), seen).astype(np.float32)


def of_model(model: vision.VisionModel) -> FrameEncoder:
  """An image model that looks at 'image'."""
  apply = _looking(model.apply, model.preprocess)
  return FrameEncoder(apply, model.params, model.dim)


@functools.lru_cache(maxsize=64)
def _looking(apply, preprocess):
  """(params, {'image': frames}) -> latents, one function for models alike."""
  return lambda params, seen: apply(params, preprocess(seen['image']))


def state_dim(domains: Sequence[Domain]) -> int:
  """Width of the widest true state."""
  return max(domain.state_dim for domain in domains)


def load_model(
  name: str, encode: settings.Encode, inputs: Mapping[str, Path]
) -> vision.VisionModel | None:
  """The image model, pretrained before or published; None for the state."""
  if name in TRUE:
    return None
  what, how = image_from(name, encode, inputs)
  return vision.load(what, **how)


def image_from(
  name: str, encode: settings.Encode, inputs: Mapping[str, Path]
) -> tuple[str | Path, dict]:
  """(what, settings) that `vision.load(what, **settings)` takes."""
  return inputs[See.STAGE] / 'model' if name == TRAINED else name, how(encode)


def beside(
  probed: Sequence[str], finetune: settings.Finetune | None
) -> tuple[str, ...]:
  """The encoders beside the config's, to probe or to learn from."""
  policies = finetune.eyes if finetune else ()
  return tuple(dict.fromkeys((*probed, *policies)))


def encode_of(encode: settings.Encode, eyes: str) -> settings.Encode:
  """How frames are encoded by the config's encoder, or by one beside it."""
  if not eyes:
    return encode
  own = settings.Encode()
  return dataclasses.replace(
    encode, output=own.output, layer=own.layer, image_size=own.image_size
  )


def stage(eyes: str) -> str:
  """The stage that encodes frames with those eyes."""
  return f'encode_{eyes}' if eyes else 'encode'


def how(encode: settings.Encode) -> dict:
  """What of `config.encode` goes to `vision.load`."""
  chosen = {'output': encode.output}
  if encode.layer != -1:
    chosen['layer'] = encode.layer
  if encode.image_size:
    chosen['image_size'] = encode.image_size
  return chosen
