"""What is known of a dataset's files, kept until one of them changes.

Reading what all files say takes hours where there are 10^6 of them; listing
their names, sizes and times takes seconds. What was read once is kept in this
user's cache, for all runs.
"""

import contextlib
import contextvars
import hashlib
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from rpt_jax import files
from rpt_jax.episodes.errors import no_split

CACHE = pathlib.Path(
  os.environ.get('XDG_CACHE_HOME', '~/.cache'), 'rpt_jax', 'datasets'
).expanduser()
_walked = contextvars.ContextVar('walked', default=None)


def visible(root: pathlib.Path, *suffixes: str) -> Iterator[pathlib.Path]:
  """Files that end so (in small letters) at or below `root`, in any order.

  None that is hidden, or lies in a hidden folder or in one of an archive of
  macOS: they hold what a system notes, under the names of what is noted.
  """
  for path in [root] if root.is_file() else walk(root):
    if path.suffix.lower() in suffixes:
      yield path


def natural(path: str | os.PathLike) -> tuple[str, str]:
  """A key to sort by: `episode_2` comes before `episode_10`."""
  padded = re.sub(r'\d+', lambda number: number[0].zfill(20), str(path))
  return padded, str(path)


def of_split(
  root: pathlib.Path, split: str, below: Callable[[pathlib.Path], list], mark
) -> list:
  """What is `below` the folder of a split, or below `root` for 'all'.

  Raises ValueError, with the folders that have some or the `mark` of what was
  expected, where there is nothing, and for a folder elsewhere.
  """
  places = []
  if split == 'all':
    places = below(root)
  elif root.is_dir():
    places = below(files.inside(root, split))
  if not places:
    folders = [p for p in root.glob('*') if p.is_dir() and below(p)]
    names = [p.name for p in folders if not _is_hidden(p.name)]
    raise no_split(root, split, names, mark)
  return places


@contextlib.contextmanager
def walked_once() -> Iterator[None]:
  """Within, a folder is walked through once, however many look at it."""
  token = _walked.set({})
  try:
    yield
  finally:
    _walked.reset(token)


def walk(root: pathlib.Path) -> list[pathlib.Path]:
  """All files below a folder that are not hidden; none where it is a file."""
  walked = _walked.get()
  if walked is not None and root in walked:
    return walked[root]
  paths = []
  for folder, below, names in os.walk(root) if root.exists() else ():
    below[:] = [name for name in below if not _is_hidden(name)]
    names = (name for name in names if not _is_hidden(name))
    paths += [pathlib.Path(folder, name) for name in names]
  if walked is not None:
    walked[root] = paths
  return paths


def _is_hidden(name):
  return name.startswith('.') or name == '__MACOSX'


def signature(root: str | os.PathLike) -> str:
  """A hash of names, sizes and times of change of all files at or below."""
  digest = hashlib.blake2b(digest_size=16)
  for name, status in sorted(_files(root), key=lambda pair: pair[0]):
    line = f'{name} {status.st_size} {status.st_mtime_ns};'
    digest.update(line.encode('utf-8', 'surrogateescape'))
  return digest.hexdigest()


def kept(root: str | os.PathLike, what: str, make: Callable[[], Any]) -> Any:
  """`make()`, a value for JSON, kept until a file at or below `root` changes.

  `what` says what it is of, and of which version: another word, another value.
  """
  place = os.path.realpath(root)
  now = signature(place)
  name = hashlib.blake2b(f'{place} {what}'.encode(), digest_size=16).hexdigest()
  path = CACHE / f'{name}.json'
  keys = 'of', 'signature', 'value'
  with contextlib.suppress(ValueError, OSError):
    before = files.read_json(path, *keys, most=files.MANIFEST)
    if (before['of'], before['signature']) == ([place, what], now):
      return before['value']
  value = make()
  with contextlib.suppress(OSError):  # A home that cannot be written to.
    CACHE.mkdir(parents=True, exist_ok=True)
    about = {'of': [place, what], 'signature': now, 'value': value}
    files.write_json(path, about)
  return value


def _files(root) -> Iterator[tuple[str, os.stat_result]]:
  """(name below root, status) of every file; links to files are followed."""
  if not os.path.isdir(root):
    yield os.path.basename(root), os.stat(root)
    return
  folders = ['']
  while folders:
    below = folders.pop()
    with os.scandir(os.path.join(root, below)) as entries:
      for entry in entries:
        name = os.path.join(below, entry.name)
        if entry.is_dir(follow_symlinks=False):
          folders.append(name)
        elif entry.is_file():
          yield name, entry.stat()
