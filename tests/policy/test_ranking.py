"""A critic that chooses among draws: what it chooses, and what it leaves."""

import dataclasses
import math

import jax
import numpy as np
import pytest
import robots

from rpt_jax.models.critic import Critic
from rpt_jax.models.heads import mixture
from rpt_jax.policy import Policy, program
from rpt_jax.policy.ranking import Ranking, Values

CRITIC = Critic(8, 1)


def acted(steps=4, temperature=0.0, **how):
  """Actions [T, 2, A] of a policy with that ranking; of none without."""
  parts = robots.parts(('proprio',), 'causal')
  (spec,) = parts['model'].heads
  spec = dataclasses.replace(spec, settings=mixture.Settings(2))
  model = parts['model'].clone(heads=(spec,))
  parts |= {'model': model, 'params': robots.initial(model)}
  critic = None
  if how:
    width = how.get('actions', 1) * robots.A
    state, action = np.zeros((1, robots.P)), np.zeros((1, 1, width))
    params = CRITIC.init(jax.random.key(1), state, action)['params']
    limit = np.full(robots.A, 3.0, np.float32)
    values = Values(params, limit, temperature)
    critic = Ranking(CRITIC, ('proprio',), **how), values
  own = Policy(**parts, critic=critic)
  own.reset(2)
  seen = robots.episode(steps, 2, ('proprio',))[0]
  return own, seen, np.stack([own.act(now) for now in seen])


def test_one_sample_is_the_policy_without_a_critic_bit_for_bit():
  np.testing.assert_array_equal(acted(samples=1)[2], acted()[2])


def test_the_best_of_what_is_drawn_is_done():
  own, seen, actions = acted(samples=5)
  memory, keys = program.start(own.program, 2), program.episode_keys(0, 2)
  memory = program.remember(
    own.program, own.weights, memory,
    program.see(own.program, own.weights, seen[0]),
  )  # fmt: skip
  drawn = program.drawn(
    own.program, own.weights, memory, program.step_keys(keys, memory), 5
  )
  mean_A, deviation_A = map(np.asarray, own.scales['action'])
  action_BKA = np.asarray(drawn)[:, :, 0] * deviation_A + mean_A
  inside = np.clip(action_BKA / 3.0, -1, 1)
  params = {'params': own.weights.values.params}
  best_B = CRITIC.apply(params, seen[0]['proprio'], inside).min(0).argmax(-1)
  expected = action_BKA[np.arange(2), np.asarray(best_B)]
  np.testing.assert_allclose(actions[0], expected, rtol=1e-4, atol=1e-5)
  assert len({*map(float, action_BKA[0, :, 0])}) == 5


@pytest.mark.slow
def test_an_infinite_temperature_chooses_at_random_and_others_between():
  best, random = acted(samples=5)[2], acted(samples=5, temperature=math.inf)[2]
  cold = acted(samples=5, temperature=1e-6)[2]
  np.testing.assert_array_equal(cold, best)
  assert (random != best).any()


def test_what_cannot_be_ranked_is_refused():
  with pytest.raises(ValueError, match='samples=0'):
    acted(samples=0)
  with pytest.raises(ValueError, match='values 9 actions'):
    acted(samples=2, actions=9)
  with pytest.raises(ValueError, match='temperature=-1'):
    acted(samples=2, temperature=-1)
