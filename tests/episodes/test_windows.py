"""Windows against a loop that walks every clip step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.episodes import windows as win

CASES = [
  # lengths, context, stride, lead
  ([5], 3, 1, 0),
  ([2], 5, 1, 0),
  ([1], 1, 1, 0),
  ([7, 1, 4, 9], 4, 3, 0),
  ([3, 10, 2], 4, 2, 3),
  ([8, 3], 4, 1, 3),
  ([6], 6, 2, 0),
]


def loop_reference(lengths, context, stride, lead):
  """(clip, [step or None] * context) of every window, in order."""
  found = []
  for clip, length in enumerate(lengths):
    start, last = -lead, max(length - context, -lead)
    starts = []
    while start < last:
      starts.append(start)
      start += stride
    for s in [*starts, last]:
      steps = [s + t if 0 <= s + t < length else None for t in range(context)]
      found.append((clip, steps))
  return found


@pytest.mark.parametrize('lengths, context, stride, lead', CASES)
def test_windows_equal_a_loop(lengths, context, stride, lead):
  table = win.windows(np.array(lengths), context, stride, lead=lead)
  rows_WT, valid_WT = win.rows(table, context)
  offsets = np.cumsum([0, *lengths])
  found = []
  for clip, row, valid in zip(table.clip, rows_WT, valid_WT, strict=True):
    assert (offsets[clip] <= row).all() and (row < offsets[clip + 1]).all()
    steps = [
      int(r - offsets[clip]) if v else None
      for r, v in zip(row, valid, strict=True)
    ]
    found.append((int(clip), steps))
  assert found == loop_reference(lengths, context, stride, lead)


def test_counts():
  def count(lengths, *args, **kwargs):
    return len(win.windows(np.array(lengths), *args, **kwargs).first)

  assert count([10], 4, 1) == 7
  assert count([10], 4, 4) == 3  # 0, 4 and the tail at 6
  assert count([3], 4, 1) == 1
  assert count([4], 4, 2) == 1
  assert count([10, 3, 4], 4, 3) == 3 + 1 + 1


def test_every_step_is_in_a_window():
  lengths = np.array([1, 2, 9, 17, 30])
  table = win.windows(lengths, 4, 4)
  rows_WT, valid_WT = win.rows(table, 4)
  assert set(rows_WT[valid_WT]) == set(range(lengths.sum()))


def test_lead_makes_every_step_last_once():
  lengths = np.array([1, 5, 3, 8])
  table = win.windows(lengths, 4, 1, lead=3)
  rows_WT, valid_WT = win.rows(table, 4)
  assert valid_WT[:, -1].all()
  np.testing.assert_array_equal(rows_WT[:, -1], np.arange(lengths.sum()))


def test_chunks_equal_a_loop():
  lengths, context, steps = np.array([2, 6, 4]), 4, 3
  table = win.windows(lengths, context, 2)
  rows_WTC, valid_WTC = win.chunks(table, context, steps)
  rows_WT, valid_WT = win.rows(table, context)
  for w in range(len(rows_WT)):
    length = lengths[table.clip[w]]
    for t in range(context):
      step = table.first[w] + t - table.low[w]
      for c in range(steps):
        expected = step < length and step + c < length
        assert valid_WTC[w, t, c] == expected
        if expected:
          assert rows_WTC[w, t, c] == table.first[w] + t + c
  np.testing.assert_array_equal(rows_WTC[:, :, 0], rows_WT)
  np.testing.assert_array_equal(valid_WTC[:, :, 0], valid_WT)


def test_future_starts_where_asked():
  table = win.windows(np.array([5]), 5)
  rows_WTC, valid_WTC = win.chunks(table, 5, 2, first=1)
  assert rows_WTC[0].tolist() == [[1, 2], [2, 3], [3, 4], [4, 4], [4, 4]]
  assert valid_WTC[0].sum(1).tolist() == [2, 2, 2, 1, 0]


def test_same_inside_jit():
  lengths = np.array([3, 9, 5])
  table = win.windows(lengths, 4, 1)
  data = np.arange(17 * 2, dtype=np.float32).reshape(17, 2)
  picks = np.array([3, 0, 5])

  @jax.jit
  def batch(table, data, picks):
    some = table.take(picks)
    rows_BT, valid_BT = win.rows(some, 4)
    return win.gather(data, rows_BT), valid_BT, *win.chunks(some, 4, 3)

  some = table.take(picks)
  rows_BT, valid_BT = win.rows(some, 4)
  expected = (data[rows_BT], valid_BT, *win.chunks(some, 4, 3))
  found = batch(jax.tree.map(jnp.asarray, table), jnp.asarray(data), picks)
  for f, e in zip(found, expected, strict=True):
    np.testing.assert_array_equal(f, e)


def test_bad_settings_are_named():
  with pytest.raises(ValueError, match='none empty'):
    win.windows(np.array([3, 0]), 2)
  with pytest.raises(ValueError, match='none empty'):
    win.windows(np.array([], np.int32), 2)
  for context, stride, lead in [(0, 1, 0), (2, 0, 0), (2, 1, 2), (2, 1, -1)]:
    with pytest.raises(ValueError, match='context'):
      win.windows(np.array([3]), context, stride, lead=lead)
