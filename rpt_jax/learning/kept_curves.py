"""Curves of one compiled call for each environment, kept as they are made."""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax

from rpt_jax import envs, files


def by_env(
  names: tuple[str, ...],
  seed: int,
  place: Callable[[str], Path],
  learn: Callable[..., NamedTuple],
  form: type[NamedTuple],
) -> Iterator[tuple[str, NamedTuple]]:
  """Yields (environment, its curves), learned where they are not kept yet.

  Args:
    seed: of keys, of which each environment has its own by its name.
    place: where the curves of an environment lie, as .npz.
    learn: (environment, key) -> `form`, arrays by name.
  """
  for name in names:
    path = place(name)
    if not path.exists():
      key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
      files.write_arrays(path, learn(envs.make(name), key)._asdict())
    yield name, form(**files.read_arrays(path, *form._fields))
