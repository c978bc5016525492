"""What is said of units: of such as name the clip, the scene, the motion."""

import re

import numpy as np
import pytest

from rpt_jax import results
from rpt_jax.reporting import findings, page, verdicts
from rpt_jax.stages import quantize
from rpt_jax.units import quality

CLIPS, STEPS = 16, 60


def clips():
  """(clip, state, velocity) of pendulums, each about a place of its own."""
  rng = np.random.default_rng(0)
  phase = rng.uniform(0, 6, (CLIPS, 1)) + 0.5 * np.arange(STEPS)
  state = np.sin(phase) + rng.normal(size=(CLIPS, 1))
  clip_N = np.repeat(np.arange(CLIPS), STEPS)
  return clip_N, state.reshape(-1, 1), np.cos(phase).reshape(-1, 1)


def rows(**units):
  """Rows of recipes with these units, as `quantize` writes them."""
  clip_N, state, velocity = clips()
  labels = {'state': quality.bins(state), 'velocity': quality.bins(velocity)}
  return [
    results.row('quantize', quantize._name(k), value, recipe=name,
                env=results.MEAN, iteration=1)
    for name, unit_N in units.items()
    for k, value in quality.report(unit_N, clip_N, labels).items()
  ]  # fmt: skip


def of_clips():
  clip_N, _, velocity = clips()
  noise = np.random.default_rng(1).integers(0, 8, len(clip_N))
  motion = quality.bins(velocity, 8)
  return {
    'clip': clip_N,
    'scene': clip_N // 4,
    'motion': motion,
    'both': 8 * (clip_N // 8) + motion,
    'noise': noise,
  }


def test_units_are_said_to_name_what_they_name():
  said = verdicts.of_recipes(rows(**of_clips()))
  assert said['clip'].named == ('the clip',) and said['clip'].collapsed
  assert said['scene'].named == ('the scene',) and said['scene'].collapsed
  assert said['noise'].named == () and not said['noise'].collapsed
  assert said['motion'].named[0] == 'the motion'
  assert 'the scene' not in said['motion'].named
  assert {'the motion', 'the scene'} <= {*said['both'].named}
  assert 'name nothing' in said['noise'].sentence
  assert (
    'have collapsed: a clip keeps about one (1.0 in' in said['scene'].sentence
  )
  assert 'name the scene (clip 0.50, shuffled 0.0' in said['scene'].sentence


def test_units_that_name_the_clip_gain_nothing_of_the_pose():
  """It differs between clips, which shuffles over all frames would not tell."""
  clip_N, state, _ = clips()
  label_N = quality.bins(state)
  told = quality.pnmi(label_N, clip_N)
  everywhere = quality.shuffles(clip_N, np.zeros_like(clip_N), 19)
  assert told > 2 * max(quality.pnmi(label_N, x) for x in everywhere)
  assert told == pytest.approx(quality.threshold(label_N, clip_N, clip_N))


def test_shuffles_stay_in_their_groups():
  group_N = np.array([1, 0, 1, 0, 2, 1])
  for shuffled in quality.shuffles(np.arange(6), group_N, 5):
    assert sorted(shuffled) == list(range(6))
    np.testing.assert_array_equal(group_N[shuffled], group_N)
  drawn = [tuple(x) for x in quality.shuffles(np.arange(6), group_N, 5)]
  assert len({*drawn}) > 2


def test_the_collapsed_are_named_and_never_the_best():
  own = rows(clip=of_clips()['clip'], noise=of_clips()['noise'])
  text = page.compose(page.Content(rows=own))
  assert text.count('collapsed</span>') == 1
  assert 'These units have collapsed' in text
  best = {r['name']: r['value'] for r in own if r['tags']['recipe'] == 'noise'}
  marked = re.findall(r'<td class="best">([\d.]+)', text)
  pnmi = [f'{best[f"pnmi_{k}"]:.3f}' for k in ('velocity', 'state')]
  assert {*pnmi} <= {*marked} and '1.000' not in marked
  (lever,) = findings.levers(own, 'clip')
  assert 'highest of those not collapsed for “noise”' in lever.sentence
