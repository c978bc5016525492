"""A small network of patches that merge: cheap, and its latent is narrow.

Patches are embedded and merged two by two in each direction, as between the
stages of Swin (Liu et al. 2021, arXiv 2103.14030, section 3.1) but without
attention; one linear layer over all of what is left makes the latent of a
frame. All of it is products of matrices, which a CPU runs faster than
convolutions of few channels.
"""

import os
import pathlib

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import traverse_util

from rpt_jax import target
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import vit, weights
from rpt_jax.vision.families.vit import preprocessor_of
from rpt_jax.vision.model import VisionModel, build, reading
from rpt_jax.vision.preprocessing import Preprocess
from rpt_jax.vision.published import shapes

MODEL_TYPE = 'patch_merging'


class Encoder(nn.Module):
  """Patches of a frame to its latent; hashable, so static.

  `widths` are numbers of a patch, first and after every merge; `latent` those
  of a frame.
  """

  image_size: int = 64
  patch: int = 4
  widths: tuple[int, ...] = (32, 32)
  latent: int = 256
  dtype: str = target.BY_HARDWARE
  num_prefix = 0  # Tokens before the patches.

  @property
  def side(self) -> int:
    """Patches in a row, after all merges."""
    return self.image_size // self.cell

  @property
  def cell(self) -> int:
    """Pixels of a side of such a patch."""
    return self.patch * 2 ** (len(self.widths) - 1)

  @nn.compact
  def __call__(self, image_NHWC: Array) -> vit.Features:
    """f32 frames [N, H, W, 3], H = W = image_size -> Features.

    The one token [N, 1, latent] is of the whole frame, and pooled, too.
    """
    size = self.image_size
    if image_NHWC.shape[1:3] != (size, size):
      raise ValueError(
        f'image: found {image_NHWC.shape[1:3]}, expected {size}x{size}'
      )
    x_NPD = vit.patchify(image_NHWC, self.patch)
    for stage, width in enumerate(self.widths):
      if stage:
        x_NPD = _merge(x_NPD)
      x_NPD = nn.gelu(self._dense(width, f'stage_{stage}', x_NPD))
      x_NPD = nn.LayerNorm(name=f'norm_{stage}')(x_NPD)
    flat_ND = x_NPD.reshape(len(x_NPD), -1)
    latent_ND = self._dense(self.latent, 'latent', flat_ND)
    return vit.Features(latent_ND[:, None], latent_ND, None)

  def _dense(self, features, name, x):
    flat = dense(features, name, self.dtype)(x.reshape(-1, x.shape[-1]))
    return flat.reshape(*x.shape[:-1], features)


def _merge(x_NPD):
  """Four neighbours to one token: [N, P, D] -> [N, P / 4, 4 D]."""
  side = round(x_NPD.shape[1] ** 0.5) // 2
  return rearrange(
    x_NPD, 'n (h a w b) d -> n (h w) (a b d)', h=side, w=side, a=2, b=2
  )


def vision_model(
  name: str,
  encoder: Encoder,
  params: PyTree,
  output: str = 'patches',
  layer: int = -1,
  preprocess: Preprocess | None = None,
) -> VisionModel:
  """An encoder that gives its latent, whatever `output` of `vit.read` one asks.

  Raises ValueError for another layer than the end.
  """
  if layer != -1:
    raise ValueError(f'layer: found {layer}, expected -1: there are no blocks')

  apply, size = reading(encoder, output, layer), encoder.image_size
  preprocess = preprocess or Preprocess((size, size))
  return build(name, apply, params, preprocess, size)


def save(encoder: Encoder, params: PyTree, directory) -> None:
  """Writes what `load` reads: config.json and model.safetensors."""
  config = {
    'model_type': MODEL_TYPE,
    'image_size': encoder.image_size,
    'patch_size': encoder.patch,
    'hidden_sizes': list(encoder.widths),
    'latent_size': encoder.latent,
  }
  flat = traverse_util.flatten_dict(params, sep='.')
  tensors = {name: np.asarray(x, np.float32) for name, x in flat.items()}
  preprocessor = preprocessor_of(encoder)
  weights.write(directory, config, tensors, preprocessor_config=preprocessor)


def load(
  folder: str | os.PathLike,
  *,
  output: str = 'patches',
  layer: int = -1,
  image_size: int | None = None,
  dtype: str = target.BY_HARDWARE,
) -> VisionModel:
  """The encoder saved in `folder`, for frames of the size it was trained on.

  Raises ValueError for settings and for files that do not fit.
  """
  folder = pathlib.Path(folder)
  size, patch, widths, latent = weights.require(
    weights.read_config(folder), folder / weights.CONFIG,
    'image_size', 'patch_size', 'hidden_sizes', 'latent_size',
  )  # fmt: skip
  tensors = weights.open_tensors(folder)
  weights.check_depth(tensors, [1] * len(widths), 'hidden_sizes')
  _check_size(image_size, size)
  target.operands(dtype)  # Refuses what is none.
  encoder = Encoder(size, patch, tuple(widths), latent, dtype)
  expected = traverse_util.flatten_dict(shapes(encoder), sep='.')
  weights.check(tensors, {name: x.shape for name, x in expected.items()})
  params = {name: jnp.asarray(tensors[name]) for name in expected}
  params = traverse_util.unflatten_dict(params, sep='.')
  preprocess = Preprocess.from_config(folder)
  return vision_model(str(folder), encoder, params, output, layer, preprocess)


def untrained(
  encoder: Encoder,
  *,
  output: str = 'patches',
  layer: int = -1,
  image_size: int | None = None,
) -> VisionModel:
  """An encoder as `load` will give it, with shapes for weights."""
  _check_size(image_size, encoder.image_size)
  return vision_model('untrained', encoder, shapes(encoder), output, layer)


def _check_size(image_size, own):
  """The latent has a weight for every place, so that no other size fits."""
  if image_size not in (None, own):
    raise ValueError(f'image_size: found {image_size}, expected {own}')
