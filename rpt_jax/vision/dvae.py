"""Frames as a grid of codes, and back: the two halves of a discrete VAE.

As DALL-E has them (Ramesh et al. 2021, arXiv 2102.12092, appendix A.1):
residual blocks of 3x3 convolutions whose branches are scaled by 1 / n^2 of n
blocks, and a linear layer to the logits of a codebook. In the place of
convolutions with pooling frames are cut into patches at once, which is what a
CPU can pay for.
"""

import dataclasses
import functools
import os
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from rpt_jax import target
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import vit, weights
from rpt_jax.vision.families.vit import preprocessor_of
from rpt_jax.vision.model import VisionModel, build
from rpt_jax.vision.preprocessing import Preprocess

MODEL_TYPE = 'discrete_vae'
# Of logits, so that patches that differ have codes of their own from the start,
# in spite of the noise that codes are drawn with.
GAIN = 5.0


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Shapes of both halves; hashable, so static under `jit`.

  `patch` pixels a side share a code; `width` numbers and `depth` residual
  blocks has each half; the codebook has `vocab` codes of `code` numbers.
  """

  image_size: int = 64
  patch: int = 8
  width: int = 64
  depth: int = 2
  vocab: int = 128
  code: int = 32

  @property
  def side(self) -> int:
    """Codes in a row of the grid."""
    return self.image_size // self.patch


class _Blocks(nn.Module):
  """Residual blocks over the grid [N, P, D] of P = side * side."""

  sizes: Sizes

  @nn.compact
  def __call__(self, x_NPD):
    side, width = self.sizes.side, self.sizes.width
    gain = 1 / self.sizes.depth**2
    x = x_NPD.reshape(-1, side, side, width)
    for i in range(self.sizes.depth):
      h = nn.Conv(width, (3, 3), name=f'first_{i}')(nn.relu(x))
      x += gain * nn.Conv(width, (3, 3), name=f'second_{i}')(nn.relu(h))
    return x.reshape(x_NPD.shape)


class Encoder(nn.Module):
  """Frames f32 [N, H, W, 3] within -1 and 1 -> logits [N, P, vocab].

  A patch is seen as it differs from the mean colour of its frame, beside that
  colour: else what all patches share has nearly all the say at first, and all
  get one code.
  """

  sizes: Sizes

  @nn.compact
  def __call__(self, image_NHWC):
    sizes = self.sizes
    colour_N11C = image_NHWC.mean((1, 2), keepdims=True)
    patch_NPK = vit.patchify(image_NHWC - colour_N11C, sizes.patch)
    shape = *patch_NPK.shape[:2], colour_N11C.shape[-1]
    colour_NPC = jnp.broadcast_to(colour_N11C[:, 0], shape)
    patch_NPK = jnp.concatenate([patch_NPK, colour_NPC], axis=-1)
    x_NPD = _dense(sizes.width, 'embed', patch_NPK)
    x_NPD = nn.relu(_Blocks(sizes, name='blocks')(x_NPD))
    return GAIN * _dense(sizes.vocab, 'logits', x_NPD)


class Decoder(nn.Module):
  """How much of each code [N, P, vocab] -> (centre, log of the scale).

  Both [N, H, W, 3], in logits of a pixel.
  """

  sizes: Sizes

  @nn.compact
  def __call__(self, share_NPV):
    sizes, start = self.sizes, nn.initializers.normal(1.0)
    book_VE = self.param('codebook', start, (sizes.vocab, sizes.code))
    x_NPD = _dense(sizes.width, 'embed', share_NPV @ book_VE)
    x_NPD = nn.relu(_Blocks(sizes, name='blocks')(x_NPD))
    patch_NPK = _dense(2 * 3 * sizes.patch**2, 'pixels', x_NPD)
    centre, scale = jnp.split(patch_NPK, 2, axis=-1)
    return vit.unpatchify(centre, sizes.patch), vit.unpatchify(
      scale, sizes.patch
    )


def _dense(features, name, x_NPD):
  flat = dense(features, name)(x_NPD.reshape(-1, x_NPD.shape[-1]))
  return flat.reshape(*x_NPD.shape[:-1], features)


@dataclasses.dataclass(frozen=True)
class Codes:
  """Both halves with their parameters: frames to codes, and codes to frames."""

  sizes: Sizes
  params: PyTree  # 'encoder' and 'decoder'.

  def logits(self, image_NHWC: Array) -> Array:
    """Of every code at every place, [N, P, vocab], of uint8 frames."""
    frame = vit.preprocess(image_NHWC)
    params = {'params': self.params['encoder']}
    return Encoder(self.sizes).apply(params, frame)

  def encode(self, image_NHWC: Array) -> Array:
    """The likeliest codes, int32 [N, P], of uint8 frames."""
    return self.logits(image_NHWC).argmax(-1).astype(jnp.int32)

  def pixels(self, share_NPV: Array) -> tuple[Array, Array]:
    """What `Decoder` gives of shares of codes."""
    params = {'params': self.params['decoder']}
    return Decoder(self.sizes).apply(params, share_NPV)

  def decode(self, code_NP: Array) -> Array:
    """Frames uint8 [N, H, W, 3] of codes: the centre of each pixel."""
    centre, _ = self.pixels(jax.nn.one_hot(code_NP, self.sizes.vocab))
    return as_pixels(centre)


jax.tree_util.register_dataclass(Codes, ['params'], ['sizes'])


def as_logits(image_NHWC: Array) -> Array:
  """Pixels uint8 as logits of .8 x + .1 (appendix A.3), which are finite."""
  x = 0.8 * image_NHWC.astype(jnp.float32) / 255 + 0.1
  return jnp.log(x) - jnp.log1p(-x)


def as_pixels(logit_NHWC: Array) -> Array:
  """The inverse of `as_logits`, rounded, uint8."""
  x = (jax.nn.sigmoid(logit_NHWC) - 0.1) / 0.8
  return jnp.round(255 * x.clip(0, 1)).astype(jnp.uint8)


def init(sizes: Sizes, key: Array) -> PyTree:
  """Parameters of both halves."""
  keys = jax.random.split(key)
  size, places = sizes.image_size, sizes.side**2
  image = jnp.zeros((1, size, size, 3))
  share = jnp.zeros((1, places, sizes.vocab))
  halves = {'encoder': (Encoder, image), 'decoder': (Decoder, share)}
  return {
    name: jax.jit(half(sizes).init)(k, x)['params']
    for k, (name, (half, x)) in zip(keys, halves.items(), strict=True)
  }


def save(sizes: Sizes, params: PyTree, directory) -> None:
  """Writes what `load` and `codes` read: config.json, model.safetensors."""
  flat = traverse_util.flatten_dict(params, sep='.')
  tensors = {name: np.asarray(x, np.float32) for name, x in flat.items()}
  config = {'model_type': MODEL_TYPE} | dataclasses.asdict(sizes)
  preprocessor = preprocessor_of(sizes)
  weights.write(directory, config, tensors, preprocessor_config=preprocessor)


def codes(folder: str | os.PathLike) -> Codes:
  """Both halves as `save` wrote them; ValueError for files that do not fit."""
  folder = pathlib.Path(folder)
  names = [field.name for field in dataclasses.fields(Sizes)]
  values = weights.require(
    weights.read_config(folder), folder / weights.CONFIG, *names
  )
  if not all(type(value) is int and value > 0 for value in values):
    raise ValueError(
      f'{folder / weights.CONFIG}: found {values} for {names}, expected whole '
      'numbers above 0'
    )
  sizes, tensors = Sizes(*values), weights.open_tensors(folder)
  weights.check_depth(tensors, sizes.depth, 'depth')
  expected = traverse_util.flatten_dict(_shapes(sizes), sep='.')
  weights.check(tensors, {name: x.shape for name, x in expected.items()})
  params = {name: jnp.asarray(tensors[name]) for name in expected}
  return Codes(sizes, traverse_util.unflatten_dict(params, sep='.'))


def load(
  folder: str | os.PathLike,
  *,
  output: str = 'patches',
  layer: int = -1,
  image_size: int | None = None,
  dtype: str = target.BY_HARDWARE,
) -> VisionModel:
  """The codes of a frame as vectors of the codebook, as any image model.

  Raises ValueError for settings and for files that do not fit.
  """
  target.operands(dtype)  # Refuses what is none.
  own = codes(folder)
  how = {'output': output, 'layer': layer, 'image_size': image_size}
  return _vision_model(str(folder), own.sizes, own.params, **how)


def untrained(sizes: Sizes, **how) -> VisionModel:
  """As `load` will give it, with shapes for weights."""
  return _vision_model('untrained', sizes, _shapes(sizes), **how)


def _vision_model(
  name, sizes, params, output='patches', layer=-1, image_size=None
):
  """Raises ValueError for a size or layer that there is not."""
  if layer != -1:
    raise ValueError(f'layer: found {layer}, expected -1: there are no blocks')
  size = sizes.image_size
  if image_size not in (None, size):
    raise ValueError(f'image_size: found {image_size}, expected {size}')
  preprocess = Preprocess((size, size))
  return build(name, _reading(sizes, output), params, preprocess, size)


@functools.lru_cache(maxsize=16)
def _reading(sizes, output):
  """(params, frames) -> latents; one function of models that are alike."""

  def apply(params, image_NHWC):
    encoder = {'params': params['encoder']}
    code_NP = Encoder(sizes).apply(encoder, image_NHWC).argmax(-1)
    book_VE = params['decoder']['codebook']
    return vit.readout(book_VE[code_NP], output, num_prefix=0)

  return apply


def _shapes(sizes):
  return jax.eval_shape(lambda key: init(sizes, key), jax.random.key(0))
