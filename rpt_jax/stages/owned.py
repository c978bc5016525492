"""What of a workdir is a run's own: only that is ever emptied or replaced.

A stage's folder says so itself, by what the pipeline wrote there first
(`wanted.json`) and last (`artifact.json`); the files beside the folders are
vouched for by `run.json`, which is written before them.
"""

import json
import pathlib
import shutil
from collections.abc import Iterable

_PAGE = b'<body>\n<div class="page">\n<header><h1>'  # As reporting.html has it.
# Keys by which a file is known as ours. What empties a folder leaves these to
# the end, in this order: killed meanwhile, it is still a stage's folder, and
# with its artifact alone it is one that has to be made again.
_MARKS = {
  'wanted.json': {'settings', 'inputs'},
  'artifact.json': {'stage', 'wanted', 'files', 'content', 'rows'},
}
_RUN = {'command', 'revision', 'versions'}


def check(workdir: pathlib.Path, names: Iterable[str]) -> None:
  """Raises ValueError where a run would empty or replace what is not its own.

  Args:
    workdir: of the run.
    names: of the stages that are to run.
  """
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
