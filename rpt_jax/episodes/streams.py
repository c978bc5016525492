"""Streams of clips cached on disk: one `.npy` a stream, clips end to end."""

import pathlib
from collections.abc import Sequence

import numpy as np

from rpt_jax.episodes.windows import Clips


def save(directory: pathlib.Path, clips: Clips) -> None:
  """Write `<stream>.npy` ([N, ...]) and `length.npy` ([clips])."""
  directory.mkdir(parents=True, exist_ok=True)
  np.save(directory / 'length.npy', clips.lengths)
  for name, array in clips.arrays.items():
    np.save(directory / f'{name}.npy', array)


def load(directory: pathlib.Path, names: Sequence[str]) -> Clips:
  """Read the named streams; no other file is opened.

  Raises ValueError where a stream is missing or shorter than its clips.
  """
  lengths = np.load(directory / 'length.npy')
  arrays = {}
  for name in names:
    path = directory / f'{name}.npy'
    if not path.exists():
      found = sorted(p.stem for p in directory.glob('*.npy'))
      raise ValueError(f'{path}: no such stream; {directory} has {found}')
    arrays[name] = np.load(path)
    if len(arrays[name]) != lengths.sum():
      raise ValueError(
        f'{path}: {len(arrays[name])} rows, expected {lengths.sum()}'
      )
  return Clips(arrays, lengths)


def concatenate(parts: Sequence[Clips]) -> Clips:
  """The clips of all parts, in order, as one set of clips."""
  names = parts[0].arrays
  arrays = {k: np.concatenate([p.arrays[k] for p in parts]) for k in names}
  return Clips(arrays, np.concatenate([p.lengths for p in parts]))
