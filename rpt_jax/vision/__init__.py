"""Image models: `load` one by name or folder, apply it to frames."""

import importlib
import importlib.util
import os
import pathlib

from rpt_jax.vision import weights
from rpt_jax.vision.model import VisionModel

__all__ = ['VisionModel', 'load']


def load(name_or_path: str | os.PathLike, **settings) -> VisionModel:
  """Loads an image model: `.apply(params, x)`, `.params`, `.preprocess(u8)`.

  A folder is loaded by the module its config.json names as 'kind' (what
  `mae.save` wrote); any other name is a module of this room: 'random',
  'pixels'. `settings` (`output`, `layer`, ...) go to the module's `load`.

  Raises ValueError for an unknown name and for weights that do not fit.
  """
  path = pathlib.Path(name_or_path)
  kind = str(name_or_path)
  if path.is_dir():
    kind = weights.read_config(path)['kind']
  name = f'{__name__}.{kind}'
  found = kind.isidentifier() and importlib.util.find_spec(name)
  module = importlib.import_module(name) if found else None
  if not hasattr(module, 'load'):
    raise ValueError(
      f'{name_or_path}: no folder of a saved model, and {kind!r} is no image '
      "model; give a folder with a config.json, 'random' or 'pixels'"
    )
  return module.load(name_or_path, **settings)
