"""Absolute, delta and double delta actions of a trajectory are told apart."""

import numpy as np
import pytest

from rpt_jax.episodes import action_kinds
from rpt_jax.episodes.action_kinds import (
  ABSOLUTE,
  DELTA,
  LESS_STATE,
  NEGATED,
  STILL,
  TWICE,
  UNCLEAR,
)


def trajectory(seed, steps=120, width=4):
  """A smooth walk [T, 3]: noise under a window of 2 * width steps."""
  rng, window = np.random.default_rng(seed), np.hanning(2 * width + 1)[1:-1]
  noise_TP = rng.normal(size=(steps + len(window) - 1, 3))
  smooth = [np.convolve(x, window, 'valid') for x in noise_TP.T]
  return 5.0 + np.stack(smooth, axis=1)


def actions(kind, state_TP, lag):
  """Of every step, those at the ends from around the other end."""
  now, after, before = (
    np.roll(state_TP, -(lag + shift), axis=0) for shift in (0, 1, -1)
  )
  return {
    ABSOLUTE: now,
    DELTA: after - now,
    TWICE: after - 2 * now + before,
    LESS_STATE: after - 2 * now,
    NEGATED: -now,
  }[kind]


def told(make, episodes=4):
  sums = action_kinds.Correlations()
  for seed in range(episodes):
    state_TP = trajectory(seed)
    sums.add(state_TP, make(state_TP))
  return action_kinds.kinds(sums.result())


@pytest.mark.parametrize('lag', [0, 1])
@pytest.mark.parametrize('kind', [ABSOLUTE, DELTA, TWICE, LESS_STATE, NEGATED])
def test_every_kind_is_told_with_its_lag(kind, lag):
  rng = np.random.default_rng(9)

  def make(state_TP):
    action_TA = 3.0 * actions(kind, state_TP, lag)  # In another unit,
    noise = rng.normal(size=action_TA.shape)
    return action_TA + 0.1 * action_TA.std() * noise  # and not exact.

  kinds = told(make)
  assert {(k.name, k.lag) for k in kinds} == {(kind, lag)}
  assert all(0.9 < k.correlation < 1 for k in kinds)
  warned = action_kinds.warnings(kinds)
  assert bool(warned) == (kind in (TWICE, LESS_STATE))
  (line,) = action_kinds.lines(kinds, ('x', 'y', 'z'))
  assert line.startswith(f'action [0-2] (x to z): {kind}, like the ')
  assert (' one step later (' if lag else ' at once (') in line


def test_a_robot_that_is_slow_to_follow_is_told_deltas_alone():
  sums = action_kinds.Correlations()
  for seed in range(4):
    asked_TA = trajectory(seed, width=2) - 5.0
    speed_P, moved = np.zeros(3), [np.zeros(3)]
    for asked_A in asked_TA[:-1]:
      speed_P = speed_P + 0.3 * (asked_A - speed_P)
      moved.append(moved[-1] + speed_P)
    sums.add(np.stack(moved), asked_TA)
  twice = sums.result()[action_kinds.KINDS.index(TWICE)]
  assert 0.7 < twice.max()
  assert {k.name for k in action_kinds.kinds(sums.result())} == {DELTA}


def test_dimensions_differ_and_find_theirs_where_widths_do():
  def make(state_TP):
    delta, absolute = actions(DELTA, state_TP, 0), state_TP
    still, noise = 0 * state_TP[:, :1], np.random.default_rng(0)
    unlike = noise.normal(size=(len(state_TP), 1))
    return np.concatenate([delta[:, 2:], absolute[:, :1], still, unlike], 1)

  kinds = told(make)
  assert [k.name for k in kinds] == [DELTA, ABSOLUTE, STILL, UNCLEAR]
  assert [k.state for k in kinds[:2]] == [2, 0]


def test_few_steps_say_nothing():
  sums = action_kinds.Correlations()
  sums.add(trajectory(0, 30), trajectory(1, 30))
  sums.add(trajectory(0, 6), trajectory(1, 6))  # No step has all candidates.
  assert sums.result() is None
