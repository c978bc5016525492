"""What of a workdir is a run's own: only that is ever emptied or replaced.

A stage's folder says so itself, by what the pipeline wrote there first
(`wanted.json`) and last (`artifact.json`); the files beside the folders are
vouched for by `run.json`, which is written before them.

One job at a time holds a workdir. Where the file system has locks (flock) its
processes are told apart by one, which the system releases however they end. As
there are file systems without, and buckets whose locks end at their host, the
holder is also named in `owner.json`, with a heartbeat: who is silent for
`_SILENT` seconds is taken for dead.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import socket
import threading
from collections.abc import Iterable, Iterator

from rpt_jax import files
from rpt_jax.training import distributed

_PAGE = b'<body>\n<div class="page">\n<header><h1>'  # As reporting.html has it.
# Keys by which a file is known as ours. What empties a folder leaves these to
# the end, in this order: killed meanwhile, it is still a stage's folder, and
# with its artifact alone it is one that has to be made again.
_MARKS = {
  'wanted.json': {'settings', 'inputs'},
  'artifact.json': {'stage', 'wanted', 'files', 'content', 'rows'},
}
_RUN = {'command', 'revision', 'versions'}
_OWNER, _BEAT, _SILENT = 'owner.json', 15.0, 90.0  # Seconds.


def check(
  workdir: pathlib.Path, names: Iterable[str], command: str = ''
) -> None:
  """Raises ValueError where a run would empty or replace what is not its own.

  Args:
    workdir: of the run.
    names: of the stages that are to run.
    command: that is to run them; '' where no other's stages may be in the way.
  """
  before, now = _config(_command(workdir)), _config(command)
  if before and now and before != now:
    raise ValueError(
      f'{workdir}: found a run of --config={before}, expected one of {now}, '
      'whose stages would take the place of its own; give another --workdir, '
      'or --overwrite'
    )
  for name in names:
    folder = workdir / name
    if folder.parent != workdir and folder.parent.is_symlink():
      _refuse(folder.parent, 'a link', 'a folder of its own for this pipeline')
    if folder.is_symlink():
      _refuse(folder, 'a link', 'a folder of its own for this stage')
    elif folder.exists() and not folder.is_dir():
      _refuse(folder, 'a file', 'a folder of its own for this stage')
    elif folder.is_dir() and (strange := _strange(folder)):
      _refuse(
        folder,
        f'{strange!r} and nothing that says which stage made it',
        'an empty folder or one of an earlier run',
      )
  page = workdir / 'report.html'
  if page.exists() and not (page.is_file() and _PAGE in page.read_bytes()):
    _refuse(page, 'something else', 'no such file or the report of a run')
  for name in ('run.json', 'config.json', 'results.jsonl'):
    path = workdir / name
    if path.exists() and not _has(workdir / 'run.json', _RUN):
      _refuse(
        path, 'it with no run.json of a run beside it', 'no such file or both'
      )


def _command(workdir):
  """The command that a workdir was made by, as its run.json says."""
  try:
    return str(files.read_json(workdir / 'run.json').get('command', ''))
  except ValueError:
    return ''


def _config(command):
  """'hubert_units.py:tune' of a command with a flag --config."""
  named = re.search(r'--config[= ](\S+)', command)
  return named[1].rpartition('/')[2] if named else ''


def empty(folder: pathlib.Path) -> None:
  """Removes all that lies in a stage's folder, its marks last."""
  marks = list(_MARKS)
  paths = folder.iterdir() if folder.exists() else ()
  for path in sorted(
    paths, key=lambda p: marks.index(p.name) if p.name in marks else -1
  ):
    if path.is_dir() and not path.is_symlink():
      shutil.rmtree(path)
    else:
      path.unlink()


def _strange(folder):
  """A name in a folder that no stage has marked as its own, else ''."""
  if any(_has(folder / name, keys) for name, keys in _MARKS.items()):
    return ''
  # A run may have been killed while it wrote the first of the marks.
  names = {p.name for p in folder.iterdir()} - {'wanted.json.partial'}
  return min(names, default='')


def _has(path, keys):
  """Whether a file is a JSON dictionary with these keys."""
  try:
    content = json.loads(path.read_text())
  except (OSError, ValueError):
    return False
  return isinstance(content, dict) and keys <= set(content)


def _refuse(path, actual, expected):
  raise ValueError(
    f'{path}: found {actual}, expected {expected}; move it away or give '
    'another --workdir'
  )


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
  """Holds a workdir for this job; of several processes the first one does.

  Raises ValueError where another job holds it, naming that.
  """
  if not distributed.is_first():
    yield
    return
  with open(workdir / 'lock', 'a') as file:
    alone_here = _locked(file, workdir)
    _take(workdir, alone_here)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(workdir, ended), daemon=True)
    beating.start()
    try:
      yield
    finally:
      ended.set()
      beating.join()
      if _owner(workdir) == _me():
        (workdir / _OWNER).unlink(missing_ok=True)


def _locked(file, workdir):
  """Whether no other process of this host can hold it; False: nobody knows."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  except BlockingIOError:
    raise ValueError(_in_use(workdir, _owner(workdir))) from None
  except OSError:  # This file system has no locks.
    return False


def _take(workdir, alone_here):
  """Writes who holds the workdir, unless somebody who lives does."""
  owner, path = _owner(workdir), workdir / _OWNER
  if path.exists():
    if owner.get('host', socket.gethostname()) != socket.gethostname():
      lives = _beats(path)
    else:  # Without an owner it was killed while it wrote who it is.
      lives = not alone_here and (_lives(owner) if owner else _beats(path))
    if lives:
      raise ValueError(_in_use(workdir, owner))
    path.unlink(missing_ok=True)
  try:
    with open(path, 'x') as file:
      json.dump(_me(), file)
  except FileExistsError:  # Another job was as late as this one.
    raise ValueError(_in_use(workdir, _owner(workdir))) from None


def _beat(workdir, ended):
  while not ended.wait(_BEAT):
    with contextlib.suppress(OSError):
      os.utime(workdir / _OWNER)


def _beats(path):
  """Whether its holder was heard of, by the clock of the file system."""
  probe = path.with_name(f'.{path.name}.{os.getpid()}.partial')
  probe.touch()
  try:
    return probe.stat().st_mtime - path.stat().st_mtime < _SILENT
  except FileNotFoundError:
    return False
  finally:
    probe.unlink(missing_ok=True)


def _owner(workdir):
  """Who holds a workdir, as it says itself; {} where nobody does."""
  try:
    return files.read_json(workdir / _OWNER)
  except (ValueError, OSError):
    return {}


def _me():
  pid = os.getpid()
  return {'host': socket.gethostname(), 'pid': pid, 'began': _began(pid)}


def _lives(owner):
  """Whether a process of this host is the one that it was."""
  began = _began(owner.get('pid'))
  return began is not None and began == owner.get('began')


def _began(pid):
  """When a process began, in ticks since a boot; None: there is none."""
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    status = pathlib.Path(f'/proc/{int(pid)}/stat').read_text()
    return f'{boot} {status.rpartition(")")[2].split()[19]}'
  except (OSError, TypeError, ValueError, IndexError):
    return None


def _in_use(workdir, owner):
  who = 'another job'
  if owner:
    who += f' (process {owner.get("pid")} on {owner.get("host")})'
  return (
    f'{workdir} is in use by {who}; wait for it or give another --workdir; if '
    f'it died on another host, wait {_SILENT:.0f} s or remove its {_OWNER}'
  )
