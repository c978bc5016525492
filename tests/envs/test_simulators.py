"""Meta-World in processes: play, demonstrations, and processes that die."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from rpt_jax import episodes as store
from rpt_jax.envs import metaworld
from rpt_jax.envs.metaworld import Behaviour, scene, simulators
from rpt_jax.episodes.rlds import writer

MISSING = scene.missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
TASK = 'button-press-topdown-v3'
SETTINGS = metaworld.Settings(
  cameras=('corner2', 'gripperPOV'), size=24, horizon=20
)
SEEDS = (47, 48, 49, 50)  # In MIXED: noisy, failing, both, neither.
MIXED = Behaviour(noise=(0.0, 0.3), failure=0.5)


@pytest.fixture(scope='module')
def running():
  """Four lanes in two processes."""
  with simulators.Simulators(TASK, SETTINGS, len(SEEDS)) as found:
    yield found


@pytest.fixture(scope='module')
def shown():
  """Plain demonstrations of SEEDS."""
  return list(simulators.record(TASK, SETTINGS, SEEDS))


@pytest.fixture(scope='module')
def mixed():
  """Noisy demonstrations, some of which fail on purpose."""
  return list(simulators.record(TASK, SETTINGS, SEEDS, MIXED))


def _equal(one, other):
  assert one.keys() == other.keys()
  for name in one:
    np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_playing_the_expert_is_what_was_recorded(running, shown):
  outcome = simulators.play(
    running, lambda observation: running.experts(), SEEDS, films=2
  )
  assert outcome.success_N.all() and len(outcome.films) == 2
  for lane, (episode, about) in enumerate(shown):
    first = int(np.argmax(episode.reward))
    assert outcome.steps_N[lane] == first + 1
    assert episode.length == first + 1 + Behaviour().linger
    assert about['success'] == 1
  for film, (episode, _) in zip(outcome.films, shown, strict=False):
    frames = episode.observation['corner2'][: len(film)]
    np.testing.assert_array_equal(film, frames)


def test_lanes_that_do_not_run_stand_still(running):
  before = running.reset(SEEDS)
  action_NA = np.ones((4, 4), np.float32)
  after, success_N = running.step(action_NA, [True, False, False, True])
  for name, x in before.items():
    np.testing.assert_array_equal(x[1:3], after[name][1:3], err_msg=name)
    assert (x[[0, 3]] != after[name][[0, 3]]).any(), name
  assert before['corner2'].shape == (4, 24, 24, 3) and not success_N.any()
  _equal(before, running.reset(SEEDS))


def test_nobody_moves_until_the_horizon(running):
  def still(observation):
    return np.zeros((len(observation['proprio']), 4))

  outcome = simulators.play(running, still, SEEDS, films=1)
  assert not outcome.success_N.any()
  assert (outcome.steps_N == SETTINGS.horizon).all()
  assert len(outcome.films[0]) == SETTINGS.horizon + 1


@pytest.mark.parametrize(
  'action_NA', [np.zeros((4, 3)), np.zeros((3, 4)), np.full((4, 4), np.nan)]
)
def test_refuses_actions(running, action_NA):
  with pytest.raises(ValueError, match=r'action: found .* expected \[4, 4\]'):
    running.step(action_NA, np.ones(4, bool))
  with pytest.raises(ValueError, match='seeds: found 3, expected one for each'):
    running.reset(SEEDS[:3])


def test_as_many_processes_as_one_likes_record_the_same(mixed):
  alone = simulators.record(TASK, SETTINGS, SEEDS, MIXED, workers=1)
  for (one, about), (other, same) in zip(mixed, alone, strict=True):
    assert about == same
    _equal(one.observation, other.observation)
    for a, b in zip(one[1:], other[1:], strict=True):
      np.testing.assert_array_equal(a, b)


def test_behaviours(mixed, shown):
  assert [about['noise'] for _, about in mixed] == [0.3, 0.0, 0.3, 0.0]
  assert [about['failure'] for _, about in mixed] == [0, 1, 1, 0]
  for (episode, about), (plain, _) in zip(mixed, shown, strict=True):
    _equal_start(episode, plain)
    assert np.abs(episode.action).max() <= 1
    assert about['success'] == int(episode.reward.any())
    if about['failure']:
      assert not about['success'] and episode.length == SETTINGS.horizon
    elif not about['noise']:
      np.testing.assert_array_equal(episode.action, plain.action)
    else:
      assert (episode.action[0] != plain.action[0])[:3].any()
      assert episode.action[0, 3] == plain.action[0, 3]
    assert episode.is_terminal[-1] == bool(about['success'])


def _equal_start(one, other):
  """Behaviour does not change where things stand."""
  for name in one.observation:
    a, b = one.observation[name][0], other.observation[name][0]
    np.testing.assert_array_equal(a, b, err_msg=name)


def test_failures_fail_where_a_wrong_aim_succeeds():
  """Whatever it aims at, a hand that closes the drawer has closed it."""
  task, settings = 'drawer-close-v3', SETTINGS._replace(horizon=25)
  seeds = range(6)
  found = simulators.record(task, settings, seeds, Behaviour(failure=1.0))
  assert not any(about['success'] for _, about in found)


def test_stored_and_read_back(shown, tmp_path):
  writer.write(
    tmp_path / 'store',
    TASK,
    {'demos': [episode for episode, _ in shown]},
    metadata={'demos': [about for _, about in shown]},
  )
  source = store.open(tmp_path / 'store', split='demos')
  assert len(source) == len(SEEDS)
  for i, (episode, _) in enumerate(shown):
    _equal(source[i].observation, episode.observation)
    np.testing.assert_array_equal(source[i].action, episode.action)
    np.testing.assert_array_equal(source[i].reward, episode.reward)


def test_a_process_that_dies_is_one_error():
  with simulators.Simulators(TASK, SETTINGS, 2) as found:
    os.kill(found._workers[1]._process.pid, signal.SIGKILL)
    with pytest.raises(ChildProcessError, match=r'simulator 1 .* code -9'):
      found.reset((0, 1))


def test_an_unknown_task_is_the_callers_error():
  with pytest.raises(ValueError, match="task: found 'nothing'"):
    simulators.Simulators('nothing', SETTINGS, 2)
  with pytest.raises(ValueError, match='noise: found no level'):
    list(simulators.record(TASK, SETTINGS, SEEDS, Behaviour(noise=())))


SCRIPT = f"""
import time
from rpt_jax.envs import metaworld
from rpt_jax.envs.metaworld import simulators
settings = metaworld.Settings(cameras=('topview',), size=16)
with simulators.Simulators({TASK!r}, settings, 2) as found:
  print(*[w._process.pid for w in found._workers], flush=True)
  time.sleep(60)
"""


@pytest.mark.parametrize('end', [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_caller(end):
  caller = subprocess.Popen(
    [sys.executable, '-c', SCRIPT],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
  )
  pids = [int(pid) for pid in caller.stdout.readline().split()]
  assert len(pids) == 2 and all(map(_alive, pids))
  caller.send_signal(end)
  caller.communicate()
  deadline = time.monotonic() + 30
  while any(map(_alive, pids)) and time.monotonic() < deadline:
    time.sleep(0.05)
  assert not any(map(_alive, pids))


def _alive(pid):
  """Whether a process runs; one that nobody has waited for does not."""
  try:
    with open(f'/proc/{pid}/stat') as file:
      return file.read().rpartition(')')[2].split()[0] != 'Z'
  except FileNotFoundError:
    return False
