"""Files that are written whole or not at all."""

import json
import os
import pathlib
from typing import Any

import numpy as np


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes beside the file, then renames."""
  partial = path.with_name(f'{path.name}.partial')
  partial.write_text(text)
  os.replace(partial, path)


def write_json(path: pathlib.Path, value: Any) -> None:
  """`write_text` of sorted JSON."""
  write_text(path, json.dumps(value, indent=1, sort_keys=True) + '\n')


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes a compressed .npz, and the folder it lies in."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'{path.stem}.partial.npz')
  np.savez_compressed(partial, **arrays)
  os.replace(partial, path)
