"""Windows against a loop that walks every clip step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.episodes import windows as win

CASES = [
  # lengths, context, lead
  ([5], 3, 0),
  ([2], 5, 0),
  ([1], 1, 0),
  ([7, 1, 4, 9], 4, 0),
  ([3, 10, 2], 4, 2),
  ([8, 3], 4, 3),
  ([6], 6, 0),
]


def loop_reference(lengths, context, lead):
  """(clip, [step or None] * context) of every window, in order."""
  found = []
  for clip, length in enumerate(lengths):
    for s in range(-lead, max(length - context, -lead) + 1):
      steps = [s + t if 0 <= s + t < length else None for t in range(context)]
      found.append((clip, steps))
  return found


def test_rows_know_their_clip():
  clips = win.Clips({}, np.array([3, 1, 4]))
  assert clips.clip_N.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]
  np.testing.assert_array_equal(clips.clip_of(np.arange(8)), clips.clip_N)


@pytest.mark.parametrize('lengths, context, lead', CASES)
def test_windows_equal_a_loop(lengths, context, lead):
  table = win.windows(np.array(lengths), context, lead=lead)
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
  assert found == loop_reference(lengths, context, lead)


def test_counts():
  def count(lengths, *args, **kwargs):
    return len(win.windows(np.array(lengths), *args, **kwargs).first)

  assert count([10], 4) == 7
  assert count([3], 4) == 1
  assert count([4], 4) == 1
  assert count([10, 3, 4], 4, lead=3) == 10 + 3 + 4


def test_every_step_is_in_a_window():
  lengths = np.array([1, 2, 9, 17, 30])
  table = win.windows(lengths, 4)
  rows_WT, valid_WT = win.rows(table, 4)
  assert set(rows_WT[valid_WT]) == set(range(lengths.sum()))


def test_lead_makes_every_step_last_once():
  lengths = np.array([1, 5, 3, 8])
  table = win.windows(lengths, 4, lead=3)
  rows_WT, valid_WT = win.rows(table, 4)
  assert valid_WT[:, -1].all()
  np.testing.assert_array_equal(rows_WT[:, -1], np.arange(lengths.sum()))


def following(table, context, steps, first=0):
  """Rows [W, context, steps] of what follows each step, and their validity."""
  at_WT = table.first[:, None] + np.arange(context, dtype=np.int32)[None]
  return win.future(at_WT, table, steps, first)


def test_what_follows_equals_a_loop():
  lengths, context, steps = np.array([2, 6, 4]), 4, 3
  table = win.windows(lengths, context, lead=2)
  rows_WTC, valid_WTC = following(table, context, steps)
  for w, clip in enumerate(table.clip):
    for t in range(context):
      step = table.first[w] + t - table.low[w]
      for c in range(steps):
        expected = 0 <= step + c < lengths[clip]
        assert valid_WTC[w, t, c] == expected
        if expected:
          assert rows_WTC[w, t, c] == table.first[w] + t + c


def test_future_starts_where_asked():
  table = win.windows(np.array([5]), 5)
  rows_WTC, valid_WTC = following(table, 5, 2, first=1)
  assert rows_WTC[0].tolist() == [[1, 2], [2, 3], [3, 4], [4, 4], [4, 4]]
  assert valid_WTC[0].sum(1).tolist() == [2, 2, 2, 1, 0]


def test_same_inside_jit():
  lengths = np.array([3, 9, 5])
  table = win.windows(lengths, 4)
  data = np.arange(17 * 2, dtype=np.float32).reshape(17, 2)
  picks = np.array([3, 0, 5])

  @jax.jit
  def batch(table, data, picks):
    some = table.take(picks)
    rows_BT, valid_BT = win.rows(some, 4)
    return win.gather(data, rows_BT), valid_BT, *following(some, 4, 3)

  some = table.take(picks)
  rows_BT, valid_BT = win.rows(some, 4)
  expected = (data[rows_BT], valid_BT, *following(some, 4, 3))
  found = batch(jax.tree.map(jnp.asarray, table), jnp.asarray(data), picks)
  for f, e in zip(found, expected, strict=True):
    np.testing.assert_array_equal(f, e)


def test_bad_settings_are_named():
  with pytest.raises(ValueError, match='none empty'):
    win.windows(np.array([3, 0]), 2)
  with pytest.raises(ValueError, match='none empty'):
    win.windows(np.array([], np.int32), 2)
  for context, lead in [(0, 0), (2, 2), (2, -1)]:
    with pytest.raises(ValueError, match='context'):
      win.windows(np.array([3]), context, lead=lead)


@pytest.mark.parametrize('count, most', [(1, 5), (5, 5), (9, 5), (7500, 5000)])
def test_few_rows_are_every_second_or_all(count, most):
  rows = win.spread(count, most)
  assert rows.tolist() == [*range(0, count, -(-count // most))]


def test_a_stride_is_prime():
  """So it is in step with the clips of no length but its own multiples."""
  strides = [win.spread(100 * n, 100)[1] for n in (1, 2, 3, 4, 6, 8, 9, 25)]
  assert strides == [1, 2, 3, 5, 7, 11, 11, 29]


def test_many_rows_see_all_steps_of_clips_of_one_length():
  """A stride of 150 would see the first step of clips of ten alone."""
  rows = win.spread(750_000, 5000)
  assert 4500 < len(rows) <= 5000
  for length in (10, 25, 50, 150):
    seen = np.bincount(rows % length, minlength=length)
    assert seen.min() > 0.8 * seen.mean()
