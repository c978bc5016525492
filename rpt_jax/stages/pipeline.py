"""Runs the stages: their artifacts, and what a second run may skip.

A stage is a function `(config, inputs, directory) -> rows`. It reads the
directories of its inputs and writes its own; nothing else passes between
stages. Of several processes the first does what stages outside _TOGETHER are
for, and alone decides what is to run. An `artifact.json` is written last and
atomically:

  wanted    what it was to make: settings, and the content hash of every input
  files     size and sha256 of everything it wrote
  content   one hash over `files`: what dependents are keyed by
  rows      its results; `costs` (seconds, memory) stay out of the hashes

A stage whose artifact has the same `wanted` and intact files is skipped. If
`wanted` changed, the directory is emptied, unless a training lies there that
was not finished: that is refused. If it is the same but the artifact is
missing, the stage was killed: it starts again in the same directory, where a
stage that trains finds its checkpoints.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from importlib import metadata
from typing import Any

import ml_collections

from rpt_jax.stages.plan import Rows, Stage, plan
from rpt_jax.training import checkpoint, distributed

# Neither results nor inputs: what differs between two equal runs.
_TRANSIENT = re.compile(
  r'^(wanted|artifact)\.json$|'
  r'(^|/)(checkpoints/|profile/|events\.|README\.md$)'
)
# Settings of how a stage works, which change nothing of what it makes.
_HOW = ('workers', 'ahead', 'error_budget')
# Stages that all processes run, and what is trained or encoded is shared.
_TOGETHER = (
  'frames',
  'mae',
  'encode',
  'quantize',
  'pretrain',
  'finetune',
  'evaluate',
)
PACKAGES = ('jax', 'flax', 'optax', 'orbax-checkpoint', 'gymnax', 'numpy')


def run(config, workdir, only=(), overwrite=False):
  """Run a config's stages in `workdir`, skipping what is already done.

  Args:
    config: as `configs/*.py` give it.
    workdir: created if missing; one job at a time may use it.
    only: names of stages to run; their inputs must be there already.
    overwrite: empty the stages' directories first.

  Returns:
    The rows of all finished stages, as in `workdir/results.jsonl`.

  Raises:
    ValueError: an unknown stage name, a missing input, a workdir in use.
  """
  stages = plan(config)
  names = [s.name for s in stages]
  unknown = sorted(set(only) - set(names))
  if unknown:
    raise ValueError(f'--stages: unknown {unknown}; this config has {names}')
  workdir = pathlib.Path(workdir).absolute()
  workdir.mkdir(parents=True, exist_ok=True)
  with _locked(workdir):
    if overwrite and distributed.is_first():
      for name in only or names:
        shutil.rmtree(workdir / name, ignore_errors=True)
    write_json(workdir / 'config.json', config.to_dict())
    write_json(workdir / 'run.json', provenance())
    distributed.wait('workdir')
    for i, stage in enumerate(stages):
      label = f'[{i + 1}/{len(stages)}] {stage.name}'
      if not only or stage.name in only:
        _run_stage(stage, workdir, label)
    _publish(workdir / 'report' / 'report.html', workdir / 'report.html')
    distributed.wait('published')
    return collect_rows(workdir, stages)


def artifact(workdir: pathlib.Path, name: str) -> dict[str, Any] | None:
  """The artifact of a finished stage, or None."""
  path = workdir / name / 'artifact.json'
  return json.loads(path.read_text()) if path.exists() else None


def collect_rows(workdir: pathlib.Path, stages: tuple[Stage, ...]) -> Rows:
  """Write and return `results.jsonl`: the rows of all finished stages."""
  rows = []
  for stage in stages:
    done = artifact(workdir, stage.name)
    if done:
      rows += done['rows'] + done['costs']
  lines = ''.join(json.dumps(row, sort_keys=True) + '\n' for row in rows)
  _write_text(workdir / 'results.jsonl', lines)
  return rows


def row(stage, name, value, interval=None, seeds=None, **tags):
  """One tidy line of `results.jsonl`."""
  return {
    'stage': stage,
    'name': name,
    'value': None if value is None else float(value),
    'interval': None if interval is None else [float(x) for x in interval],
    'seeds': seeds,
    'tags': tags,
  }


def provenance() -> dict[str, Any]:
  """Command line, git revision, versions and machine of this run."""
  root = pathlib.Path(__file__).parents[2]
  git = ['git', '-C', str(root), 'describe', '--always', '--dirty']
  revision = subprocess.run(git, capture_output=True, text=True, check=False)
  return {
    'command': ' '.join(sys.argv),
    'revision': revision.stdout.strip() or 'not a git checkout',
    'versions': {p: metadata.version(p) for p in PACKAGES},
    'python': platform.python_version(),
    'machine': f'{platform.machine()}, {os.cpu_count()} cores',
  }


def _run_stage(stage, workdir, label):
  """One stage, if it is not done: by all processes, or by the first alone."""
  todo = distributed.is_first() and _prepare(stage, workdir, label)
  if not distributed.agree(bool(todo)):
    return
  print(f'{label}: start', flush=True)
  if distributed.is_first() or stage.verb in _TOGETHER:
    begin = time.time()
    inputs = {name: workdir / name for name in stage.inputs}
    config = ml_collections.FrozenConfigDict(stage.settings)
    rows = stage.run(config, inputs, workdir / stage.name)
    seconds = time.time() - begin
  else:
    _await(workdir / stage.name / 'artifact.json')
  if distributed.is_first():
    _finish(stage, workdir, todo, rows, seconds)
    print(f'{label}: done in {seconds:.1f} s', flush=True)
  distributed.wait(stage.name)


def _await(path):
  """Waits for the first process; a collective would have a time limit."""
  while not path.exists():
    time.sleep(0.2)


def _prepare(stage, workdir, label):
  """Readies a stage's directory: what it is to make, None if that is made."""
  directory = workdir / stage.name
  wanted = {
    'settings': _what(stage.settings),
    'inputs': {name: _content(workdir, name) for name in stage.inputs},
  }
  wanted = json.loads(json.dumps(wanted, sort_keys=True))
  done = artifact(workdir, stage.name)
  if done and done['wanted'] == wanted and _intact(directory, done['files']):
    print(f'{label}: done before, skipped', flush=True)
    return None
  started = directory / 'wanted.json'
  before = json.loads(started.read_text()) if started.exists() else None
  if done or before != wanted:
    if before and not done and any(directory.rglob('checkpoints/*')):
      raise ValueError(_changed(directory, before, wanted))
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    write_json(started, wanted)
  _remove_partial(directory)
  return wanted


def _finish(stage, workdir, wanted, rows, seconds):
  """Writes the artifact of a stage that has run."""
  directory = workdir / stage.name
  files = _files(directory)
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  write_json(
    directory / 'artifact.json',
    {
      'stage': stage.name,
      'wanted': wanted,
      'files': files,
      'content': _digest(json.dumps(files, sort_keys=True).encode()),
      'rows': rows,
      'costs': [
        row(stage.name, 'seconds', seconds, kind='cost'),
        row(stage.name, 'peak_memory_gib', memory, kind='cost'),
      ],
      'run': provenance(),
    },
  )


def _changed(directory, before, wanted):
  """Why a training cannot go on: each setting and input that is another."""
  old, new = dict(leaves(before)), dict(leaves(wanted))
  changes = [
    f'{k}: {old.get(k, "none")} -> {new.get(k, "none")}'
    for k in old | new
    if old.get(k) != new.get(k)
  ]
  return (
    f'{directory} holds a training of other settings ({"; ".join(changes)}); '
    'set them back to go on with it, give another --workdir, or --overwrite'
  )


def leaves(tree, prefix=''):
  """('a.b', value) of nested dictionaries."""
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from leaves(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def _what(settings):
  """Settings without those of `_HOW`, at any depth."""
  if not isinstance(settings, dict):
    return settings
  return {k: _what(v) for k, v in settings.items() if k not in _HOW}


def _publish(made, path):
  """Where a reader looks for the page; a copy, replaced whole."""
  if made.exists() and distributed.is_first():
    shutil.copy(made, path.with_name(path.name + '.partial'))
    os.replace(path.with_name(path.name + '.partial'), path)


def _content(workdir, name):
  done = artifact(workdir, name)
  if not done:
    raise ValueError(
      f'stage {name!r} has no artifact in {workdir}; run it first '
      '(leave --stages out to run everything that is missing)'
    )
  return done['content']


def _files(directory):
  """Size and sha256 of what a stage wrote, but for training state and logs."""
  files = {}
  for path in sorted(directory.rglob('*')):
    name = path.relative_to(directory).as_posix()
    if path.is_file() and not _TRANSIENT.search(name):
      size = path.stat().st_size
      files[name] = {'bytes': size, 'sha256': checkpoint.digest(path)}
  return files


def _intact(directory, files):
  for name, expected in files.items():
    path = directory / name
    if not path.exists() or checkpoint.digest(path) != expected['sha256']:
      print(f'{path}: missing or altered since it was written; stage re-runs')
      return False
  return True


def _remove_partial(directory):
  """What a killed process was writing under a name with '.partial' in it."""
  for path in list(directory.rglob('*.partial*')):
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    else:
      path.unlink(missing_ok=True)


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file, whole or not at all; of several processes, one."""
  _write_text(path, json.dumps(value, indent=1, sort_keys=True) + '\n')


def _write_text(path, text):
  if not distributed.is_first():
    return
  partial = path.with_name(path.name + '.partial')
  partial.write_text(text)
  os.replace(partial, path)


class _locked:
  """Holds `workdir/lock`; the system releases it when the process dies."""

  def __init__(self, workdir):
    self.path = workdir / 'lock'

  def __enter__(self):
    self.file = open(self.path, 'a')
    if not distributed.is_first():
      return
    try:
      fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise ValueError(
        f'{self.path.parent} is in use by another job; '
        'wait for it or give another --workdir'
      ) from None

  def __exit__(self, *_):
    self.file.close()
