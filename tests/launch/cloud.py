"""A cloud of two folders, and what the launch scripts do in it."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
ZONE = {'ZONE': 'us-east5-b'}
SETTINGS = (
  'ACCELERATOR',
  'BACKEND',
  'CLUSTER',
  'DELETE',
  'DRY_RUN',
  'EXTRA',
  'FLAGS',
  'LIBTPU_INIT_ARGS',
  'NAME',
  'PROJECT',
  'PYTHON',
  'RUNTIME',
  'SPOT',
  'XLA_FLAGS',
)
GCSFUSE = """#!/usr/bin/env bash
mkdir -p "$FAKE/buckets/${*: -2:1}"
[ -L "${@: -1}" ] || rmdir "${@: -1}"
ln -sfn "$FAKE/buckets/${*: -2:1}" "${@: -1}"
"""


def launch(script, *arguments, root=ROOT, **variables):
  """Runs a launch script with these variables alone of its own."""
  known = {k: v for k, v in os.environ.items() if k not in SETTINGS}
  return subprocess.run(
    ['bash', str(root / 'launch' / script), *arguments],
    env=known | {'TMPDIR': '/tmp'} | variables,
    capture_output=True,
    text=True,
    timeout=120,
  )


class Cloud:
  """What stands behind the fake gcloud, in one folder."""

  def __init__(self, root):
    self.root = root
    self.variables = {
      'FAKE': str(root),
      'TMPDIR': str(root),
      'PATH': f'{root / "bin"}:{os.environ["PATH"]}',
      'INTERVAL': '0',
      'JAX_PLATFORMS': 'cpu',
      'RPT_JAX_JOIN_SECONDS': '30',
      **ZONE,
    }
    (root / 'bin').mkdir()
    fake = f'#!/bin/sh\nexec {sys.executable} {HERE / "fake_gcloud.py"} "$@"\n'
    self.command('gcloud', fake)
    self.command('gcsfuse', GCSFUSE)

  def command(self, name, text):
    """A command of the machine, which the scripts will find first."""
    path = self.root / 'bin' / name
    path.write_text(text)
    path.chmod(0o755)

  def job(self, text):
    """What `python -m rpt_jax.main` does on the hosts."""
    (self.root / 'job.py').write_text(text)

  def states(self, *states):
    """What `describe` is to answer, in this order."""
    (self.root / 'states.json').write_text(json.dumps(states))

  def calls(self):
    """Everything that gcloud was asked."""
    lines = (self.root / 'calls.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]

  def launch(self, script, *arguments, **variables):
    """Runs a launch script in this cloud."""
    return launch(script, *arguments, **(self.variables | variables))
