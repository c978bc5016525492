"""What the results in configs/README.md were made of, and whether it changed.

A section with a table of numbers says beneath its heading

    <!-- Made at e3af400 of
    configs/a.py@1f0c2d3
    rpt_jax/units@77aa00b -->

the revision that its numbers were made at and, of every file or folder that
they rest on, a digest of what it then was. Where one has changed since, a
further line says what that means for the numbers, with its digest of that day:

    > Since, 2026-11-28 (`rpt_jax/units@0d9e8f7`): a function more, not called.

A digest is of what Python reads: comments, docstrings, layout and names of
local variables do not count. `python -m tests.tables` prints what a section
does not speak of.

Tables of a run may be pasted instead of typed: in a section of theirs stand

    <!-- Tables of mine -->
    <!-- End of tables -->

and `python -m tests.tables --paste=runs/mine` puts those of its page between
them (`--report=runs/mine` writes them), with command, revision and machine.
"""

import argparse
import ast
import datetime
import hashlib
import io
import pathlib
import re
import subprocess
import sys
import tarfile
from typing import NamedTuple

from rpt_jax import experiments

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / 'configs' / 'README.md'
ABSENT = 'absent'  # The digest of a path that there is, or was, not.

_MADE = re.compile(r'<!-- Made at ([0-9a-f]{7,40}) of\s(.*?)-->', re.S)
_SINCE = re.compile(r'> Since, (\d{4}-\d\d-\d\d) \(([^)]+)\):\s(?:> )?(\S.+)')
_DIGEST = re.compile(r'([^\s`]+)@([0-9a-f]{7}|absent)')
_SINCE_BLOCK = re.compile(r'(?m)^> Since, .*\n(?:>.*\n)*\n?')
_ORIGIN = re.compile(r'Made at (\S+) by `.*--config[= ](\S+?)[ `]')
_COMMIT = re.compile(r'(?:\S+-g)?([0-9a-f]{7,40})')  # As `git describe` has it.
_BEGIN, _END = '<!-- Tables of {} -->', '<!-- End of tables -->'


class Section(NamedTuple):
  """A section of results.

  `made` is {path: digest at `revision`}, '' and {} where no line says it;
  `since` holds later judgements, (date, {path: digest}, reason), in order.
  """

  title: str
  revision: str
  made: dict[str, str]
  since: tuple[tuple[str, dict[str, str], str], ...]

  @property
  def judged(self) -> dict[str, str]:
    """{path: digest} of what the section last spoke of."""
    return self.made | {
      k: v for _, each, _ in self.since for k, v in each.items()
    }


def sections(page: str) -> list[Section]:
  """All of a page that hold a table with a column of numbers."""
  parts = re.split(r'(?m)^#{2,} +(.+)$', page)
  return [
    _section(title, text)
    for title, text in zip(parts[1::2], parts[2::2], strict=True)
    if re.search(r'(?m)^\|.*--:', text)
  ]


def _section(title, text):
  said = _MADE.search(text)
  since = tuple(
    (date, dict(_DIGEST.findall(paths)), reason)
    for date, paths, reason in _SINCE.findall(text)
  )
  if not said:
    return Section(title, '', {}, since)
  return Section(title, said[1], dict(_DIGEST.findall(said[2])), since)


def today(path: str) -> str:
  """The digest of a file or folder as it lies here."""
  at = ROOT / path
  files = [at] if at.is_file() else at.rglob('*.py')
  return digest({str(f.relative_to(ROOT)): f.read_bytes() for f in files})


def at_revision(revision: str, paths: list[str]) -> dict[str, str] | None:
  """{path: digest} as of a revision; None where this clone has it not."""
  git = ['git', '-C', str(ROOT)]
  listed = subprocess.run(
    [*git, 'ls-tree', '-r', '--name-only', revision], capture_output=True
  )
  if listed.returncode:
    return None
  names = listed.stdout.decode().split('\n')
  of = {p: [f for f in names if f == p or f.startswith(f'{p}/')] for p in paths}
  kept = [path for path in paths if of[path]] or ['setup.py']
  command = [*git, 'archive', '--format=tar', revision, *kept]
  tar = subprocess.run(command, capture_output=True, check=True).stdout
  with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
    read = {
      m.name: archive.extractfile(m).read() for m in archive if m.isfile()
    }
  return {
    path: digest(
      {f: read[f] for f in of[path] if f.endswith('.py') or f == path}
    )
    for path in paths
  }


def digest(files: dict[str, bytes]) -> str:
  """Seven hexadecimal digits of {path: what it holds}."""
  if not files:
    return ABSENT
  whole = hashlib.sha256()
  for name, text in sorted(files.items()):
    content = meaning(text.decode()) if name.endswith('.py') else text
    whole.update(repr((name, content)).encode())
  return whole.hexdigest()[:7]


def meaning(source: str) -> tuple:
  """A program without comments, docstrings, layout and names of locals."""
  tree, inner = ast.parse(source), set()
  for node in ast.walk(tree):
    body = getattr(node, 'body', None)
    if isinstance(body, list) and body and _is_text(body[0]):
      del body[0]
    if isinstance(node, ast.FunctionDef) and node not in inner:
      _forget_locals(node)
      inner |= {n for n in ast.walk(node) if isinstance(n, ast.FunctionDef)}
  return _plain(tree)


def _is_text(statement):
  value = getattr(statement, 'value', None)
  return isinstance(statement, ast.Expr) and isinstance(
    getattr(value, 'value', None), str
  )


def _forget_locals(function):
  """Numbers what is named in it, but for parameters that others may name."""
  own = {id(a) for a in ast.walk(function.args) if isinstance(a, ast.arg)}
  if function.name.startswith('_'):
    own = set()
  nodes = [
    n
    for n in ast.walk(function)
    if isinstance(n, (ast.Name, ast.arg)) and id(n) not in own
  ]
  bound = [
    n for n in nodes if not isinstance(getattr(n, 'ctx', None), ast.Load)
  ]
  names = dict.fromkeys(map(_name, bound))
  numbers = {name: f'local {i}' for i, name in enumerate(names)}
  for node in nodes:
    name = numbers.get(_name(node), _name(node))
    setattr(node, 'id' if isinstance(node, ast.Name) else 'arg', name)


def _name(node):
  return node.id if isinstance(node, ast.Name) else node.arg


def _plain(node):
  """Nested tuples that do not depend on the version of Python."""
  if isinstance(node, ast.AST):
    fields = ((k, _plain(v)) for k, v in ast.iter_fields(node))
    given = tuple((k, v) for k, v in fields if v not in (None, ()))
    return type(node).__name__, *given
  if isinstance(node, list):
    return tuple(map(_plain, node))
  return node


def changes(section: Section) -> dict[str, str]:
  """{path: its digest today} of what the section does not speak of."""
  now = {path: today(path) for path in section.made}
  return {p: now[p] for p in now if now[p] != section.judged[p]}


def paste(page: str, workdir: pathlib.Path) -> str:
  """The page with the tables of a run in the place of those before.

  ValueError where the page has no place for them, where the run's code was
  never committed, and where a file that they rest on is another by now.
  """
  tables = (workdir / 'report' / 'tables.md').read_text('utf-8')
  origin = _ORIGIN.match(tables)
  if not origin:
    raise ValueError(f'{workdir}: its tables do not say what made them')
  committed = _COMMIT.fullmatch(origin[1])
  if not committed:
    raise ValueError(
      f'{workdir}: made at {origin[1]!r}, expected a revision without changes; '
      'commit, and run it again'
    )
  begin = _BEGIN.format(experiments.title(origin[2]))
  parts = re.split(r'(?m)^(?=#{2,} )', page)
  index = next((i for i, part in enumerate(parts) if begin in part), None)
  if index is None or not _MADE.search(parts[index]):
    raise ValueError(
      f'no section with <!-- Made at ... of <path>@... --> and {begin}, '
      f'{_END}; write one where these tables are to stand'
    )
  parts[index] = _pasted(parts[index], begin, tables, committed[1])
  return ''.join(parts)


def _pasted(section, begin, tables, revision):
  """A section with other tables, and the digests of the files they rest on."""
  paths = [path for path, _ in _DIGEST.findall(_MADE.search(section)[2])]
  then = at_revision(revision, paths)
  if then is None:
    raise ValueError(f'this clone has no revision {revision}; fetch it')
  if changed := [path for path in paths if today(path) != then[path]]:
    raise ValueError(
      f'the run was made at {revision}, and since then {changed} changed; '
      'commit, and run it again'
    )
  listed = '\n'.join(f'{path}@{digest}' for path, digest in then.items())
  made = f'<!-- Made at {revision} of\n{listed} -->'
  section = _SINCE_BLOCK.sub('', section)  # Of the run before.
  before, _, rest = section.partition(begin)
  _, end, after = rest.partition(_END)
  if not end:
    raise ValueError(f'no {_END} beneath {begin}')
  before = _MADE.sub(lambda _: made, before)
  return f'{before}{begin}\n{tables.strip()}\n{end}{after}'


def main() -> int:
  """Pastes the tables of a run, or prints what sections do not speak of."""
  parser = argparse.ArgumentParser(description=main.__doc__)
  parser.add_argument('--paste', type=pathlib.Path, help='a workdir')
  if workdir := parser.parse_args().paste:
    try:
      PAGE.write_text(paste(PAGE.read_text('utf-8'), workdir), 'utf-8')
    except (ValueError, OSError) as error:
      print(f'{PAGE}: {error}', file=sys.stderr)
      return 2
    return 0
  for section in sections(PAGE.read_text()):
    changed = ' '.join(f'`{p}@{d}`' for p, d in changes(section).items())
    if not section.revision:
      print(f'{section.title}: names no revision')
    elif changed:
      day = datetime.date.today()
      print(f'{section.title}\n  > Since, {day} ({changed}): ...')
    else:
      print(f'{section.title}: all of its files are as it says')
  return 0


if __name__ == '__main__':
  sys.exit(main())
