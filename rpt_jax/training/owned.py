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
import sys
import threading
from collections.abc import Iterable, Iterator

from rpt_jax import files
from rpt_jax.training import distributed, stopping

_PAGE = b'<div class="page">\n<header><h1>'  # As reporting.html has it.
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
  check_page(workdir / 'report.html')
  for name in ('run.json', 'config.json', 'results.jsonl'):
    path = workdir / name
    if path.exists() and not _has(workdir / 'run.json', _RUN):
      _refuse(
        path, 'it with no run.json of a run beside it', 'no such file or both'
      )


def check_page(page: pathlib.Path) -> None:
  """Raises ValueError where a page would take the place of what is none."""
  if page.exists() and not (page.is_file() and _PAGE in page.read_bytes()):
    _refuse(page, 'something else', 'no such file or a page of rpt_jax')


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
    files.read_json(path, *keys, most=files.MANIFEST)
  except (OSError, ValueError):
    return False
  return True


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
  for path in (workdir / 'lock', workdir / _OWNER):
    if path.is_symlink() or (path.exists() and not path.is_file()):
      _refuse(path, 'what is no regular file', 'one of an earlier run, or none')
  with open(workdir / 'lock', 'a') as file:
    _take(workdir, _locked(file, workdir))
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(workdir, ended), daemon=True)
    beating.start()
    try:
      with stopping.at_leave(lambda: _give_up(workdir)):
        yield
    finally:
      ended.set()
      beating.join()
      _give_up(workdir)


def _give_up(workdir):
  if _owner(workdir) == _me():
    (workdir / _OWNER).unlink(missing_ok=True)


def _locked(file, workdir):
  """Whether there is a lock, and this process has it now."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  except BlockingIOError:
    raise ValueError(_in_use(workdir, _owner(workdir))) from None
  except OSError:  # This file system has no locks.
    return False


def _take(workdir, locked):
  """Writes who holds the workdir, unless somebody who lives does.

  A process of the same place is asked for, or is gone where this one is
  `locked`; of any other only its heartbeat is known.
  """
  owner, path = _owner(workdir), workdir / _OWNER
  if path.exists():
    if owner and owner.get('place') == _place():
      lives = not locked and _began(owner.get('pid')) == owner.get('began')
    else:  # Without an owner it was killed while it wrote who it is.
      lives = _beats(path) and not (locked and not owner)
    if lives:
      raise ValueError(_in_use(workdir, owner))
    _remove_stale(path, owner, workdir)
  try:
    with open(path, 'x') as file:
      json.dump(_me(), file)
  except FileExistsError:  # Another job was as late as this one.
    raise ValueError(_in_use(workdir, _owner(workdir))) from None


def _remove_stale(path, owner, workdir):
  """Removes the file of a dead holder, and no other that came meanwhile."""
  aside = path.with_name(f'.{path.name}.{os.getpid()}.partial')
  with contextlib.suppress(FileNotFoundError):
    os.replace(path, aside)
    try:
      moved = files.read_json(aside)
    except ValueError:
      moved = {}
    if moved != owner:
      os.replace(aside, path)
      raise ValueError(_in_use(workdir, moved))
    aside.unlink()


def _beat(workdir, ended):
  """Tells that it lives; ends the process where it was taken for dead."""
  while not ended.wait(_BEAT):
    with contextlib.suppress(OSError):
      owner = _owner(workdir)
      if owner and owner != _me():
        print(_in_use(workdir, owner), file=sys.stderr, flush=True)
        os._exit(2)
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
  """`host` is for people: names of machines come twice."""
  pid, host = os.getpid(), socket.gethostname()
  return {'host': host, 'place': _place(), 'pid': pid, 'began': _began(pid)}


def _place():
  """Where the number of a process means it: a boot, and a space of numbers."""
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{boot} {os.readlink("/proc/self/ns/pid")}'
  except OSError:
    return socket.gethostname()


def _began(pid):
  """When a process began, in ticks since the boot; '': there is none."""
  try:
    status = pathlib.Path(f'/proc/{int(pid)}/stat').read_text()
    return status.rpartition(')')[2].split()[19]
  except (OSError, TypeError, ValueError, IndexError):
    return ''


def _in_use(workdir, owner):
  who = 'another job'
  if owner:
    who += f' (process {owner.get("pid")} on {owner.get("host")})'
  return (
    f'{workdir} is in use by {who}; wait for it or give another --workdir; if '
    f'it died on another host, wait {_SILENT:.0f} s or remove its {_OWNER}'
  )
