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

# Two processes round otherwise than one, and Adam makes a whole step out of a
# gradient that is nothing but rounding: one process whose parameters begin one
# bit off differs from itself as much. What is continuous differs little
# (measured: losses of see 2e-5, of pretrain 4e-4, of finetune 2e-3; norms
# 8e-4). Right answers are counted, and logits differ by 0.03: of the 322
# held-out targets of `accuracy_1`, 5 are right or wrong by a lead below 0.06,
# and one of them is 0.004 of its mean over batches at most.
HITS = ('accuracy', 'accuracy_1')
HITS_TOLERANCE = 0.02
LOSS_TOLERANCE = {'see': 1e-4, 'pretrain': 1e-3, 'finetune': 1e-2}
NORM_TOLERANCE = 3e-3


def run(workdir, processes, *flags):
  """Runs the command; what the first process prints."""
  command = [sys.executable, '-m', 'rpt_jax.main', CONFIG, *flags]
  started = [
    subprocess.Popen(
      [*command, f'--workdir={workdir}'],
      cwd=commands.ROOT,
      env=os.environ | {'XLA_FLAGS': commands.QUICKLY} | place,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for place in (commands.places(processes) if processes > 1 else [{}])
  ]
  try:
    outputs = [process.communicate(timeout=600)[0] for process in started]
  finally:
    for process in started:
      process.kill()
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
  """The same steps, units to predict and losses: so the same batches.

  Hits are left to `results`: a batch has too few for one more to be little.
  """
  for name in ('see', 'pretrain/next'):
    curves = [metrics.read(w / name / 'metrics.jsonl') for w in (one, other)]
    assert [r['step'] for r in curves[0]] == [r['step'] for r in curves[1]]
    loss = LOSS_TOLERANCE[name.split('/')[0]]
    tolerances = {'loss': loss, 'loss_bits': loss, 'grad_norm': NORM_TOLERANCE}
    for a, b in zip(*curves, strict=True):
      assert a.keys() == b.keys()
      for key in sorted(a.keys() - set(HITS)):
        rtol = tolerances.get(key, 1e-6)
        np.testing.assert_allclose(a[key], b[key], rtol, err_msg=(name, key))


def close(stage, name, value):
  """What another run may find for a row of results."""
  if name in HITS:
    return pytest.approx(value, abs=HITS_TOLERANCE)
  if 'loss' in name:
    return pytest.approx(value, rel=LOSS_TOLERANCE[stage])
  if stage in ('probe', 'evaluate'):
    return pytest.approx(value, rel=2e-2, abs=1e-3)
  return pytest.approx(value, rel=1e-6)  # Frames, units and what they count.


def test_two_processes_find_what_one_finds(workdirs):
  one, two = (results(workdir) for workdir in workdirs.values())
  assert one.keys() == two.keys()
  assert {stage for stage, *_ in one} >= {'quantize', 'finetune', 'evaluate'}
  for key, value in one.items():
    stage, name, _ = key
    assert two[key] == close(stage, name, value), key
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
