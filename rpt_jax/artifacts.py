"""What a finished stage leaves: `artifact.json`, written last and atomically.

wanted    what it was to make: settings, and the content hash of every input
files     size and sha256 of everything it wrote; `times` of last change
content   one hash over `files`: what dependents are keyed by
rows      its results; `costs` (seconds, memory) stay out of the hashes
run       command, revision and machine that made it
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import resource
from typing import Any

from rpt_jax import files
from rpt_jax.provenance import provenance
from rpt_jax.results import COST, Costs, Row, row

NAME = 'artifact.json'
_KEYS = 'wanted', 'files', 'content', 'rows', 'costs'
# Neither results nor inputs: what differs between two equal runs.
_TRANSIENT = re.compile(
  r'^(wanted|artifact)\.json$|'
  r'(^|/)(checkpoints/|profile/|events\.|README\.md$)'
)


def read(directory: pathlib.Path) -> dict[str, Any] | None:
  """The artifact in a stage's folder, None where it has not finished."""
  path = directory / NAME
  if not path.exists():
    return None
  return files.read_json(path, *_KEYS, most=files.MANIFEST)


def write(
  directory: pathlib.Path,
  stage: str,
  wanted: dict[str, Any],
  rows: list[Row],
  seconds: float,
) -> None:
  """Writes that of a stage that has run, over the files it has written."""
  hashes = written(directory)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  value = {
    'stage': stage,
    'wanted': wanted,
    'files': hashes,
    'times': _times(directory, hashes),
    'content': _digest(json.dumps(hashes, sort_keys=True).encode()),
    'rows': rows,
    'costs': [
      row(stage, Costs.SECONDS, seconds, kind=COST),
      row(stage, Costs.MEMORY, memory, kind=COST),
    ],
    'run': provenance(),
  }
  files.write_json(directory / NAME, value)


def written(directory: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Size and sha256 of what a stage wrote, but for training state and logs."""
  names = {
    path.relative_to(directory).as_posix(): path
    for path in sorted(directory.rglob('*'))
    if path.is_file()
  }
  names = {k: path for k, path in names.items() if not _TRANSIENT.search(k)}
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    hashes = pool.map(files.sha256, names.values())
    return {
      name: {'bytes': path.stat().st_size, 'sha256': sha256}
      for (name, path), sha256 in zip(names.items(), hashes, strict=True)
    }


def intact(directory: pathlib.Path, artifact: dict[str, Any]) -> bool:
  """Whether a stage's files are as it left them; tells the first that is not.

  What has another time, as in a copy, is hashed, and its time noted.
  """
  times, strange = artifact.get('times', {}), ''
  for name, expected in artifact['files'].items():
    try:
      path = files.regular(files.inside(directory, name))
      about = path.stat()
      whole = about.st_size == expected['bytes']
      if whole and about.st_mtime_ns != times.get(name):
        whole, strange = files.sha256(path) == expected['sha256'], name
    except (ValueError, KeyError, TypeError, AttributeError):
      whole = False
    if not whole:
      print(f'{directory / name}: missing or altered; its stage runs again')
      return False
  if strange:
    now = {'times': _times(directory, artifact['files'])}
    files.write_json(directory / NAME, artifact | now)
  return True


def _times(directory, hashes):
  """When each file was last changed: what has not been is not hashed again."""
  return {name: (directory / name).stat().st_mtime_ns for name in hashes}


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()
