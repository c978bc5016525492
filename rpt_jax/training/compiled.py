"""What XLA has compiled, kept for later runs of the same user.

It is native code that a process runs without a look, so it is read from a
folder of the user's own alone, which nobody else may enter, and only on a CPU
of the same kind and under the same versions: another CPU would stop at the
first instruction it has not. It lies in no workdir, which may be shared.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import stat

import jax
import jaxlib

_MOST = 2 << 30  # bytes; what was compiled longest ago goes first.
_MIN_SECONDS = 0.1  # Of a compile that is worth keeping.


def keep() -> pathlib.Path | None:
  """Reads and keeps what is compiled from now on; the folder.

  RPT_JAX_COMPILED names another place, '' none. None where nothing is kept: a
  place that is another user's, or open to others, is told and left alone. What
  JAX_COMPILATION_CACHE_DIR says goes before.
  """
  if jax.config.jax_compilation_cache_dir:
    return pathlib.Path(jax.config.jax_compilation_cache_dir)
  try:
    root = _root()
    if root is None:
      return None
    folder = root / _kind()
    for each in (*reversed(root.parents), root, folder):
      each.mkdir(mode=0o700, exist_ok=True)
    above = filter(None, map(_open_to_others, root.parents))
    within = filter(None, map(_strange, (root, folder)))
    entries = _entries(folder)
    strange = next(iter((*within, *above, *_planted(entries))), None)
  except (OSError, RuntimeError) as error:  # Where there is no home, too.
    strange = str(error)
  if strange:
    print(f'compiled code is neither read nor kept: {strange}', flush=True)
    return None
  _prune(entries)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', _MIN_SECONDS)
  return folder


def own() -> pathlib.Path | None:
  """The user's folder that `keep` has made; None where it is not safe."""
  try:
    root = _root()
    above = root.parents if root else ()
    safe = root and not _strange(root) and not any(map(_open_to_others, above))
  except (OSError, RuntimeError):
    return None
  return root if safe else None


def _root():
  place = os.environ.get('RPT_JAX_COMPILED')
  if place is not None:
    return pathlib.Path(place).absolute() if place else None
  cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache')
  return cache.expanduser() / 'rpt_jax' / 'compiled'


def _kind():
  """What code is compiled for, hashed: versions, and what the CPU can do."""
  words = [jax.__version__, jaxlib.__version__, platform.machine()]
  words.append(os.environ.get('XLA_FLAGS', ''))
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text().splitlines() if info.exists() else []
  # Flags say what instructions there are, models what the compiler prefers.
  telling = ('flags', 'Features', 'model name', 'CPU part')
  words += sorted({x for x in lines if x.startswith(telling)})
  return hashlib.sha256('\n'.join(words).encode()).hexdigest()[:16]


def _strange(folder):
  """Why the code in a folder is not to be run; '' where it may be."""
  about = folder.lstat()
  if not stat.S_ISDIR(about.st_mode):
    return f'{folder}: found no folder of its own'
  if about.st_uid != os.getuid():
    return f'{folder}: belongs to another user'
  if about.st_mode & 0o077:
    return f'{folder}: others may read or write it; chmod 700 it'
  return ''


def _open_to_others(parent):
  """Why a folder above is not safe: others could put another one in place."""
  mode = parent.stat().st_mode
  if mode & 0o022 and not mode & stat.S_ISVTX:
    return f'{parent}: others may write there'
  return ''


def _entries(folder):
  """{path: what the system says of it} of what lies there."""
  entries = {}
  for path in folder.iterdir():
    with contextlib.suppress(FileNotFoundError):  # Another run has removed it.
      entries[path] = path.lstat()
  return entries


def _planted(entries):
  """Why what lies there is not to be run; empty where it may be."""
  return [
    f'{path}: belongs to another user; remove the folder'
    for path, about in entries.items()
    if about.st_uid != os.getuid()
  ]


def _prune(entries):
  """Removes what was compiled longest ago, where there is too much."""
  total = sum(about.st_size for about in entries.values())
  for path in sorted(entries, key=lambda p: entries[p].st_mtime):
    if total <= _MOST:
      break
    path.unlink(missing_ok=True)
    total -= entries[path].st_size
