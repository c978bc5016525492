"""Faults 1 to 11: processes that are killed, told to stop, dead or missing."""

import re

import jax
import numpy as np
import pytest

from rpt_jax.training import metrics, sharding
from tests.faults import job

SLOWLY = {'steps': 40, 'seconds': 0.1}


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  directory = tmp_path_factory.mktemp('whole')
  code, _, errors = job.run(directory)
  assert code == 0, errors
  return directory


def assert_same(directory, uninterrupted):
  """Parameters, optimizer and metrics, to the last bit, every row once."""
  with (
    np.load(directory / 'end.npz') as found,
    np.load(uninterrupted / 'end.npz') as expected,
  ):
    assert len(found.files) == len(expected.files) > 4
    for name in expected.files:
      np.testing.assert_array_equal(found[name], expected[name])
  rows = metrics.read(directory / 'metrics.jsonl')
  assert rows == metrics.read(uninterrupted / 'metrics.jsonl')
  assert [row['step'] for row in rows] == [2, 4, 6, 8, 10, 12]


def steps(directory):
  found = (directory / 'checkpoints').glob('*/manifest.json')
  return sorted(int(path.parent.name) for path in found)


def test_01_kill_between_saves(tmp_path, uninterrupted):
  """kill -9 between saves -> resumes to the same bits: parameters, optimizer,
  data order, metrics"""
  assert job.run(tmp_path, '9:killed once 8 is whole')[0] == -9
  assert metrics.read(tmp_path / 'metrics.jsonl')[-1]['step'] == 8
  assert job.run(tmp_path, '11:killed')[0] == -9
  assert metrics.read(tmp_path / 'metrics.jsonl')[-1]['step'] == 10
  code, output, errors = job.run(tmp_path)
  assert code == 0, errors
  assert 'going on from step 8' in output
  assert_same(tmp_path, uninterrupted)


def test_02_kill_during_a_save(tmp_path, uninterrupted):
  """kill -9 during a save -> the step before it is used, what was half written
  is removed, the end is the same to the bit"""
  faults = ('5:nothing sealed after 4', '8:killed while writing 8')
  assert job.run(tmp_path, *faults)[0] == -9
  assert (tmp_path / 'checkpoints' / '8').exists()
  code, output, _ = job.run(tmp_path, '5:killed before the manifest')
  assert code == -9 and 'going on from step 4' in output
  code, output, errors = job.run(tmp_path)
  assert code == 0, errors
  assert 'going on from step 4' in output
  assert 'removing unfinished checkpoint' in errors
  assert_same(tmp_path, uninterrupted)


def test_06_disk_full(tmp_path, uninterrupted):
  """disk full -> each failed save is counted and told, training goes on, the
  next save is tried; exit code 0 only if the last one is whole"""
  faults = ('3:disk full', '11:disk freed')
  code, output, errors = job.run(tmp_path, *faults)
  assert code == 0, errors
  assert 'step 4 not saved, 1 failed so far; step 0 is kept' in output
  assert 'step 8 not saved, 2 failed so far' in output
  assert 'File too large' in output
  assert_same(tmp_path, uninterrupted)
  code, output, errors = job.run(tmp_path / 'bad', '9:disk full')
  assert code not in (0, None) and '/12 cannot be written' in errors
  assert steps(tmp_path / 'bad')[0] == 4


def test_07_sigterm(tmp_path, uninterrupted):
  """SIGTERM -> saves the step it is at, exits with code 0; the same bits when
  it goes on"""
  code, output, errors = job.run(tmp_path, '6:SIGTERM')
  assert code == 0, errors
  assert output.splitlines()[-1] == (
    'tiny: SIGTERM, saved step 7; the same command goes on from it'
  )
  assert not (tmp_path / 'end.npz').exists()
  assert 'going on from step 7' in job.run(tmp_path)[1]
  assert_same(tmp_path, uninterrupted)


def test_08_sigterm_to_one_of_two(tmp_path):
  """SIGTERM to one of two processes -> both save the same step and exit with
  code 0; together they go on from it"""
  ends = [
    job.finish(p) for p in job.start_of(2, tmp_path, '10:SIGTERM', **SLOWLY)
  ]
  assert [code for code, _, _ in ends] == [0, 0], ends
  told = ends[0][1].splitlines()[-1]
  step = int(re.search(r'SIGTERM, saved step (\d+);', told)[1])
  assert 10 < step < 40 and step in steps(tmp_path)
  assert not (tmp_path / 'end.npz').exists()
  ends = [job.finish(p) for p in job.start_of(2, tmp_path, steps=40)]
  assert [code for code, _, _ in ends] == [0, 0], ends
  assert f'going on from step {step}' in ends[0][1]
  mesh = sharding.make_mesh(job.EVERYWHERE, jax.devices()[:2])
  _, expected = job.train(tmp_path / 'whole', mesh, steps=40)
  found = metrics.read(tmp_path / 'metrics.jsonl')
  assert [row['step'] for row in found] == [row['step'] for row in expected]
  np.testing.assert_allclose(
    [row['loss'] for row in found], [row['loss'] for row in expected], 1e-5
  )


def test_09_second_signal(tmp_path):
  """a second SIGTERM to a process that is alone -> ends it at once; the last
  save is kept"""
  assert job.run(tmp_path, '9:SIGTERM', '9:SIGTERM')[0] == -15
  assert steps(tmp_path)[0] == 4


def test_10_dead_peer(tmp_path):
  """one of two processes dies -> the other exits non-zero within the heartbeat
  (60 s), for the launcher to start both again; the last save is kept"""
  first, last = job.start_of(2, tmp_path, '9:killed once 8 is whole', **SLOWLY)
  assert job.finish(last)[0] == -9
  code, _, errors = job.finish(first)
  assert code not in (0, None), errors
  assert steps(tmp_path) == [4, 8]


def test_11_missing_peer(tmp_path):
  """a process never comes -> the other says for how many it waits, and aborts
  (code 134) after RPT_JAX_JOIN_SECONDS"""
  (alone,) = job.start_of(2, tmp_path, processes=[0])
  code, output, errors = job.finish(alone)
  assert code == -6 and 'waiting for 2 processes' in output, errors
