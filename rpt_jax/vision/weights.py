"""Weights on disk: safetensors, and a config.json that says what they are.

Files are those of the transformers library: `model.safetensors`, or several
files and `model.safetensors.index.json`. Nothing here can run code from them.
"""

import json
import os
import pathlib
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from rpt_jax import files

CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
INDEX = f'{WEIGHTS}.index.json'
_FLOATS = ('F64', 'F32', 'F16', 'BF16')


class Tensors(NamedTuple):
  """Named tensors on disk, read one at a time.

  `shapes` {name: shape} of all, `files` {name: path} where they are; `path`
  is what to name in an error.
  """

  path: pathlib.Path
  shapes: dict[str, tuple[int, ...]]
  files: dict[str, pathlib.Path]

  def __getitem__(self, name: str) -> np.ndarray:
    """One tensor as f32; ValueError where a value is not finite."""
    with _opened(self.files[name]) as file:
      dtype = file.get_slice(name).get_dtype()
      if dtype not in _FLOATS:
        raise ValueError(
          f'{self.path}: {name} is {dtype}, expected one of {_FLOATS}'
        )
      value = file.get_tensor(name).astype(np.float32)
    if not np.isfinite(value).all():
      raise ValueError(
        f'{self.path}: {name} has values that are not finite; the file is '
        'damaged, fetch it again'
      )
    return value


def open_tensors(path: str | os.PathLike) -> Tensors:
  """The tensors of a safetensors file, or of a folder that holds a model.

  Raises ValueError for what is missing, truncated or no safetensors file.
  """
  path = pathlib.Path(path)
  if not path.is_dir():
    return Tensors(path, *_contents(path))
  if not (path / INDEX).exists():
    return Tensors(path / WEIGHTS, *_contents(path / WEIGHTS))
  listed = files.read_json(path / INDEX, 'weight_map')['weight_map']
  if not isinstance(listed, dict):
    raise ValueError(f'{path / INDEX}: weight_map: no map of names to files')
  shapes, places = {}, {}
  for name in sorted(set(listed.values()), key=str):
    part_shapes, part_places = _contents(files.inside(path, name))
    shapes |= part_shapes
    places |= part_places
  missing = sorted(listed.keys() - places.keys())
  if missing:
    raise ValueError(f'{path / INDEX}: {_some(missing)} in none of its files')
  return Tensors(path / INDEX, shapes, places)


def read_config(folder: str | os.PathLike) -> dict:
  """config.json of a model; ValueError where it has no 'model_type'."""
  path = pathlib.Path(folder) / CONFIG
  if not path.exists():
    raise ValueError(f'{path}: no such file; give the folder of a saved model')
  config = files.read_json(path)
  if not isinstance(config.get('model_type'), str):
    raise ValueError(
      f"{path}: no 'model_type', so what the weights are is unknown; expected "
      'a folder that transformers (save_pretrained) or rpt_jax wrote'
    )
  return config


def require(config: dict, path: os.PathLike, *names: str) -> list:
  """The values of fields that must be there; ValueError names the others."""
  missing = [name for name in names if name not in config]
  if missing:
    raise ValueError(f'{path}: {_some(missing)} missing')
  return [config[name] for name in names]


def check_depth(tensors: Tensors, depth: int | list[int], key: str) -> None:
  """Raises ValueError where there are fewer tensors than layers.

  `depth` is what the `key` of a config.json says: their number, or that of
  every stage.
  """
  depths = depth if isinstance(depth, list) else [depth]
  whole = all(type(each) is int and each > 0 for each in depths)
  if not whole or not 0 < sum(depths) <= len(tensors.shapes):
    raise ValueError(
      f'{tensors.path.parent / CONFIG}: {key} is {depth!r}, but the weights '
      f'are {len(tensors.shapes)} tensors'
    )


def check(tensors: Tensors, expected: dict, ignored=lambda name: False) -> None:
  """Raises ValueError unless exactly the `expected` {name: shape} are there.

  Names of which `ignored` is true may be there too. Axes of length 1 do not
  count: a class token is [D], [1, D] or [1, 1, D].
  """
  shapes = tensors.shapes
  problems = [f'{name} is missing' for name in expected if name not in shapes]
  problems += [
    f'{name} is not expected'
    for name in shapes
    if name not in expected and not ignored(name)
  ]
  problems += [
    f'{name} is {list(shapes[name])}, expected {list(expected[name])}'
    for name in expected
    if name in shapes and _long(shapes[name]) != _long(expected[name])
  ]
  if problems:
    raise ValueError(f'{tensors.path}: {_some(sorted(problems), "; ")}')


def write(
  folder: str | os.PathLike, config: dict, tensors: dict, **jsons: dict
) -> None:
  """Writes weights, other `jsons` ({stem: object}) and the config, in order.

  Each file appears whole or not at all.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  # Not `ascontiguousarray`, which makes a number an array of one.
  flat = {name: np.require(x, None, 'C') for name, x in tensors.items()}
  content = safetensors.save(flat, metadata={'format': 'pt'})
  _write(folder / WEIGHTS, content)
  for stem, value in (*jsons.items(), ('config', config)):
    text = json.dumps(value, indent=2, sort_keys=True) + '\n'
    _write(folder / f'{stem}.json', text.encode())


def _contents(path):
  """({name: shape}, {name: path}) of one file, from its header alone."""
  with _opened(files.regular(path)) as file:
    names = list(file.keys())
    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
  return shapes, dict.fromkeys(names, path)


def _opened(path):
  try:
    return safe_open(path, 'np')
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f'{path}: not a whole safetensors file ({error}); fetch it again'
    ) from error


def _long(shape):
  return tuple(size for size in shape if size != 1)


def _some(names, separator=', '):
  """All of a short list, the first of a long one."""
  names = list(names)
  more = f'{separator}and {len(names) - 8} more' if len(names) > 8 else ''
  return separator.join(names[:8]) + more


def _write(path, content):
  with files.writing(path) as partial:
    partial.write_bytes(content)
