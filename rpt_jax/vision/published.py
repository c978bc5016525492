"""Image models as transformers saves them: config.json and safetensors.

A `Family` (one file each in `families/`) says how a config.json becomes an
`Encoder` and which tensor is which parameter; the rest is the same for all.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp

from rpt_jax import target
from rpt_jax.types import PyTree
from rpt_jax.vision import layout, positions, vit, weights
from rpt_jax.vision.model import VisionModel, encoder_model
from rpt_jax.vision.preprocessing import MOST_PIXELS, Preprocess

ACTIVATIONS = {
  'gelu': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'quick_gelu': 'quick_gelu',
  'relu': 'relu',
}


@dataclasses.dataclass(frozen=True)
class Family:
  """What is particular to the files of one family.

  `encoder(config, tensors)` is the network of a config.json; `table(prefix,
  tensors)` names its parameters; `prefixes` are those under which a larger
  model keeps it; `ignored` (a pattern of whole names) is what a file may hold
  besides; `resize` as in `positions.resize`; `preprocess` where it is not what
  preprocessor_config.json says.
  """

  encoder: Callable[[dict, weights.Tensors], vit.Encoder]
  table: Callable[[str, weights.Tensors], layout.Table]
  prefixes: tuple[str, ...]
  ignored: str
  resize: str = 'bicubic'
  preprocess: Preprocess | None = None


def load(
  folder: str | os.PathLike,
  family: Family,
  *,
  output: str = 'mean_patch',
  layer: int = -1,
  image_size: int | None = None,
  dtype: str = target.BY_HARDWARE,
) -> VisionModel:
  """The image model saved in `folder`.

  `image_size` is that of its preprocessor_config.json unless given; other
  than the model's own, it resizes position embeddings. `dtype` is that of the
  operands of products, as `target.operands` takes it; 'float32' is exact.
  Raises ValueError for settings and for files that do not fit.
  """
  preprocess = family.preprocess
  if preprocess is None:
    preprocess = Preprocess.from_config(folder, image_size)
  elif image_size is not None:
    preprocess = preprocess.at(image_size)
  size = image_size or preprocess.size
  encoder, params = read(folder, family, image_size=size, dtype=dtype)
  if preprocess.size is None:
    preprocess = preprocess.at(encoder.image_size)
  return encoder_model(str(folder), encoder, params, output, layer, preprocess)


def read(
  folder: str | os.PathLike,
  family: Family,
  *,
  image_size: int | None = None,
  dtype: str = target.BY_HARDWARE,
) -> tuple[vit.Encoder, PyTree]:
  """The encoder saved in `folder` and its parameters; arguments as `load`."""
  target.operands(dtype)  # Refuses what is none.
  folder = pathlib.Path(folder)
  tensors = weights.open_tensors(folder)
  encoder = family.encoder(weights.read_config(folder), tensors)
  weights.check_depth(tensors, encoder.depth, 'num_hidden_layers')
  encoder = encoder.clone(dtype=dtype)
  table = family.table(find_prefix(tensors, family.prefixes), tensors)
  ignored = re.compile(family.ignored).fullmatch
  params = layout.read(tensors, shapes(encoder), table, ignored)
  if image_size is not None:
    encoder, params = resized(encoder, params, image_size, family.resize)
  return encoder, jax.tree.map(jnp.asarray, params)


def shapes(encoder: vit.Encoder) -> PyTree:
  """The abstract parameters of an encoder; takes no memory."""
  size = encoder.image_size
  image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(encoder.init, jax.random.key(0), image)['params']


def untrained(
  encoder: vit.Encoder,
  *,
  output: str = 'mean_patch',
  layer: int = -1,
  image_size: int | None = None,
) -> VisionModel:
  """An encoder as `load` will give it once it is trained and saved.

  Raises ValueError as `load` does, and for frames that are not whole patches.
  """
  size = image_size or encoder.image_size
  if size % encoder.patch:
    raise ValueError(
      f'image_size: found {size}, expected a multiple of the patch of '
      f'{encoder.patch}'
    )
  encoder = encoder.clone(image_size=size)
  if not encoder.projection:  # What is saved as a ViT is read unpooled.
    encoder = encoder.clone(pool='none')
  return encoder_model('untrained', encoder, shapes(encoder), output, layer)


def resized(
  encoder: vit.Encoder, params: PyTree, image_size: int, method: str
) -> tuple[vit.Encoder, PyTree]:
  """The same encoder for frames of another size."""
  if image_size == encoder.image_size:
    return encoder, params
  if image_size < 1 or image_size % encoder.patch:
    raise ValueError(
      f'image_size: found {image_size}, expected a multiple of the patch, '
      f'{encoder.patch}'
    )
  encoder = encoder.clone(image_size=image_size)
  place_TD = params['positions']
  first = int(encoder.cls)
  place_PD = positions.resize(place_TD[first:], encoder.side, method)
  place_TD = jnp.concatenate([place_TD[:first], place_PD])
  return encoder, {**params, 'positions': place_TD}


def shape_fields(config: dict) -> dict:
  """The fields of an `Encoder` that all families spell the same way.

  Raises ValueError for what no family here has: other than three channels,
  patches that are not square, attention without biases.
  """
  if config.get('num_channels', 3) != 3 or not config.get('qkv_bias', True):
    raise ValueError(
      f'{weights.CONFIG}: found num_channels={config.get("num_channels")}, '
      f'qkv_bias={config.get("qkv_bias")}; only 3 and true are read'
    )
  return dict(
    patch=_square(config, 'patch_size'),
    width=config['hidden_size'],
    depth=config['num_hidden_layers'],
    num_heads=config['num_attention_heads'],
    activation=activation(config['hidden_act']),
    epsilon=config['layer_norm_eps'],
    learned_positions=True,
  )


def image_size(config: dict) -> int:
  """The side of the frames a config.json is for."""
  return _square(config, 'image_size')


def activation(name: str) -> str:
  """Our name of an activation; ValueError for one that is not known."""
  if name not in ACTIVATIONS:
    raise ValueError(
      f'{weights.CONFIG}: hidden_act is {name!r}, expected one of '
      f'{sorted(ACTIVATIONS)}'
    )
  return ACTIVATIONS[name]


def find_prefix(tensors: weights.Tensors, prefixes: tuple[str, ...]) -> str:
  """The first of `prefixes` that tensors have; '' where none."""
  for prefix in prefixes:
    if any(name.startswith(prefix) for name in tensors.shapes):
      return prefix
  return ''


def _square(config, field):
  value = config[field]
  if isinstance(value, list) and len(set(value)) == 1:
    value = value[0]
  if not isinstance(value, int) or not 0 < value <= MOST_PIXELS:
    raise ValueError(
      f'{weights.CONFIG}: {field} is {value}, expected one whole number up to '
      f'{MOST_PIXELS}'
    )
  return value
