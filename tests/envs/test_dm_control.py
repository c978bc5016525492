"""The Control Suite in one process: experts, distractors, masks."""

import numpy as np
import pytest

from rpt_jax.envs import dm_control
from rpt_jax.envs.dm_control import (
  Start,
  demonstrations,
  distractors,
  experts,
  scene,
  simulators,
)

MISSING = scene.missing()
draws = pytest.mark.skipif(bool(MISSING), reason=MISSING)
TASK, SIZE = 'cheetah-run', 48


@pytest.fixture(scope='module')
def backgrounds(tmp_path_factory):
  """Two that are seen, and one that is not: paths of .npy."""
  folder = tmp_path_factory.mktemp('backgrounds')
  paths = [str(folder / f'{i}.npy') for i in range(3)]
  for i, path in enumerate(paths):
    np.save(path, distractors.texture(i, SIZE, 8))
  return tuple(paths[:2]), tuple(paths[2:])


@pytest.fixture(scope='module')
def distracting(backgrounds):
  seen, unseen = backgrounds
  return dm_control.Settings(SIZE, 20, 0.1, 0.1, seen, unseen)


@pytest.fixture(scope='module')
def lanes(distracting):
  """Two lanes before moving backgrounds, in this process."""
  made = dm_control.Lanes(TASK, distracting, num=2)
  yield made
  made.close()


@pytest.fixture(scope='module')
def plain():
  """The suite as it is."""
  made = dm_control.Lanes(TASK, dm_control.Settings(SIZE, 20))
  yield made
  made.close()


def _play(lanes, lane, start, steps=4):
  """(states, frames) of what the expert does."""
  lanes.reset(lane, start)
  seen = []
  for _ in range(steps):
    seen.append(lanes.observe(lane))
    lanes.step(lane, lanes.expert(lane))
  return tuple(np.stack([s[name] for s in seen]) for name in ('state', 'image'))


def test_the_protocol_is_the_published_one():
  """`scale_easy`: a strength of 0.1 (LAOM, src/dcs/suite_utils.py)."""
  rng = np.random.default_rng(0)
  walk = distractors.camera(rng, 20_000, 0.1)
  far = np.pi / 2 * 0.1
  np.testing.assert_allclose(walk.max(0), [far, far, far, 0.15], rtol=1e-6)
  np.testing.assert_allclose(walk.min(0), [-far, -far, -far, -0.05], rtol=1e-6)
  speed = np.abs(np.diff(walk, axis=0))
  assert speed.max() <= 0.04 + 1e-12
  first = np.stack([distractors.camera(rng, 1, 0.1) for _ in range(3000)])
  inside = (np.abs(first[:, 0]) < 0.6 * far).all(1) & (first[:, 0, 3] > 0)
  jolt = np.diff(first[inside], axis=1)[:, 0].std(0)
  expected = [0.01, 0.01, np.pi / 300 * 0.1, 0.01]
  np.testing.assert_allclose(jolt, expected, rtol=0.1)
  shift = distractors.colours(rng, 5000, 0.1, 2)
  assert np.abs(shift).max() == 0.1
  drift = np.diff(shift, axis=0)[(np.abs(shift) < 0.09).all((1, 2))[:-1]]
  np.testing.assert_allclose(drift.std(), 0.003, rtol=0.1)
  assert not distractors.camera(rng, 9, 0.0).any()


def test_a_background_goes_to_and_fro():
  video = np.arange(5)[:, None, None, None] * np.ones((1, 1, 1, 3))
  frame = distractors.background(np.random.default_rng(0), [video])
  shown = np.array([frame(t)[0, 0, 0] for t in range(30)])
  assert (np.abs(np.diff(shown)) == 1).all() and set(shown) == set(range(5))
  assert distractors.background(np.random.default_rng(0), []) is None


def test_textures_move_and_differ_by_their_number():
  one, again, other = (distractors.texture(i, 24, 6) for i in (3, 3, 4))
  np.testing.assert_array_equal(one, again)
  assert one.dtype == np.uint8 and one.shape == (6, 24, 24, 3)
  between = np.abs(one.astype(int) - other).mean()
  step = np.abs(np.diff(one.astype(int), axis=0)).mean((1, 2, 3))
  assert between > 20 and (step > 0.5).all() and (step < between).all()


def test_experts_come_along():
  sizes = {task: experts.sizes(task) for task in experts.tasks()}
  assert sizes == {
    'cheetah-run': (17, 6),
    'hopper-hop': (15, 4),
    'humanoid-walk': (67, 21),
    'walker-run': (24, 6),
  }
  weights = sum(p.stat().st_size for p in experts.FOLDER.iterdir())
  assert weights < 4e6 and (experts.FOLDER / 'LICENSE').exists()
  with pytest.raises(ValueError, match='found no expert, expected one of ch'):
    experts.load('reacher-easy')


@draws
def test_an_episode_follows_from_its_start_alone(lanes):
  first = _play(lanes, 0, Start(3))
  _play(lanes, 0, Start(4))
  for lane in (0, 1):
    for a, b in zip(first, _play(lanes, lane, Start(3)), strict=True):
      np.testing.assert_array_equal(a, b)
  states, images = _play(lanes, 0, Start(3, unseen=True))
  np.testing.assert_array_equal(states, first[0])
  assert (images != first[1]).mean() > 0.2


@draws
def test_distraction_leaves_physics_and_the_suite_alone(lanes, plain):
  distracted, seen = _play(lanes, 0, Start(8))
  undistracted, plain_seen = _play(plain, 0, Start(8))
  np.testing.assert_array_equal(distracted, undistracted)
  assert (seen != plain_seen).mean() > 0.5


@draws
def test_frame_and_mask_are_those_of_the_suite(plain):
  """Of its own renderer, which draws without our edits' speed."""
  plain.reset(0, Start(1))
  for _ in range(5):
    plain.step(0, plain.expert(0))
  physics = plain._lanes[0]._env.physics
  camera = {'height': SIZE, 'width': SIZE, 'camera_id': scene.CAMERA}
  segments = physics.render(segmentation=True, **camera)
  geoms = np.where(segments[..., 1] == 5, segments[..., 0], -1)  # mjOBJ_GEOM
  bodies = np.where(geoms < 0, -1, physics.model.geom_bodyid[geoms])
  np.testing.assert_array_equal(plain.mask(0), bodies > 0)
  assert 0.02 < plain.mask(0).mean() < 0.4
  theirs = physics.render(**camera).astype(int)
  apart = np.abs(plain.observe(0)['image'] - theirs).mean()
  assert apart < 6, apart  # Haze and shadows are left out.


@draws
def test_the_background_is_where_nothing_is(lanes):
  """Another one changes it, and neither robot nor ground."""
  lanes.reset(0, Start(2))
  lane, mask = lanes._lanes[0], lanes.mask(0)
  frames = []
  for value in (0, 255):
    lane._frames = lambda _, v=value: np.full((SIZE, SIZE, 3), v, np.uint8)
    frames.append(lanes.observe(0)['image'])
  behind = (frames[0] == 0).all(-1) & (frames[1] == 255).all(-1)
  np.testing.assert_array_equal(frames[0][~behind], frames[1][~behind])
  assert 0.2 < behind.mean() < 0.95 and not (behind & mask).any()


@draws
def test_processes_play_what_is_recorded(distracting):
  starts = [Start(5), Start(6, unseen=True), Start(7)]
  shown = list(simulators.record(TASK, distracting, starts, (0.0, 0.2)))
  act = experts.load(TASK)
  with simulators.Simulators(TASK, distracting, 3) as running:
    outcome = simulators.play(
      running, lambda seen: np.stack([act(x) for x in seen['state']]), starts
    )
    with pytest.raises(ValueError, match='starts: found 2, expected one for'):
      running.reset(starts[:2])
    with pytest.raises(ValueError, match=r'action: found \[2, 6\], expected'):
      running.step(np.zeros((2, 6)))
  assert [about['noise'] for _, about in shown] == [0.2, 0.0, 0.2]
  episode, about = shown[1]
  assert about['unseen'] == 1 and episode.length == 20
  np.testing.assert_allclose(outcome.return_N[1], about['return'], rtol=1e-6)
  assert outcome.film.shape == (21, SIZE, SIZE, 3)
  np.testing.assert_array_equal(
    outcome.film[0], shown[0][0].observation['image'][0]
  )
  assert np.abs(shown[0][0].action).max() <= 1


@draws
def test_refuses(tmp_path):
  with pytest.raises(ValueError, match='found no expert'):
    dm_control.Lanes('cheetah-walk', dm_control.Settings())
  np.save(tmp_path / 'a.npy', np.zeros((3, 8, 8, 3)))
  settings = dm_control.Settings(backgrounds=(str(tmp_path / 'a.npy'),))
  with pytest.raises(ValueError, match=r'a.npy: found float64 \[3, 8, 8, 3\]'):
    dm_control.Lanes(TASK, settings)


@draws
@pytest.mark.slow
@pytest.mark.parametrize(
  ('task', 'published'),
  [
    ('cheetah-run', 838),
    ('walker-run', 740),
    ('hopper-hop', 307),
    ('humanoid-walk', 617),
  ],
)
def test_experts_earn_what_was_published(task, published):
  lanes = dm_control.Lanes(task, dm_control.Settings(16))
  earned = np.mean(demonstrations.returns(lanes, [Start(0), Start(1)], True))
  lanes.close()
  assert abs(earned - published) < 0.15 * published, earned
