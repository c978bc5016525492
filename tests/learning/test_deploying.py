"""What policies learn of what was deployed: which steps, and how often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import envs, settings
from rpt_jax.learning import deploying, state_policy
from rpt_jax.results import Deployed

ENV = 'Gate-v0'
TINY = {'width': 8, 'trunk': {'depth': 1, 'num_heads': 1}, 'seeds': 2}


def tiny(**values):
  config = settings.section(settings.Deploy, envs=(ENV,))
  config.update(TINY | values)
  return settings.read(settings.Deploy, config)


def chances(way):
  """Of 2 demonstrations and 2 deployed episodes of 3 steps, one not there."""
  of = [[0, 0, 0], [0, 0, 0], [1, 3, 2], [1, 1, 1]]
  steps = {'class': jnp.asarray(of), 'valid': jnp.ones((4, 3), bool)}
  steps['valid'] = steps['valid'].at[0, 2].set(False)
  usable = jnp.asarray([True, True, True, False])
  if not deploying.WAYS[way].uses:
    usable &= jnp.arange(4) < 2
  return np.asarray(
    deploying._chances(tiny(), deploying.WAYS[way], steps, usable)
  )


def test_ways_differ_in_what_a_step_counts():
  shown = [[1, 1, 0], [1, 1, 1]]
  nothing = [0, 0, 0]
  assert chances(Deployed.DEMOS).tolist() == [*shown, nothing, nothing]
  assert chances(Deployed.UNIFORM).tolist() == [*shown, [1, 1, 1], nothing]
  weighed = chances(Deployed.WEIGHTED)
  assert weighed.sum() == pytest.approx(1)
  # 5 of 8 steps are demonstrated, more than is left; the robot has nothing.
  assert weighed[2].tolist() == pytest.approx([0, 0.002, 0.5])
  assert weighed[1].tolist() == pytest.approx([0.498 / 5] * 3)


def test_a_policy_learns_what_counts():
  env = envs.make(ENV)
  c = tiny(updates=60, head={'spread': 0.0})
  state = jax.random.normal(jax.random.key(0), (2, 32, 2))
  action = jnp.asarray([0.5, -0.5])[:, None, None] * jnp.ones((2, 32, 2))
  own = state_policy.model(c, env)
  scale = state_policy.scale(state, np.ones((2, 32), bool))

  @jax.jit
  def done(counts):
    chance = jnp.broadcast_to(counts[:, None], (2, 32))
    steps = {'state': state, 'action': action, 'chance': chance}
    key = jax.random.key(1)
    params = state_policy.learned(c, own, scale, steps, 0.03, key)
    act = state_policy.acting(own, env, scale)
    return act(params, {'state': state[0]}, jax.random.split(key, 32))[1]

  for counts, wanted in (((1.0, 0.0), 0.5), ((1e-3, 1.0), -0.5)):
    assert done(jnp.asarray(counts)).mean() == pytest.approx(wanted, abs=0.05)


def test_ways_have_rates_of_their_own():
  rates = jnp.asarray((0.1, 0.2, 0.3))
  own = {name: way.rate(rates) for name, way in deploying.WAYS.items()}
  assert own.pop(Deployed.DEMOS) == rates[0]
  assert own.pop(Deployed.UNIFORM) == rates[1]
  assert len(own) == 6 and set(map(float, own.values())) == {float(rates[2])}


@pytest.mark.parametrize(
  'change, words',
  [
    ({'envs': ('Pendulum-v1',)}, r"deploy.envs: found \['Pendulum-v1'\]"),
    ({'learning_rate': (1.0,) * 4}, 'deploy.learning_rate: found'),
    ({'intervention': 0.9, 'mistaken': 0.2}, 'deploy.mistaken: found 0.2'),
    (
      {'width': 9, 'trunk': {'num_heads': 2}},
      'deploy.trunk.num_heads: found 2',
    ),
    ({'head': {'kind': 'bins'}}, "deploy.head.kind: found 'bins'"),
  ],
)
def test_what_cannot_be_is_refused(change, words):
  config = settings.section(settings.Deploy, envs=(ENV,))
  config.update(TINY)
  if 'head' in change:
    config.head = settings.plugin('models/heads', 'bins')
  else:
    config.update(change)
  with pytest.raises(ValueError, match=words):
    c = settings.read(settings.Deploy, config, 'deploy')
    deploying.check(c, 'deploy')
