"""What readers of datasets raise."""

import contextlib
import os
from collections.abc import Iterable, Iterator

from rpt_jax import files


class CorruptEpisode(ValueError):
  """An episode that cannot be read; names its file and what is wrong."""


def needs(package: str, extra: str) -> ValueError:
  """The error for an optional package that is not installed."""
  return ValueError(
    f"this dataset needs {package}: pip install -e '.[{extra}]'"
  )


def no_split(
  path: str | os.PathLike, split: str, names: Iterable[str], mark: str = ''
) -> ValueError:
  """The error for a split that is not among `names`.

  Where even 'all' has nothing, it says that a `mark` was expected.
  """
  if split == 'all':
    return ValueError(f'{path}: found nothing to read, expected {mark}')
  have = sorted({*names, 'all'})
  return ValueError(f'{path}: no split {split!r}; it has {have}')


@contextlib.contextmanager
def blaming(path: str | os.PathLike, *where: str) -> Iterator[None]:
  """Whatever goes wrong within, as a CorruptEpisode that says where.

  One that is raised within stays as it is, and so does the lack of a package.
  """
  try:
    yield
  except CorruptEpisode:
    raise
  except Exception as error:  # HDF5, Arrow, SQLite, Pillow: no common base.
    if isinstance(error.__cause__, ImportError):
      raise
    words = files.words(error).removeprefix(f'{path}: ')
    names_file = words.startswith(f'{path}{os.sep}')
    place = [] if names_file else [str(path)]
    parts = [*place, *filter(None, where), words]
    raise CorruptEpisode(': '.join(parts)) from error
