"""Files: what they may name, what they say, and writing them whole or not.

Nothing that is read is believed: a name leads no further than its folder, JSON
has the keys that are needed, and what is no regular file is never opened.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Bytes of JSON (of empty lists it takes 24 times as much memory), and of the
# tables of a run or of all episodes of a dataset.
_MAX_JSON, MANIFEST = 1 << 24, 1 << 28
# A compressor makes no more of a byte than this (deflate: 1032).
_MAX_RATIO = 1100
# Faults of a system, and none that decoders say of broken files (EIO, EPERM).
_PASSING = {
  errno.EACCES,
  errno.EAGAIN,
  errno.EINTR,
  errno.EMFILE,
  errno.ENFILE,
  errno.ESTALE,
  errno.ETIMEDOUT,
}
_FREE = 1 << 26  # bytes that may be declared without being there.


def inside(folder: str | os.PathLike, name: str) -> pathlib.Path:
  """The path of what a file calls `name`, which must lie in `folder`.

  Links are followed: one that leads out of the folder is refused, but for those
  of Hugging Face's cache, whose snapshots are links to its blobs. Raises
  ValueError; whether there is such a file is not asked.
  """
  root = pathlib.Path(folder).resolve()
  homes = [root]
  for below in (root, *root.parents):
    if below.parent.name == 'snapshots':
      blobs = below.parents[1] / 'blobs'
      homes += [blobs] if blobs == blobs.resolve() else []
  refusal = ValueError(
    f'{folder}: found a name that leads out of this folder, '
    f'{str(name)[:200]!r}; expected that of a file in it; copy what belongs to '
    'it into the folder'
  )
  if not isinstance(name, str) or pathlib.PurePath(name).is_absolute():
    raise refusal
  try:
    target = (root / name).resolve()
  except (OSError, RuntimeError, ValueError) as error:  # A loop, a zero byte.
    raise refusal from error
  if not any(target.is_relative_to(home) for home in homes):
    raise refusal
  return pathlib.Path(folder) / name


def may_pass(error: BaseException | None) -> bool:
  """Whether it is the system's fault, as too many open files, and no file's."""
  return isinstance(error, OSError) and error.errno in _PASSING


def fill(template: str, source: str | os.PathLike, **fields: int | str) -> str:
  """A template that the file `source` holds, with its `{fields}` filled in.

  `{name}` and, of numbers, `{name:03d}` are all that is understood: what else
  Python's own format can do may take all memory, or look into objects. Raises
  ValueError for any other brace.
  """

  def one(match):
    name, width = match.groups()
    value = fields.get(name)
    if value is None or width and not isinstance(value, int):
      return match[0]
    return f'{value:0{width or 0}d}' if width else str(value)

  pattern = r'\{(\w+)(?::0?(\d{1,2})d)?\}'
  names = sorted(name for name, value in fields.items() if value is not None)
  filled = re.sub(pattern, one, str(template))
  if re.search(r'[{}]', re.sub(pattern, '', str(template))) or '{' in filled:
    raise ValueError(
      f'{source}: found the name {str(template)[:200]!r}, expected one with '
      f'{{{"}, {".join(names)}}} alone, numbers as {{name:03d}}'
    )
  return filled


def regular(path: str | os.PathLike) -> pathlib.Path:
  """The path, if it is a file; ValueError for a pipe, a device or a folder."""
  path = pathlib.Path(path)
  if not path.exists():
    raise ValueError(f'{path}: no such file')
  if not path.is_file():
    raise ValueError(f'{path}: found a folder, pipe or device, expected a file')
  return path


def holds(
  path: str | os.PathLike,
  what: str,
  declared: int,
  stored: int,
  free: int = _FREE,
  ratio: int = _MAX_RATIO,
):
  """Raises ValueError where `declared` bytes cannot be in `stored` ones.

  Of up to `free` bytes it is not asked.
  """
  if declared > free and declared > ratio * stored:
    raise ValueError(
      f'{path}: {what} declares {declared} bytes and holds {stored}; the file '
      'is damaged, copy it again'
    )


def read_json(
  path: str | os.PathLike,
  *keys: str,
  kind: type = dict,
  mend: str = 'bring it back or remove it',
  most: int = _MAX_JSON,
) -> Any:
  """The value in a JSON file: of a `kind`, an object with all of `keys`.

  Raises ValueError, naming the file and what may `mend` it, for anything else,
  and for more than `most` bytes.
  """
  path = regular(path)
  try:
    size = path.stat().st_size
    if size > most:
      raise ValueError(f'{size} bytes, expected {most} at most')
    value = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError) as error:
    why = 'it is empty' if not path.stat().st_size else error
    raise ValueError(f'{path}: no JSON ({why}); {mend}') from error
  if not isinstance(value, kind):
    raise ValueError(
      f'{path}: found {_NAMES[type(value)]}, expected {_NAMES[kind]}; {mend}'
    )
  missing = [key for key in keys if key not in value]
  if missing:
    raise ValueError(
      f'{path}: found no {", ".join(map(repr, missing))}, expected '
      f'{", ".join(map(repr, keys))}; {mend}'
    )
  return value


_NAMES = {
  dict: 'an object',
  list: 'a list',
  str: 'a text',
  int: 'a number',
  float: 'a number',
  bool: 'true or false',
  type(None): 'null',
}


def read_text(path: str | os.PathLike) -> str:
  """The text of a file that people read; errors as `regular`, or too long."""
  path = regular(path)
  size = path.stat().st_size
  if size > _MAX_JSON:
    raise ValueError(
      f'{path}: found {size} bytes, expected {_MAX_JSON} at most'
    )
  return path.read_text('utf-8', 'replace')


def words(error: BaseException) -> str:
  """What an error says, on one line; its type first if it is for no people."""
  text = ' '.join(str(error).split())
  if isinstance(error, (ValueError, OSError)) and text:
    return text
  return ': '.join(filter(None, (type(error).__name__, text)))


@contextlib.contextmanager
def reading(
  path: str | os.PathLike, kind: type[ValueError] = ValueError
) -> Iterator[None]:
  """Whatever goes wrong in a reader, as an error of a `kind` that names `path`.

  Errors that name it by themselves keep their words.
  """
  try:
    yield
  except Exception as error:
    if isinstance(error.__cause__, ImportError):
      raise  # The file may be sound: a package is missing.
    text = words(error)
    is_ours = isinstance(error, (ValueError, OSError))
    if is_ours and str(path) in text and '\n' not in str(error):
      if isinstance(error, kind):
        raise
      raise kind(text) from error
    mend = '' if isinstance(error, MemoryError) else '; copy it again'
    raise kind(f'{path}: cannot be read ({text}){mend}') from error


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """A place beside `path` to write to, which then takes its place.

  Raises OSError, naming `path`, where that fails; what was there is kept.
  """
  path = pathlib.Path(path)
  partial = path.with_name(f'{path.name}.partial')
  try:
    yield partial
    os.replace(partial, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise OSError(
      error.errno, error.strerror or str(error), str(path)
    ) from error


def sha256(path: str | os.PathLike) -> str:
  """sha256 of a file, which need not fit into memory."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes UTF-8; errors as `writing`.

  Names of files that this terminal's encoding does not know are written as the
  bytes that they are.
  """
  with writing(path) as partial:
    partial.write_text(text, 'utf-8', 'surrogateescape')


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes sorted JSON, a part at a time; names and errors as `write_text`."""
  with writing(path) as partial:
    with partial.open('w', encoding='utf-8', errors='surrogateescape') as file:
      json.dump(value, file, indent=1, sort_keys=True)
      file.write('\n')


def write_array(path: pathlib.Path, array: np.ndarray) -> None:
  """Writes a .npy; errors as `writing`."""
  with writing(path) as partial, open(partial, 'wb') as file:
    np.save(file, array)


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  """Writes a compressed .npz and its folder; errors as `writing`."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with writing(path) as partial, open(partial, 'wb') as file:
    np.savez_compressed(file, **arrays)


def read_arrays(path: pathlib.Path, *names: str) -> dict[str, np.ndarray]:
  """What `write_arrays` wrote, or some of it; errors as `reading`."""
  with reading(path), np.load(regular(path)) as arrays:
    declared = sum(entry.file_size for entry in arrays.zip.infolist())
    holds(path, 'all of it', declared, path.stat().st_size, 1 << 30, 100)
    return {name: arrays[name] for name in names or arrays}


def take_place(
  partial: pathlib.Path, folder: pathlib.Path, own: Callable[[str], bool]
) -> None:
  """Puts a finished folder where one of its kind may be, or leaves that there.

  Raises ValueError where the one that is there holds files that are not its
  `own`, by their names: they would be deleted with it.
  """
  if not folder.exists():
    os.replace(partial, folder)
    return
  others = sorted(p.name for p in folder.iterdir() if not own(p.name))
  if others:
    raise ValueError(
      f'{folder}: found {others[0]!r} in it, which would be deleted; move it '
      'away or give another folder'
    )
  old = partial.with_name(f'{partial.name}-old')
  shutil.rmtree(old, ignore_errors=True)
  os.replace(folder, old)
  try:
    os.replace(partial, folder)
  except BaseException:
    os.replace(old, folder)
    raise
  shutil.rmtree(old, ignore_errors=True)
