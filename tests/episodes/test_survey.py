"""Surveys: every planted fault is named, clean data raises no suspicion."""

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import survey, survey_frames


def clean(seed, steps=40):
  rng = np.random.default_rng(seed)
  walk = np.cumsum(rng.normal(size=(steps, 3)), 0)
  return {
    'front': rng.integers(0, 256, (steps, 6, 8, 3), np.uint8),
    'wrist': rng.integers(0, 256, (steps, 6, 8, 3), np.uint8),
    'state': walk.astype(np.float32),
    'action': rng.normal(size=(steps, 2)).astype(np.float32),
    'instruction': np.array(['push', 'pull'][seed % 2]),
  }


def look(folder, parts, **settings):
  for i, part in enumerate(parts):
    np.savez(folder / f'{i}.npz', **part)
  return survey.survey(episodes.open(folder), **settings)


def test_clean_episodes_raise_no_suspicion(tmp_path):
  parts = [clean(i, 40 + i) for i in range(6)]
  found = look(tmp_path, parts)
  assert found.warnings == [] and not found.corrupt
  assert found.lengths.tolist() == list(range(40, 46))
  assert found.instructions == {'push': 3, 'pull': 3}
  state = np.concatenate([p['state'] for p in parts]).astype(np.float64)
  one = found.streams['state'].statistics
  np.testing.assert_allclose(one.mean, state.mean(0))
  np.testing.assert_array_equal(one.max, state.max(0))
  assert found.streams['front'].shape == (6, 8, 3)
  assert 120 < found.streams['front'].statistics.mean[0] < 135


def test_sample_frames_are_those_of_their_episode(tmp_path):
  parts = [clean(i) for i in range(5)]
  found = look(tmp_path, parts, image_episodes=3)
  assert list(found.frames['wrist']) == [0, 2, 4]
  frames = found.frames['wrist'][2]
  assert len(frames) == survey_frames.FRAMES
  np.testing.assert_array_equal(frames[0], parts[2]['wrist'][0])
  np.testing.assert_array_equal(frames[-1], parts[2]['wrist'][-1])


def test_tall_and_grey_frames_are_shown_small_and_in_colour(tmp_path):
  part = {'image': np.full((9, 300, 400, 1), 70, np.uint8)}
  frames = look(tmp_path, [part]).frames['image'][0]
  assert frames.shape == (8, 128, 171, 3) and (frames == 70).all()


def nan(parts):
  parts[1]['state'][3:5, 1] = np.nan


def constant(parts):
  for part in parts:
    part['state'][:, 2] = 4


def black(parts):
  for part in parts:
    part['wrist'][:] = 0


def frozen(parts):
  parts[2]['front'][:] = parts[2]['front'][:1]


def jump(parts):
  parts[3]['state'][20:, 0] += 400


def saturated(parts):
  for part in parts:
    part['action'][:, 1] = part['action'][:, 1].clip(-0.5, 0.5)


def copied(parts):
  parts[4] = parts[1]


def long(parts):
  parts[5] = clean(5, 200)


def stuck(parts):
  parts[2]['state'][:] = parts[2]['state'][:1]


def late(parts):
  for part in parts:
    part['timestamp'] = np.arange(40) / 10
  parts[3]['timestamp'][21:] += 0.5


def shaken(parts):
  parts[1]['state'] += 9.0 * (-1.0) ** np.arange(40)[:, None]


def twice(parts):
  for part in parts:
    part['action'] = np.diff(part['state'][:, :2], n=2, axis=0)
    part['action'] = np.pad(part['action'], ((1, 1), (0, 0)))


@pytest.mark.parametrize(
  'fault, words',
  [
    (long, 'unusual length of episode 5: 200 steps; the median is 40'),
    (stuck, 'state: hardly anything moves in episode 2'),
    (late, 'time: 0.6 pass after step 20 of episode 3, usually 0.1'),
    (shaken, 'state: unusual jerk in episode 1: '),
    (twice, 'action [0-1]: a difference was taken twice'),
    (nan, 'state: 2 steps are NaN or infinite'),
    (constant, 'state: constant dimensions [2]'),
    (black, 'wrist: every frame seen is black'),
    (frozen, 'front: all frames of episode 2 are equal'),
    (jump, 'after step 19 of episode 3'),
    (saturated, 'at its limits -0.5 and 0.5'),
    (copied, 'episode 4 is a copy of episode 1'),
  ],
  ids=lambda x: getattr(x, '__name__', ''),
)
def test_a_planted_fault_is_the_one_that_is_named(tmp_path, fault, words):
  parts = [clean(i) for i in range(6)]
  fault(parts)
  (warning,) = look(tmp_path, parts).warnings
  assert words in warning


def test_frames_alone_are_compared_where_there_are_no_numbers(tmp_path):
  parts = [{'front': clean(i)['front']} for i in (0, 1, 0)]
  (warning,) = look(tmp_path, parts).warnings
  assert warning == 'frames of episode 2 are those of episode 0'


def test_unreadable_episodes_are_named_and_the_rest_is_read(tmp_path):
  look(tmp_path, [clean(i) for i in range(3)])
  path = tmp_path / '1.npz'
  path.write_bytes(path.read_bytes()[:500])
  found = survey.survey(episodes.open(tmp_path))
  assert list(found.corrupt) == [1] and '1.npz' in found.warnings[0]
  assert len(found.lengths) == 2


def test_switches_are_no_jumps_and_not_saturated(tmp_path):
  parts = [clean(i) for i in range(6)]
  for part in parts:
    part['action'][:, 1] = np.arange(40) > 30
  assert look(tmp_path, parts).warnings == []
