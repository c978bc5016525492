"""Where a result comes from: command, revision, versions, machine, operands."""

import os
import pathlib
import platform
import re
import subprocess
import sys
from importlib import metadata
from typing import Any

from rpt_jax import target

PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'gymnax', 'numpy')
_ROOT = pathlib.Path(__file__).parents[1]


def provenance() -> dict[str, Any]:
  """Command line, git revision, versions and machine of this run."""
  git = ['git', '-C', str(_ROOT), 'describe', '--always', '--dirty']
  revision = subprocess.run(git, capture_output=True, text=True, check=False)
  return {
    'command': _command(),
    'revision': revision.stdout.strip() or 'not a git checkout',
    'versions': {p: metadata.version(p) for p in PACKAGES},
    'python': platform.python_version(),
    'machine': f'{platform.machine()}, {os.cpu_count()} cores',
    'operands': target.operands(),
  }


def _command():
  """As it was typed; of a notebook there is none, but its kernel's."""
  in_notebook = 'ipykernel' in pathlib.Path(sys.argv[0]).name
  return 'a notebook' if in_notebook else ' '.join(sys.argv)


def for_people() -> dict[str, Any]:
  """The same with versions in one line, and no path of this machine."""
  run = provenance()
  versions = ', '.join(f'{k} {v}' for k, v in run['versions'].items())
  command = run['command'].replace(f'{_ROOT}/', '')
  return run | {'command': command, 'versions': versions}


def typed(command: str) -> str:
  """A command line that was recorded, as one types it."""
  program, _, arguments = command.partition(' ')
  if program.endswith('main.py'):
    program = 'python -m rpt_jax.main'
  return f'{pathlib.PurePath(program).name} {arguments}'.strip()


def finishing(command: str) -> str:
  """The same for all stages, of which none is to be emptied first."""
  return re.sub(r' --?(stages[= ]\S+|overwrite(=\S+)?)', '', typed(command))
