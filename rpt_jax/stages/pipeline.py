"""Runs the stages: their artifacts, and what a second run may skip.

A stage is a function `(config, inputs, directory) -> rows`. It reads the
directories of its inputs and writes its own; nothing else passes between
stages. Of several processes the first does what stages outside _TOGETHER are
for, and alone decides what is to run.

A stage whose artifact has the same `wanted` and intact files is skipped. If
`wanted` changed, the directory is emptied, unless a training lies there that
was not finished: that is refused. If it is the same but the artifact is
missing, the stage was killed: it starts again in the same directory, where a
stage that trains finds its checkpoints.
"""

import json
import os
import pathlib
import shutil
import time
from typing import Any

from rpt_jax import artifacts, files, provenance, settings, target
from rpt_jax.reporting import terminal
from rpt_jax.results import Row
from rpt_jax.settings import Experiment
from rpt_jax.stages.plan import PIPELINE, Stage, plan
from rpt_jax.training import distributed, durations, owned, stopping

# Stages that all processes run, and what is trained or encoded is shared.
_TOGETHER = (
  'frames',
  'see',
  'encode',
  'label',
  'quantize',
  'pretrain',
  'finetune',
  'tune',
  'evaluate',
)


def run(
  config: Experiment, workdir, only=(), overwrite=False, name=''
) -> list[Row]:
  """Run a config's stages in `workdir`, skipping what is already done.

  Args:
    config: as `settings.read` gives it.
    workdir: created if missing; one job at a time may use it.
    only: names of stages to run, of which a pipeline's folder stands for all
      that are in it; their inputs must be there already.
    overwrite: empty the stages' directories first.
    name: of the config, by which it is noted how long its stages take here.

  Returns:
    The rows of all finished stages, as in `workdir/results.jsonl`.

  Raises:
    ValueError: an unknown stage name, a missing input, a workdir in use, or
      files of others where a stage is to write.
  """
  stages = plan(config)
  names = [s.name for s in stages]
  only = _chosen(names, only)
  workdir = pathlib.Path(workdir).absolute()
  workdir.mkdir(parents=True, exist_ok=True)
  with owned.held(workdir):
    if distributed.is_first():
      command = '' if overwrite else provenance.provenance()['command']
      owned.check(workdir, only or names, command)
      for name in (only or names) if overwrite else ():
        owned.empty(workdir / name)
    _write_json(workdir / 'run.json', provenance.provenance())
    _write_json(workdir / 'config.json', settings.plain(config))
    distributed.wait('workdir')
    chosen = only or names
    if distributed.is_first():
      about = _done_before(stages, workdir), durations.read(name)
      print(terminal.plan(str(workdir), chosen, *about), flush=True)
    took: dict[str, list[float]] = {}
    for i, stage in enumerate(stages):
      label = f'[{i + 1}/{len(stages)}] {stage.name}'
      if stage.name not in chosen:
        continue
      if seconds := _run_stage(stage, workdir, label):
        kind = stage.name.rpartition('/')[2]
        took.setdefault(kind, []).append(seconds)
        durations.keep(name, kind, sum(took[kind]) / len(took[kind]))
    _publish(workdir / 'report' / 'report.html', workdir / 'report.html')
    distributed.wait('published')
    rows = collect_rows(workdir, stages)
    if stages[-1].name in chosen:
      _tell_end(workdir)
    return rows


def _done_before(stages, workdir):
  """Names of the stages that are made, as far as their artifacts say so."""
  content = {}
  for stage in stages:
    done = artifacts.read(workdir / stage.name)
    if not done or not set(stage.inputs.values()) <= set(content):
      continue
    inputs = {verb: content[name] for verb, name in stage.inputs.items()}
    wanted = {'settings': stage.settings, 'inputs': inputs}
    if json.loads(json.dumps(wanted)) == done['wanted']:
      content[stage.name] = done['content']
  return set(content)


def _tell_end(workdir):
  """What was found, and where the page of it is."""
  path = workdir / 'report' / 'findings.json'
  if distributed.is_first() and (workdir / 'report.html').exists():
    findings = files.read_json(path, kind=list) if path.exists() else []
    print(terminal.end(str(workdir / 'report.html'), findings), flush=True)


def report_again(workdir) -> pathlib.Path:
  """Makes the page of a finished workdir again, and nothing else; its path.

  Raises ValueError where there is no run, where stages of it are missing or
  are of other settings than its config.json, and where it is in use.
  """
  workdir = pathlib.Path(os.path.abspath(workdir))
  if not (workdir / 'config.json').exists():
    raise ValueError(
      f'{workdir}: found no run (config.json), expected the --workdir of one'
    )
  config = settings.saved(Experiment, workdir / 'config.json')
  *stages, report = plan(config)
  with target.rounding_to(config.precision), owned.held(workdir):
    if distributed.is_first():
      owned.check(workdir, [report.name])
      _check_finished(workdir, stages)
      owned.empty(workdir / report.name)
    _run_stage(report, workdir, report.name)
    _publish(workdir / 'report' / 'report.html', workdir / 'report.html')
  return workdir / 'report.html'


def _check_finished(workdir, stages):
  """Raises ValueError, naming all stages that a page would be without."""
  missing, others = [], []
  for stage in stages:
    done = artifacts.read(workdir / stage.name)
    if not done:
      missing.append(stage.name)
    elif not missing and not _is_of(stage, done, workdir):
      others.append(stage.name)
  faults = [f'stages without an artifact: {", ".join(missing)}'] * bool(missing)
  if others:
    faults.append(
      f'stages of other settings or inputs than now: {", ".join(others)}'
    )
  if faults:
    run = files.read_json(workdir / 'run.json', 'command')
    raise ValueError(
      f'{workdir} is not finished ({"; ".join(faults)}); run first: '
      f'{provenance.finishing(run["command"])}'
    )


def _is_of(stage, done, workdir):
  """Whether an artifact is of the settings of a stage, and of its inputs.

  Of settings alone: formats of files may have changed since.
  """
  wanted, own = _to_make(stage, workdir), settings.essence(stage.config)
  now, before = (
    {'inputs': each['inputs']}
    | {k: v for k, v in each['settings'].items() if k in own}
    for each in (wanted, done['wanted'])
  )
  return now == before


def _chosen(names, only):
  """Stages called so, or so in every pipeline, or in the pipeline called so.

  Raises ValueError for other names.
  """
  answers = {name: {name, *name.split('/')} for name in names}
  unknown = sorted(set(only) - set().union(*answers.values()))
  if unknown:
    raise ValueError(f'--stages: unknown {unknown}; this config has {names}')
  return [name for name in names if answers[name] & set(only)]


def collect_rows(workdir: pathlib.Path, stages: tuple[Stage, ...]) -> list[Row]:
  """Write and return `results.jsonl`: the rows of all finished stages."""
  rows = []
  for stage in stages:
    done = artifacts.read(workdir / stage.name)
    if done:
      rows += _of_pipeline(stage.name, done['rows'] + done['costs'])
  lines = ''.join(json.dumps(row, sort_keys=True) + '\n' for row in rows)
  if distributed.is_first():
    files.write_text(workdir / 'results.jsonl', lines)
  return rows


def _of_pipeline(name, rows):
  """The rows of a stage; of one of several pipelines they say of which."""
  folder, _, _ = name.rpartition('/')
  if not folder:
    return rows
  own = {'pipeline': int(folder.removeprefix(PIPELINE))}
  return [row | {'tags': row['tags'] | own} for row in rows]


def _run_stage(stage, workdir, label):
  """One stage, if it is not done: by all processes, or by the first alone.

  Gives its seconds, in the first process; of what was killed and goes on none.
  """
  folder = workdir / stage.name
  finished = (folder / artifacts.NAME).exists()
  whole = finished or not (folder / 'wanted.json').exists()
  todo = distributed.is_first() and _prepare(stage, workdir, label)
  if not distributed.agree(bool(todo)):
    return
  print(f'{label}: start', flush=True)
  if distributed.is_first() or stage.verb in _TOGETHER:
    begin = time.time()
    inputs = {verb: workdir / name for verb, name in stage.inputs.items()}
    with stopping.watched(stage.name):
      rows = stage.run(inputs, workdir / stage.name)
    seconds = time.time() - begin
  if distributed.is_first():
    artifacts.write(workdir / stage.name, stage.name, todo, rows, seconds)
    print(f'{label}: done in {seconds:.1f} s', flush=True)
  distributed.await_file(workdir / stage.name / artifacts.NAME)
  distributed.wait(stage.name)
  return seconds if distributed.is_first() and whole else None


def _prepare(stage, workdir, label):
  """Readies a stage's directory: what it is to make, None if that is made."""
  directory = workdir / stage.name
  wanted = _to_make(stage, workdir)
  done = artifacts.read(workdir / stage.name)
  if done and done['wanted'] == wanted and artifacts.intact(directory, done):
    print(f'{label}: done before, skipped', flush=True)
    return None
  started = directory / 'wanted.json'
  before = files.read_json(started) if started.exists() else None
  if done or before != wanted:
    if before and not done and any(directory.rglob('checkpoints/*')):
      raise ValueError(_changed(directory, before, wanted))
    owned.empty(directory)
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(started, wanted)
  _remove_partial(directory)
  return wanted


def _to_make(stage, workdir):
  """What a stage is to make: its settings, and what its inputs hold."""
  wanted = {
    'settings': stage.settings,
    'inputs': {
      verb: _content(workdir, name) for verb, name in stage.inputs.items()
    },
  }
  return json.loads(json.dumps(wanted, sort_keys=True))


def _changed(directory, before, wanted):
  """Why a training cannot go on: each setting and input that is another."""
  old, new = dict(settings.leaves(before)), dict(settings.leaves(wanted))
  changes = [
    f'{k}: {old.get(k, "none")} -> {new.get(k, "none")}'
    for k in old | new
    if old.get(k) != new.get(k)
  ]
  return (
    f'{directory} holds a training of other settings ({"; ".join(changes)}); '
    'set them back to go on with it, give another --workdir, or --overwrite'
  )


def _publish(page, path):
  """Where a reader looks for the page; a copy, replaced whole."""
  if page.exists() and distributed.is_first():
    shutil.copy(page, path.with_name(path.name + '.partial'))
    os.replace(path.with_name(path.name + '.partial'), path)


def _content(workdir, name):
  done = artifacts.read(workdir / name)
  if not done:
    raise ValueError(
      f'stage {name!r} has no artifact in {workdir}; run it first '
      '(leave --stages out to run everything that is missing)'
    )
  return done['content']


def _remove_partial(directory):
  """What a killed process was writing under a name with '.partial' in it."""
  for path in list(directory.rglob('*.partial*')):
    if path.is_dir():
      shutil.rmtree(path, ignore_errors=True)
    else:
      path.unlink(missing_ok=True)


def _write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file, whole or not at all; of several processes, one."""
  if distributed.is_first():
    files.write_json(path, value)
