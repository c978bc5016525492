"""Image models: `load` one by name, folder or Hugging Face id, apply it."""

import contextlib
import importlib
import os
import pathlib

from rpt_jax import target
from rpt_jax.vision import hub, weights
from rpt_jax.vision.model import VisionModel
from rpt_jax.vision.text import TextModel

__all__ = ['TextModel', 'VisionModel', 'load', 'load_text']

_SETTINGS = 'output', 'layer', 'image_size', 'dtype'
CONTROLS = ('random', 'pixels', 'edges')
# What config.json calls a model: (the file that reads it, its Family there).
FAMILIES = {
  'clip': ('clip', 'FAMILY'),
  'clip_vision_model': ('clip', 'FAMILY'),
  'dinov2': ('dinov2', 'FAMILY'),
  'dinov2_with_registers': ('dinov2', 'WITH_REGISTERS'),
  'siglip': ('siglip', 'FAMILY'),
  'siglip2': ('siglip', 'NAFLEX'),
  'siglip2_vision_model': ('siglip', 'NAFLEX'),
  'siglip_vision_model': ('siglip', 'FAMILY'),
  'vit': ('vit', 'FAMILY'),
  'vit_mae': ('vit_mae', 'FAMILY'),
}
# Those that are no vision transformers: the file that reads them.
NETWORKS = {
  'discrete_vae': 'dvae',
  'patch_merging': 'merging',
  'resnet': 'resnet',
}
TEXT_FAMILIES = {
  'clip': 'clip',
  'clip_text_model': 'clip',
  'siglip': 'siglip',
  'siglip2': 'siglip',
  'siglip2_text_model': 'siglip',
  'siglip_text_model': 'siglip',
}


def load(name_or_path: str | os.PathLike, **settings) -> VisionModel:
  """Loads an image model: `.apply(params, x)`, `.params`, `.preprocess(u8)`.

  A folder with a config.json as transformers or an image objective writes it, a
  safetensors file of MobileNetV1 or a ResNet (torchvision's or R3M's names),
  an id 'organisation/name' of Hugging Face (extra 'hub'), or a control:
  'random', 'pixels', 'edges'. `settings`: `output` ('cls', 'mean_patch',
  'patches', 'grid<g>', 'pooled', 'projected', as far as the model has them),
  `layer` (-1 the end), `image_size`, `dtype` as `target.operands` takes it.

  Raises ValueError for an unknown name and for weights that do not fit.
  """
  name, path = str(name_or_path), pathlib.Path(name_or_path)
  if name in CONTROLS:
    return _module(name).load(name, **settings)
  if path.is_dir():
    return _load_folder(path, settings)
  if path.suffix == '.safetensors' and path.is_file():
    mobile = 'conv_0.conv.kernel' in weights.open_tensors(path).shapes
    module = _module('mobilenet' if mobile else 'resnet')
    return module.load(path, **settings)
  if hub.ID.fullmatch(name):
    return _load_folder(hub.download(name), settings)
  raise ValueError(
    f'{name}: {_what(path)}; expected a folder, a .safetensors file, '
    f"'organisation/name' of Hugging Face, or one of {CONTROLS}"
  )


def _what(path):
  return 'found another file' if path.exists() else 'no such file or folder'


def load_text(
  name_or_path: str | os.PathLike, *, dtype: str = target.BY_HARDWARE
) -> TextModel:
  """Loads the text tower of CLIP or SigLIP: `.apply(params, ids [N, T])`.

  A folder or an id of Hugging Face, as in `load`; errors too.
  """
  name, folder = str(name_or_path), pathlib.Path(name_or_path)
  if not folder.is_dir() and hub.ID.fullmatch(name):
    folder = hub.download(name)
  kind = weights.read_config(folder)['model_type']
  if kind not in TEXT_FAMILIES:
    raise ValueError(
      f'{folder / weights.CONFIG}: model_type {kind!r} has no text tower read '
      f'here; expected one of {sorted(TEXT_FAMILIES)}'
    )
  family = _module(f'families.{TEXT_FAMILIES[kind]}').TEXT
  with _naming(folder):
    return _module('text').load(folder, family, dtype=dtype)


def _load_folder(folder, settings):
  kind = weights.read_config(folder)['model_type']
  if kind in NETWORKS:
    with _naming(folder):
      return _module(NETWORKS[kind]).load(folder, **settings)
  if kind not in FAMILIES:
    raise ValueError(
      f'{folder / weights.CONFIG}: model_type {kind!r} is no image model read '
      f'here; expected one of {sorted([*FAMILIES, *NETWORKS])}'
    )
  module, family = FAMILIES[kind]
  family = getattr(_module(f'families.{module}'), family)
  with _naming(folder):
    return _module('published').load(folder, family, **settings)


@contextlib.contextmanager
def _naming(folder):
  """Errors of a folder's files name it; what is said of settings stays."""
  try:
    yield
  except ValueError as error:
    if str(error).startswith(weights.CONFIG):
      raise ValueError(f'{folder}/{error}') from error
    of_settings = str(error).partition(':')[0] in _SETTINGS
    if of_settings or str(folder) in str(error):
      raise
    raise ValueError(f'{folder}: {error}') from error
  except Exception as error:  # What is made of wrong sizes.
    raise ValueError(
      f'{folder}: no model that can be read ({type(error).__name__}: '
      f'{" ".join(str(error).split())[:300]}); fetch it again'
    ) from error


def _module(name):
  return importlib.import_module(f'{__name__}.{name}')
