"""What every image model looks like from outside: frames to latents."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rpt_jax.types import Array, PyTree
from rpt_jax.vision import vit


@dataclasses.dataclass(frozen=True)
class VisionModel:
  """A frozen image model.

  `preprocess(image u8 [N, H, W, 3]) -> f32`, `apply(params, that) -> f32
  [N, dim]`; `dim` is the width of a latent, `image_size` the H = W it takes
  (None: frames as they are).
  """

  name: str
  apply: Callable[[PyTree, Array], Array]
  params: PyTree
  preprocess: Callable[[Array], Array]
  dim: int
  image_size: int | None

  def encode(self, image_NHWC: Array, batch_size: int = 64) -> Array:
    """uint8 frames [N, H, W, 3] to latents f32 [N, dim], a batch at a time.

    Compiled for a batch; what is missing of the last one is filled up.
    """
    run = functools.partial(_encode, self.apply, self.preprocess, self.params)
    count = len(image_NHWC)
    if count <= batch_size:
      return run(image_NHWC)
    parts = []
    for first in range(0, count, batch_size):
      part_BHWC = image_NHWC[first : first + batch_size]
      if missing := batch_size - len(part_BHWC):
        part_BHWC = jnp.pad(part_BHWC, ((0, missing), *[(0, 0)] * 3))
      parts.append(run(part_BHWC))
    return jnp.concatenate(parts)[:count]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode(apply, preprocess, params, image_NHWC):
  return apply(params, preprocess(image_NHWC))


def build(name, apply, params, preprocess, image_size) -> VisionModel:
  """A VisionModel whose `dim` is asked of `apply`."""
  frame = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.uint8)
  latent = jax.eval_shape(lambda p, x: apply(p, preprocess(x)), params, frame)
  return VisionModel(
    name, apply, params, preprocess, latent.shape[-1], image_size
  )


def encoder_model(
  name: str,
  encoder: vit.Encoder,
  params: PyTree,
  output: str,
  layer: int,
  preprocess: Callable[[Array], Array] = vit.preprocess,
) -> VisionModel:
  """A ViT read at one place.

  `output` as in `vit.read`; `layer` -1 is the end, k >= 0 the output of
  block k before any norm (later blocks are then neither kept nor computed).
  """
  if not -1 <= layer < encoder.depth:
    raise ValueError(
      f'layer: found {layer}, expected -1 (the end) or a block from 0 to '
      f'{encoder.depth - 1}'
    )
  if layer >= 0:
    encoder, params = _first_blocks(encoder, params, layer + 1)

  apply = reading(encoder, output, layer)
  return build(name, apply, params, preprocess, encoder.image_size)


@functools.lru_cache(maxsize=64)
def reading(encoder, output, layer):
  """(params, frames) -> latents; one function for models that are alike, so
  that what was compiled for one serves the others."""

  def apply(params, image_NHWC):
    features = encoder.apply({'params': params}, image_NHWC)
    if layer >= 0:
      features = vit.Features(features.tokens, None, None)
    return vit.read(features, encoder, output)

  return apply


def _first_blocks(encoder, params, depth):
  """The encoder cut after `depth` blocks, its tokens not normed."""
  stacked = params['transformer']['blocks']

  def cut(x):
    return x[:depth]

  if isinstance(jax.tree.leaves(stacked)[0], jax.ShapeDtypeStruct):
    blocks = jax.eval_shape(lambda tree: jax.tree.map(cut, tree), stacked)
  else:
    blocks = jax.tree.map(cut, stacked)
  params = {**params, 'transformer': {'blocks': blocks}}
  return encoder.clone(depth=depth, norm_tokens=False), params
