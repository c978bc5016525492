"""Returns of expert and random over 256 episodes, plain scenes, key 0.

The figures are exact on one machine; floating point may differ by platform,
hence the tolerance. Native reward units, horizons of the catalogue.
"""

import jax
import numpy as np
import pytest

from rpt_jax import envs
from rpt_jax.envs import behaviours, rollout
from rpt_jax.envs.gymnax import gate

# name: (expert, random, tolerance)
TABLE = {
  'CartPole-v1': (500.00, 15.42, 3.0),
  'Acrobot-v1': (-81.65, -249.01, 3.0),
  'Pendulum-v1': (-144.38, -1203.06, 8.0),
  'MountainCar-v0': (-99.14, -200.00, 1.5),
  'MountainCarContinuous-v0': (97.65, -9.48, 0.5),
  'Breakout-MinAtar': (10.99, 0.32, 0.3),
  'Freeway-MinAtar': (7.90, 0.05, 0.3),
  'SpaceInvaders-MinAtar': (22.61, 3.19, 0.5),
  'Detour-v0': (1.0, 0.0, 0.01),
  'OneWay-v0': (1.0, 0.0, 0.01),
  'Gate-v0': (1.0, 0.0, 0.02),
}


def test_table_is_complete():
  assert set(TABLE) == set(envs.NAMES)


@pytest.mark.parametrize('name', envs.NAMES)
def test_returns(name):
  env, key = envs.make(name), jax.random.key(0)
  expert, random, tolerance = TABLE[name]
  found = {
    behaviour: rollout.returns(env, behaviour(env), (), key, 256)
    for behaviour in (behaviours.expert, behaviours.random)
  }
  expert_N = np.asarray(found[behaviours.expert])
  random_N = np.asarray(found[behaviours.random])
  assert expert_N.mean() == pytest.approx(expert, abs=tolerance)
  assert random_N.mean() == pytest.approx(random, abs=tolerance)
  assert np.quantile(expert_N, 0.05) > np.quantile(random_N, 0.95)


@pytest.mark.parametrize('name, left', [('Detour-v0', 0.5), ('OneWay-v0', 1.0)])
def test_experts_of_a_detour_go_both_ways_or_one(name, left):
  """And nothing of the first observation says which."""
  env = envs.make(name)
  steps = rollout.rollout(
    env, behaviours.expert(env), (), jax.random.key(1), 256
  )
  x_NT = np.asarray(steps['state'][..., 0])
  passed_N = x_NT[np.arange(256), np.abs(x_NT).argmax(1)] < 0
  assert passed_N.mean() == pytest.approx(left, abs=0.1)
  assert np.abs(x_NT).max(1).min() > 0.4
  if left < 1:
    assert abs(np.corrcoef(passed_N, x_NT[:, 0])[0, 1]) < 0.2


@pytest.mark.parametrize(
  'x, action, moved',
  [
    (0.0, (0.0, 1.0), (0.0, 0.1)),  # Through the gap,
    (0.3, (0.0, 1.0), (0.0, 0.0)),  # into the wall,
    (0.3, (1.0, 0.1), (0.1, 0.01)),  # along it,
    (0.15, (-1.0, 1.0), (0.0, 0.0)),  # and where the way meets it counts.
    (0.1, (-1.0, 1.0), (-0.1, 0.1)),
  ],
)
def test_a_wall_is_passed_at_its_gap_alone(x, action, moved, monkeypatch):
  monkeypatch.setattr(gate, 'NOISE', 0.0)
  state = gate.State(np.float32(x), np.float32(-0.05))
  step = gate.Gate().step_env(jax.random.key(0), state, np.array(action), None)
  _, after, reward, ended, _ = step
  went = after.x - state.x, after.y - state.y
  np.testing.assert_allclose(went, moved, atol=1e-6)
  assert not (reward or ended)
