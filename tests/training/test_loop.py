"""The loop: what it returns and says; its faults: tests/faults."""

import itertools

import numpy as np
import tiny

from rpt_jax.settings import Saving
from rpt_jax.training.checkpoint import Checkpoints


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


def test_a_step_that_comes_late_is_saved_before_its_turn(tmp_path, monkeypatch):
  """By the clock, which is moved by hand: 61 seconds between two steps."""
  now, make = [0.0], tiny.step.make_train_step

  def slow(*arguments):
    train_step, index = make(*arguments), itertools.count()

    def run(state, batch):
      now[0] += 61.0 if next(index) == 5 else 0.0
      return train_step(state, batch)

    return run

  monkeypatch.setattr(tiny.step, 'make_train_step', slow)
  monkeypatch.setattr(tiny.loop.time, 'monotonic', lambda: now[0])
  saved, save = [], Checkpoints.save

  def saving(checkpoints, step, state):
    saved.append(step)
    save(checkpoints, step, state)

  monkeypatch.setattr(Checkpoints, 'save', saving)
  often = Saving(log_steps=2, save_steps=4, save_seconds=60.0)
  tiny.train(tmp_path, saving=often)
  assert saved == [4, 6, 8, 12]
