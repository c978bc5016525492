"""The loop: what it returns and says; its faults: tests/faults."""

import numpy as np
import tiny


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
