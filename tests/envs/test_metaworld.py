"""One process of Meta-World: seeds, cameras, what is hidden or refused."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from rpt_jax.envs import canvas, metaworld
from rpt_jax.envs.metaworld import demonstrations, scene

MISSING = scene.missing()
draws = pytest.mark.skipif(bool(MISSING), reason=MISSING)
TASK = 'drawer-open-v3'
SETTINGS = metaworld.Settings(size=32, horizon=30)


@pytest.fixture(scope='module')
def lanes():
  """Two lanes of a task, in this process."""
  found = metaworld.Lanes(TASK, SETTINGS, num=2)
  yield found
  found.close()


def _look(lanes, lane):
  observation = demonstrations.empty(SETTINGS)
  lanes.observe(lane, observation)
  return observation


def _play(lanes, lane, seed, decisions=6):
  """The full state and one picture of every camera after every decision."""
  lanes.reset(lane, seed)
  states, seen = [], []
  for _ in range(decisions):
    seen.append(_look(lanes, lane))
    lanes.step(lane, lanes.expert(lane))
    states.append(lanes._lanes[lane].state)
  return np.stack(states), seen


@draws
def test_tasks_and_pins_are_those_of_the_package():
  from metaworld.policies import ENV_POLICY_MAP

  assert sorted(metaworld.TASKS) == sorted(ENV_POLICY_MAP)
  setup = pathlib.Path(__file__).parents[2].joinpath('setup.py').read_text()
  assert re.search(r"'mujoco==([\d.]+)'", setup)[1] == scene.MUJOCO


def test_every_task_has_its_own_sentence():
  sentences = [metaworld.instruction(task) for task in metaworld.TASKS]
  assert len(set(sentences)) == len(metaworld.TASKS) == 50
  assert metaworld.instruction(TASK) == 'open the drawer'
  with pytest.raises(ValueError, match="found 'drawer', expected one of"):
    metaworld.instruction('drawer')


@draws
def test_an_episode_follows_from_its_seed_alone(lanes):
  first, seen = _play(lanes, 0, seed=3)
  other, _ = _play(lanes, 0, seed=4)
  again, _ = _play(lanes, 0, seed=3)
  elsewhere, seen_elsewhere = _play(lanes, 1, seed=3)
  np.testing.assert_array_equal(first, again)
  np.testing.assert_array_equal(first, elsewhere)
  assert np.abs(first[0, 4:7] - other[0, 4:7]).max() > 1e-3
  for a, b in zip(seen, seen_elsewhere, strict=True):
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@draws
def test_an_episode_starts_where_its_physics_does(lanes):
  """Meta-World moves the object, but tells neither state nor picture."""
  import mujoco

  lanes.reset(0, 5)
  lane, seen = lanes._lanes[0], _look(lanes, 0)
  mujoco.mj_forward(lane.env.model, lane.env.data)
  drawer = lane.env.data.body('drawer_link').xpos
  np.testing.assert_allclose(lane.state[4:7], drawer + [0, -0.16, 0], atol=1e-6)
  np.testing.assert_array_equal(lane.state[:18], lane.state[18:36])
  for name, x in _look(lanes, 0).items():
    np.testing.assert_array_equal(seen[name], x, err_msg=name)


@draws
def test_drawing_leaves_physics_alone(lanes, monkeypatch):
  drawn, _ = _play(lanes, 0, seed=8)
  monkeypatch.setattr(scene, 'edit', lambda model: None)
  plain = metaworld._Lane(TASK)
  plain.reset(8)
  for state in drawn:
    plain.step(plain.expert(np.zeros(3)), SETTINGS.action_repeat)
    np.testing.assert_array_equal(plain.state, state)


@draws
def test_cameras_show_what_mujoco_shows_the_right_way_up(lanes):
  import mujoco

  lanes.reset(0, 2)
  env = lanes._lanes[0].env
  seen = _look(lanes, 0)
  with mujoco.Renderer(env.model, SETTINGS.size, SETTINGS.size) as renderer:
    for camera in SETTINGS.cameras:
      renderer.update_scene(env.data, camera)
      expected = renderer.render()
      if camera.startswith('corner'):
        expected = expected[::-1, ::-1]
      np.testing.assert_array_equal(seen[camera], expected, err_msg=camera)
  assert seen['proprio'].dtype == np.float32
  np.testing.assert_allclose(seen['proprio'], lanes._lanes[0].state[:4])


@draws
def test_the_goal_is_nowhere_to_be_seen(lanes):
  """Moving every site changes no pixel; showing them would."""
  lanes.reset(0, 2)
  env = lanes._lanes[0].env
  before = _look(lanes, 0)
  env.data.site_xpos[:] += 0.05
  moved = _look(lanes, 0)
  env.model.site_rgba[:, 3] = 1
  shown = _look(lanes, 0)
  env.model.site_rgba[:, 3] = 0
  for camera in SETTINGS.cameras:
    np.testing.assert_array_equal(before[camera], moved[camera])
  assert any((before[c] != shown[c]).any() for c in SETTINGS.cameras)


@draws
def test_experts_see_things_elsewhere_without_a_trace(lanes):
  lanes.reset(0, 1)
  state = lanes._lanes[0].state.copy()
  straight = lanes.expert(0)
  aside = lanes.expert(0, seen_as=(0.1, 0.0, 0.0))
  np.testing.assert_array_equal(lanes._lanes[0].state, state)
  np.testing.assert_array_equal(lanes.expert(0), straight)
  assert (aside != straight).any() and np.abs(aside).max() <= 1


@draws
@pytest.mark.parametrize(
  ('task', 'changed', 'match'),
  [
    ('drawer-v3', {}, "task: found 'drawer-v3'"),
    (TASK, {'cameras': ('corner9',)}, r"cameras: found \['corner9'\]"),
    (TASK, {'cameras': ()}, 'cameras: found none'),
    (TASK, {'size': 0}, 'size: found 0'),
    (TASK, {'action_repeat': 0}, 'action_repeat: found 0'),
  ],
)
def test_refuses(task, changed, match):
  with pytest.raises(ValueError, match=match):
    metaworld.Lanes(task, SETTINGS._replace(**changed))


def test_says_what_is_missing(monkeypatch):
  versions = {'metaworld': '3.1.1', 'mujoco': '4.0.0'}
  found = scene.importlib.metadata
  monkeypatch.setattr(found, 'version', versions.__getitem__)
  assert 'pip install mujoco==3.3.0' in scene.missing()
  versions['mujoco'] = '3.3.0'
  monkeypatch.setenv('MUJOCO_GL', 'osmesa')
  monkeypatch.setattr(canvas.ctypes.util, 'find_library', lambda _: '')
  with pytest.raises(ValueError, match='apt-get install .* libosmesa6'):
    metaworld.Lanes(TASK, SETTINGS)

  def absent(name):
    raise found.PackageNotFoundError(name)

  monkeypatch.setattr(found, 'version', absent)
  assert "pip install -e '.[metaworld]'" in scene.missing()


def test_asking_for_names_imports_no_simulator():
  code = (
    'import sys; from rpt_jax.envs.metaworld import simulators, worker; '
    'sys.exit(bool({"jax", "mujoco", "metaworld"} & set(sys.modules)))'
  )
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0
