"""The loop: killed and resumed to the same bits, saved on SIGTERM."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tiny

from rpt_jax.training import metrics

ROOT = pathlib.Path(__file__).parents[2]


def _run(directory, at=-1, name='SIGKILL'):
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''}
  return subprocess.run(
    [sys.executable, tiny.__file__, str(directory), str(at), name],
    env=environment,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
  directory = tmp_path_factory.mktemp('whole')
  done = _run(directory)
  assert done.returncode == 0, done.stderr
  return directory


def _assert_same(directory, uninterrupted):
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


def test_killed_twice_ends_with_the_same_bits(tmp_path, uninterrupted):
  assert _run(tmp_path, 8).returncode == -9  # Just after a save.
  assert metrics.read(tmp_path / 'metrics.jsonl')[-1]['step'] == 8
  assert _run(tmp_path, 11).returncode == -9  # Between saves.
  assert metrics.read(tmp_path / 'metrics.jsonl')[-1]['step'] == 10
  done = _run(tmp_path)
  assert 'going on from step 8' in done.stdout
  _assert_same(tmp_path, uninterrupted)


def test_sigterm_saves_and_goes_on(tmp_path, uninterrupted):
  stopped = _run(tmp_path, 6, 'SIGTERM')
  assert stopped.returncode == 0, stopped.stderr
  assert 'SIGTERM, saved step 7' in stopped.stdout
  assert 'going on from step 7' in _run(tmp_path).stdout
  _assert_same(tmp_path, uninterrupted)


def test_a_finished_run_trains_no_more(tmp_path):
  first, rows = tiny.train(tmp_path)

  def never(index):
    raise AssertionError('no batch is needed')

  again, same_rows = tiny.train(tmp_path, batches=never)
  np.testing.assert_array_equal(
    first.params['layer']['kernel'], again.params['layer']['kernel']
  )
  assert same_rows == rows
  assert rows[-1]['loss'] < rows[0]['loss'] / 2
  assert set(rows[0]) >= {'error', 'learning_rate', 'grad_norm', 'skipped'}


def test_progress_line(tmp_path, capsys):
  tiny.train(tmp_path, 2)
  words = capsys.readouterr().out.split()
  assert words[:3] == ['tiny', '2/2', 'loss']
  for word in ('lr', 'grad-norm', 'steps/s', 'wait', 'ETA'):
    assert word in words


def test_one_bad_batch_is_skipped_and_counted(tmp_path, capsys):
  def batches(index):
    batch = tiny.batch_at(index)
    return {**batch, 'x': batch['x'] * (np.nan if index == 3 else 1.0)}

  state, rows = tiny.train(tmp_path, batches=batches)
  assert 'step 4 skipped' in capsys.readouterr().out
  assert [row['skipped'] for row in rows] == [0, 1, 0, 0, 0, 0]
  assert np.isfinite(state.params['layer']['kernel']).all()


def test_only_bad_batches_abort(tmp_path):
  def batches(index):
    batch = tiny.batch_at(index)
    return {**batch, 'y': batch['y'] * np.inf}

  with pytest.raises(FloatingPointError, match='10 steps up to 10'):
    tiny.train(tmp_path, batches=batches)
