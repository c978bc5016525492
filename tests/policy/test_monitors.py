"""Monitors: scores as the papers have them, thresholds that keep their rate."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
import robots
from sklearn.metrics.pairwise import rbf_kernel

from rpt_jax.models import sequence
from rpt_jax.models.heads import flow
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import next_streams
from rpt_jax.policy import Execution, Policy, monitors, program
from rpt_jax.policy.monitors import spread, stac, surprise
from rpt_jax.policy.watching import Foresight

STEPS, BATCH = 6, 2


@functools.cache
def policy(execute=1):
  """One that draws chunks of three actions."""
  parts = robots.parts(('proprio',), 'causal')
  model = parts['model']
  (spec,) = model.heads
  head = flow.Settings(8, 1, euler=2)
  model = model.clone(heads=(dataclasses.replace(spec, settings=head),))
  parts |= {'model': model, 'params': robots.initial(model)}
  return Policy(**parts, execution=Execution(execute))


@functools.cache
def foreseeing():
  """(model, its arrays) that foresees proprioception and actions."""
  streams = robots.SPECS['proprio'], robots.SPECS['action']
  specs = next_streams.heads(next_streams.Settings(), streams, streams)
  model = sequence.SequenceModel(
    streams, specs, transformer.Settings(1, 2), 16, 3, 'interleaved'
  )
  scales = {s.name: robots.scales(1)[s.name] for s in streams}
  rng = np.random.default_rng(3)
  variance = {s.name: rng.uniform(0.5, 2, s.dim) for s in streams}
  params = sequence.init(model, jax.random.key(4))
  return model, Foresight(params, scales, variance)


def act(own, told=None, **watched):
  """(actions, {monitor: sums}), each [T, B, ...], of an episode."""
  own.monitor(**{'monitors': {}} | watched)
  own.reset(BATCH)
  actions, sums = [], []
  for t, now in enumerate(robots.episode(STEPS, BATCH, ('proprio',))[0]):
    actions.append(own.act(now))
    sums.append(own.scores)
    if told is not None:
      own.executed(told[t])
  own.monitor({})
  return np.stack(actions), jax.tree.map(lambda *x: np.stack(x), *sums)


def test_a_threshold_is_the_conformal_quantile():
  scores = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))
  assert monitors.calibrate(scores, 0.05) == 19  # The 19th of 19.
  assert monitors.calibrate(np.arange(99.0), 0.05) == 94  # The 95th of 99.
  assert monitors.calibrate(np.arange(100.0), 0.1) == 90  # ceil(90.9).
  assert [monitors.least(d) for d in (0.05, 0.1, 0.3)] == [19, 9, 3]


def test_too_few_successes_are_refused_with_how_many_it_takes():
  with pytest.raises(ValueError, match=r'found 10 .* at least 19'):
    monitors.calibrate(np.zeros(10), 0.05)
  with pytest.raises(ValueError, match='finite'):
    monitors.calibrate(np.full(20, np.nan), 0.05)
  with pytest.raises(ValueError, match='between 0 and 1'):
    monitors.calibrate(np.zeros(10), 0.0)


def test_false_alarms_stay_at_their_rate():
  rng, delta, alarms = np.random.default_rng(1), 0.1, []
  for _ in range(2000):
    most = monitors.calibrate(rng.exponential(size=25), delta)
    alarms.append((rng.exponential(size=25) > most).mean())
  assert delta - 0.04 < np.mean(alarms) <= delta


def walks(rng, count, drift=1.0):
  """(sums [N, T], steps [N]) that grow, of episodes that end early."""
  sums = rng.exponential(drift, size=(count, 24)).cumsum(1)
  steps = rng.integers(8, 18, count)
  ended = np.arange(24) >= steps[:, None]
  return np.where(
    ended, sums[np.arange(count), steps - 1][:, None], sums
  ), steps


def test_thresholds_by_step_keep_the_rate_of_whole_episodes():
  rng, delta, alarms = np.random.default_rng(6), 0.1, []
  for _ in range(300):
    limit = monitors.paced(*walks(rng, 60), delta)
    sums, steps = walks(rng, 60)
    going = np.arange(24) < steps[:, None]
    alarms.append(((sums > limit) & going).any(1).mean())
    assert (limit[18:] == np.inf).all() and np.isfinite(limit[:8]).all()
  assert delta - 0.03 < np.mean(alarms) <= delta + 0.005


def test_a_threshold_by_step_is_no_clock():
  """What goes on longer at the same rate alarms by one threshold alone."""
  rng = np.random.default_rng(7)
  sums, steps = walks(rng, 400)
  slow = rng.exponential(size=(100, 24)).cumsum(1)
  fast = rng.exponential(2.5, size=(100, 24)).cumsum(1)
  one, limit = (
    monitors.calibrate(sums[:, -1], 0.05),
    monitors.paced(sums, steps, 0.05),
  )
  assert (slow > one).any(1).mean() > 0.6 > 0.2 > (slow > limit).any(1).mean()
  assert (fast > limit).any(1).mean() > 0.9
  with pytest.raises(ValueError, match='found 37 .* at least 38'):
    monitors.paced(sums[:37], steps[:37], 0.05)


def test_the_discrepancy_is_that_of_kernels():
  x, y = np.random.default_rng(2).normal(size=(2, 12, 3)) + [[[0]], [[1]]]
  both = np.concatenate([x, y])
  squares = ((both[:, None] - both[None]) ** 2).sum(-1)
  gamma = 1 / (2 * np.median(squares[np.triu_indices(24, 1)]))
  expected = rbf_kernel(x, x, gamma).mean() + rbf_kernel(y, y, gamma).mean()
  expected -= 2 * rbf_kernel(x, y, gamma).mean()
  np.testing.assert_allclose(stac.discrepancy(x, y), expected, rtol=1e-4)
  assert stac.discrepancy(x, x) < 1e-6


def test_chunks_are_compared_where_they_overlap(monkeypatch):
  """Draws are given; what STAC adds up is the distance of their parts."""
  chunks = np.random.default_rng(5).normal(size=(STEPS, BATCH, 4, 3, robots.A))

  def drawn(program, weights, memory, keys, num):
    return jax.numpy.asarray(chunks)[memory.count].astype(np.float32)

  monkeypatch.setattr(program, 'drawn', drawn)
  own = stac.Settings(4)
  _, sums = act(policy(2), monitors={'stac': own, 'spread': spread.Settings(4)})
  expected, total = [np.zeros(BATCH)], np.zeros(BATCH)
  for t in range(1, STEPS):
    if t % 2 == 0:
      before, now = chunks[t - 2, :, :, 2:], chunks[t, :, :, :-2]
      total = total + [
        stac.discrepancy(a.reshape(4, -1), b.reshape(4, -1))
        for a, b in zip(before, now, strict=True)
      ]
    expected.append(total)
  np.testing.assert_allclose(sums['stac'], expected, rtol=1e-4)
  variance = chunks.var(2).mean((2, 3))[::2].cumsum(0).repeat(2, 0)
  np.testing.assert_allclose(sums['spread'], variance, rtol=1e-4)


def test_surprise_is_the_likelihood_of_what_was_seen_and_done():
  model, foresight = foreseeing()
  seen, told = robots.episode(STEPS, BATCH, ('proprio',))
  watched = {'monitors': {'surprise': surprise.Settings()}}
  _, sums = act(policy(), told, **watched, model=model, foresight=foresight)

  def scaled(x, name):
    mean, deviation = foresight.scales[name]
    return ((x - mean) / deviation).astype(np.float32)

  proprio = scaled(np.stack([x['proprio'] for x in seen], 1), 'proprio')
  action = scaled(np.moveaxis(told, 0, 1), 'action')
  reads = jax.jit(
    lambda window, valid: sequence.bind(model, foresight.params)(window, valid)
  )
  apply = sequence.bind(model, foresight.params)
  expected = [np.zeros(BATCH)]
  for t in range(1, STEPS):  # Of the three steps before, as far as they are.
    steps = np.arange(t - 3, t)
    there = np.broadcast_to(steps >= 0, (BATCH, 3))
    window = {'proprio': proprio, 'action': action}
    window = {k: x[:, steps.clip(0)] for k, x in window.items()}
    read = reads(window, there)['reads']
    total = 0
    happened = {'proprio': proprio[:, t], 'action': action[:, t - 1]}
    for name, target in happened.items():
      said = np.asarray(apply.head(name)(read[name]))[:, -1, 0]
      total += (0.5 * (said - target) ** 2 / foresight.variance[name]).sum(-1)
    expected.append(expected[-1] + total)
  np.testing.assert_allclose(sums['surprise'], expected, rtol=2e-3)


def test_who_is_watched_acts_the_same():
  model, foresight = foreseeing()
  plain, nothing = act(policy())
  assert nothing == {}
  every = {'stac': stac.Settings(4), 'surprise': surprise.Settings()}
  watched, _ = act(policy(), monitors=every, model=model, foresight=foresight)
  np.testing.assert_allclose(watched, plain, atol=1e-5)
  np.testing.assert_array_equal(act(policy())[0], plain)


def test_an_alarm_is_a_sum_above_its_threshold():
  own = policy()
  _, sums = act(own, monitors={'spread': spread.Settings(4)})
  most = float(sums['spread'][STEPS // 2, 0])
  own.monitor({'spread': spread.Settings(4)}, thresholds={'spread': most})
  own.reset(BATCH)
  raised = []
  for now in robots.episode(STEPS, BATCH, ('proprio',))[0]:
    own.act(now)
    raised.append(own.alarms['spread'][0])
  own.monitor({})
  assert raised == [t > STEPS // 2 for t in range(STEPS)]


def test_what_cannot_watch_is_refused():
  with pytest.raises(ValueError, match='must overlap'):
    policy(3).monitor({'stac': stac.Settings()})
  discrete = Policy(**robots.parts(('proprio',), num_actions=3))
  with pytest.raises(ValueError, match='discrete'):
    discrete.monitor({'stac': stac.Settings()})
  with pytest.raises(ValueError, match='no model that foresees'):
    policy().monitor({'surprise': surprise.Settings()})
  model, _ = foreseeing()
  with pytest.raises(ValueError, match="'unit'.*not foreseen"):
    own = {'surprise': surprise.Settings(('unit',))}
    policy().monitor(own, model=model)
  with pytest.raises(ValueError, match='thresholds of'):
    policy().monitor({}, thresholds={'stac': 1.0})
