"""What is read ahead is what a loop would read."""

import threading

import numpy as np
import pytest

from rpt_jax.training import ahead


@pytest.mark.parametrize('start', [0, 3])
def test_batches_are_those_of_a_loop_from_any_step(start):
  draw = np.random.default_rng(0).random((9, 4))
  batches = ahead.batches(lambda step: {'x': draw[step]}, start, 9)
  read = [batch['x'] for batch in batches]
  np.testing.assert_array_equal(read, draw[start:])


def test_the_next_batch_is_read_while_this_one_is_used():
  reached = threading.Event()

  def batch_at(step):
    if step == 1:
      reached.set()
    return step

  batches = ahead.batches(batch_at, 0, 3)
  assert next(batches) == 0
  assert reached.wait(timeout=30), 'step 1 was not read before it was asked for'
  assert [*batches] == [1, 2]


def test_errors_come_where_their_batch_is_asked_for():
  def batch_at(step):
    if step == 2:
      raise ValueError('step two')
    return step

  batches = ahead.batches(batch_at, 0, 4)
  assert [next(batches), next(batches)] == [0, 1]
  with pytest.raises(ValueError, match='step two'):
    next(batches)
