"""The path in two processes: the results of one, and trainings handed over.

Two local processes join over RPT_JAX_*, with one CPU device each.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from rpt_jax.training import checkpoint, metrics
from tests import commands

CONFIG = '--config=tests/two_processes.py'


def run(workdir, processes, *flags):
  """Runs the command; what the first process prints."""
  command = [sys.executable, '-m', 'rpt_jax.main', CONFIG, *flags]
  started = [
    subprocess.Popen(
      [*command, f'--workdir={workdir}'],
      cwd=commands.ROOT,
      env=os.environ | {'XLA_FLAGS': ''} | place,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for place in (commands.places(processes) if processes > 1 else [{}])
  ]
  outputs = [process.communicate(timeout=600)[0] for process in started]
  for process, output in zip(started, outputs, strict=True):
    assert process.returncode == 0, output[-3000:]
  return outputs[0]


@pytest.fixture(scope='module')
def workdirs(tmp_path_factory):
  """{processes: workdir} of whole runs."""
  found = {n: tmp_path_factory.mktemp(f'by_{n}') for n in (1, 2)}
  for processes, workdir in found.items():
    assert run(workdir, processes).rstrip().endswith('rpt_jax: done')
  return found


def results(workdir):
  """{(stage, name, tags): value}; costs are left out."""
  lines = (workdir / 'results.jsonl').read_text().splitlines()
  return {
    (r['stage'], r['name'], json.dumps(r['tags'], sort_keys=True)): r['value']
    for r in map(json.loads, lines)
    if r['tags'].get('kind') != 'cost'
  }


def assert_same_curves(one, other):
  """The same steps, losses and learning rates: so the same batches."""
  for name in ('mae', 'pretrain/next'):
    curves = [metrics.read(w / name / 'metrics.jsonl') for w in (one, other)]
    assert [r['step'] for r in curves[0]] == [r['step'] for r in curves[1]]
    for a, b in zip(*curves, strict=True):
      for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=1e-3, err_msg=key)


def test_two_processes_find_what_one_finds(workdirs):
  one, two = (results(workdir) for workdir in workdirs.values())
  assert one.keys() == two.keys()
  assert {stage for stage, *_ in one} >= {'quantize', 'finetune', 'evaluate'}
  for key, value in one.items():
    assert two[key] == pytest.approx(value, rel=2e-2, abs=1e-3), key
  assert_same_curves(*workdirs.values())


@pytest.mark.parametrize('before, after', [(2, 1), (1, 2)])
def test_a_training_is_handed_over(workdirs, before, after, tmp_path):
  """What `before` processes have trained half, `after` processes finish."""
  workdir = shutil.copytree(workdirs[before], tmp_path / 'run')
  stage = workdir / 'pretrain'
  (stage / 'artifact.json').unlink()
  shutil.rmtree(stage / 'next/pretrained')
  shutil.rmtree(stage / 'next/checkpoints/4')
  output = run(workdir, after, '--stages=pretrain')
  assert 'pretrain next: going on from step 3' in output
  assert_same_curves(workdir, workdirs[before])
  kernels = [
    checkpoint.load_params(w / 'pretrain/next/pretrained/model.safetensors')
    for w in (workdir, workdirs[before])
  ]
  kernels = [p['trunk']['blocks']['up']['kernel'] for p in kernels]
  np.testing.assert_allclose(*kernels, atol=1e-4)
