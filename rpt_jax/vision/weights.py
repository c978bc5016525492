"""Weights on disk: safetensors and a config.json that says what they are."""

import dataclasses
import json
import os
import pathlib

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from rpt_jax.types import PyTree

CONFIG, WEIGHTS = 'config.json', 'weights.safetensors'


def write(directory: pathlib.Path, config: dict, params: PyTree) -> None:
  """Writes both files, the config last; each appears whole or not at all."""
  directory.mkdir(parents=True, exist_ok=True)
  flat = {k: np.ascontiguousarray(v) for k, v in flatten(params).items()}
  _write(directory / WEIGHTS, safetensors.save(flat))
  text = json.dumps(config, indent=2, sort_keys=True) + '\n'
  _write(directory / CONFIG, text.encode())


def read_config(directory: pathlib.Path, kind: str | None = None) -> dict:
  """Reads config.json; ValueError where absent, broken or of another kind."""
  path = directory / CONFIG
  if not path.exists():
    raise ValueError(f'{path}: no such file; give the folder of a saved model')
  try:
    config = json.loads(path.read_text())
    found = config['kind']
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(f"{path}: no JSON object with a 'kind'") from error
  if kind not in (None, found):
    raise ValueError(f'{path}: kind is {found!r}, expected {kind!r}')
  return config


def build(cls, config: dict, directory: pathlib.Path):
  """An instance of dataclass `cls` from exactly its fields."""
  fields = {k: v for k, v in config.items() if k != 'kind'}
  known = {f.name for f in dataclasses.fields(cls)}
  if fields.keys() != known:
    raise ValueError(
      f'{directory / CONFIG}: missing {sorted(known - fields.keys())}, '
      f'unknown {sorted(fields.keys() - known)}; it was written by another '
      'version'
    )
  return cls(**fields)


def read(directory: pathlib.Path, shapes: PyTree) -> PyTree:
  """Reads weights into the structure of `shapes` (arrays or abstract).

  Raises ValueError naming what is missing, not expected, or has another
  shape or dtype.
  """
  path = directory / WEIGHTS
  if not path.exists():
    raise ValueError(f'{path}: no such file')
  try:
    found = safetensors.load_file(path)
  except SafetensorError as error:
    raise ValueError(f'{path}: not a whole safetensors file') from error
  expected = flatten(shapes)
  problems = [f'{k} is missing' for k in expected if k not in found]
  problems += [f'{k} is not expected' for k in found if k not in expected]
  for name in expected.keys() & found.keys():
    have, want = found[name], expected[name]
    if have.shape != want.shape or have.dtype != want.dtype:
      problems.append(
        f'{name} is {have.dtype}{list(have.shape)}, expected '
        f'{want.dtype}{list(want.shape)}'
      )
  if problems:
    raise ValueError(f'{path}: ' + '; '.join(sorted(problems)))
  leaves = [found[name] for name in expected]
  return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def flatten(tree: PyTree) -> dict:
  """{'a/b': leaf} of nested dictionaries, in the order of their leaves."""
  paths = jax.tree_util.tree_flatten_with_path(tree)[0]
  return {'/'.join(key.key for key in path): leaf for path, leaf in paths}


def _write(path, content):
  partial = path.with_name(f'.{path.name}.partial')
  partial.write_bytes(content)
  os.replace(partial, path)
