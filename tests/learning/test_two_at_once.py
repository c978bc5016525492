"""Cells two at a time: in order, two at once, the first alone, no more begun
after one that fails."""

import threading

import jax
import pytest

from rpt_jax.learning import two_at_once


def test_two_are_worked_at_once_and_come_in_order():
  meeting = threading.Barrier(2, timeout=30)  # Of cells 1 and 2, 3 and 4.

  def work(cell):
    if cell:
      meeting.wait()
    return cell * 10

  assert list(two_at_once.each(work, range(5))) == [0, 10, 20, 30, 40]


def test_the_first_has_no_neighbour():
  begun = []
  each = two_at_once.each(begun.append, range(5))
  next(each)
  assert begun == [0]


def test_what_fails_ends_the_rest():
  begun = []

  def work(cell):
    begun.append(cell)
    if cell == 1:
      raise FloatingPointError('not finite')

  with pytest.raises(FloatingPointError, match='not finite'):
    list(two_at_once.each(work, range(1000)))
  assert len(begun) < 1000


@pytest.mark.parametrize(
  'what, value', [('default_backend', 'gpu'), ('process_count', 2)]
)
def test_elsewhere_it_is_one_after_the_other(monkeypatch, what, value):
  monkeypatch.setattr(jax, what, lambda: value)
  begun = []
  for cell in two_at_once.each(lambda c: begun.append(c) or c, range(4)):
    assert begun == list(range(cell + 1))
