"""Policies that are deployed, helped, and learn from it: what are steps worth?

A policy learns from few demonstrations. Then rounds begin in which it is
deployed with an expert who takes over where progress stalls
(`envs/oversight.py`), and learns anew from demonstrations and all that was
deployed so far: each step alike, or weighed by its class
(`learning/interventions.py`), of all episodes or of those that a memory keeps.
Every training has as many updates, also where no deployed episode is used.

All of it is one compiled function, rollouts included; ways to learn and seeds
are its lanes. A seed has its own demonstrations, first parameters and episodes,
which all ways share, so that differences are paired.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import envs, results, settings
from rpt_jax.envs import behaviours, oversight, rollout
from rpt_jax.envs.gymnax import catalogue
from rpt_jax.evals import intervals
from rpt_jax.learning import interventions as classed
from rpt_jax.learning import kept_curves, state_policy
from rpt_jax.models import heads, trunks
from rpt_jax.results import Deployed
from rpt_jax.types import Array

_FIELDS = ('state', 'action', 'reward', 'valid')


class Way(NamedTuple):
  """How a lane learns from what was deployed; numbers, so that it is traced."""

  uses: bool  # What was deployed at all.
  weighed: bool  # By class.
  small: bool  # Of a memory, by `strategy`.
  strategy: int = 0

  def rate(self, rates: Array) -> Array:
    """Its own of three: of demonstrations, all steps alike, and weighed."""
    return rates[jnp.int32(self.uses) + jnp.int32(self.weighed)]


WAYS = {
  Deployed.DEMOS: Way(False, False, False),
  Deployed.UNIFORM: Way(True, False, False),
  Deployed.WEIGHTED: Way(True, True, False),
} | {
  name: Way(True, True, True, i) for i, name in enumerate(classed.STRATEGIES)
}


class Curves(NamedTuple):
  """What came of every lane: [ways, seeds, rounds + 1], the first undeployed.

  `success` is the share of episodes in which a round's policy reaches the goal
  alone, `size` how many steps it learned from. As it is deployed next, `helped`
  is the share of steps that the expert does, `finished` that of episodes that
  reach the goal with help.
  """

  success: np.ndarray
  size: np.ndarray
  helped: np.ndarray
  finished: np.ndarray


def check(c: settings.Deploy, where: str) -> None:
  """Raises ValueError for environments, a head or a trunk that cannot be."""
  if unknown := sorted(set(c.envs) - set(catalogue.WITH_GOAL)):
    settings.refuse(
      f'{where}.envs', unknown, f'some of {list(catalogue.WITH_GOAL)}'
    )
  try:
    trunks.kind(c.trunk).check(c.trunk, c.width)
  except ValueError as error:
    raise ValueError(f'{where}.trunk.{error}') from error
  for name in c.envs:
    (head,) = state_policy.model(c, envs.make(name)).heads
    try:
      heads.make(head)
    except ValueError as error:
      raise ValueError(f'{where}.head.kind: {error}') from error
    if heads.fits(head):
      expected = (
        'one that is not fitted to demonstrations, which lanes differ in'
      )
      settings.refuse(f'{where}.head.kind', settings.kind(c.head), expected)


def rows(c: settings.Deploy, seed: int, directory: Path) -> list[results.Row]:
  """Curves of all ways in all environments, kept as they are made."""
  every = kept_curves.by_env(
    c.envs,
    seed,
    lambda name: directory / f'deployed-{name}.npz',
    functools.partial(learn, c),
    Curves,
  )
  return [row for name, curves in every for row in _of(name, curves)]


def _of(env, curves):
  """Rows of one environment."""
  measured, last = [], dict(zip(WAYS, curves.success[..., -1], strict=True))
  for i, way in enumerate(WAYS):
    for name, x_SR in (
      (Deployed.SUCCESS, curves.success[i]),
      (Deployed.HELPED, curves.helped[i]),
      (Deployed.FINISHED, curves.finished[i]),
      (Deployed.SIZE, curves.size[i]),
    ):
      measured += [
        _row(name, x_S, env=env, method=way, round=j)
        for j, x_S in enumerate(x_SR.T)
      ]
    change = ', '.join(f'{x:.2f}' for x in curves.success[i].mean(0))
    print(f'  {env} {way}: success by round {change}', flush=True)
  for way, other in Deployed.PAIRS:
    about = {'env': env, 'method': way, 'other_method': other}
    measured.append(_row(Deployed.GAIN, last[way] - last[other], **about))
  return measured


def _row(name, x_S, **tags):
  """A mean over seeds with its t-interval."""
  value, *interval = intervals.t_interval(x_S)
  return results.row(Deployed.STAGE, name, value, interval, len(x_S), **tags)


def learn(c: settings.Deploy, env, key) -> Curves:
  """All ways and seeds in one call; see `Curves`."""
  show_key, own_key = jax.random.split(key)
  keys_S = jax.random.split(own_key, c.seeds)
  show_keys_S = jax.random.split(show_key, c.seeds)
  shown = [_shown(env, k, c.demos) for k in show_keys_S]
  shown_S = jax.tree.map(lambda *x: jnp.stack(x), *shown)
  scale_S = jax.tree.map(
    lambda *x: jnp.stack(x),
    *(state_policy.scale(x['state'], x['valid']) for x in shown),
  )
  ways_W = jax.tree.map(lambda *x: jnp.asarray(x), *WAYS.values())
  run = functools.partial(_one, c, env)
  every = jax.vmap(jax.vmap(run, (None, 0, 0, 0)), (0, None, None, None))
  curves = jax.jit(every)(ways_W, keys_S, shown_S, scale_S)
  return Curves(*map(np.asarray, curves))


def _one(c, env, way, key, shown, scale):
  """One lane: rounds of learning, being judged, and being deployed."""
  model = state_policy.model(c, env)
  act = state_policy.acting(model, env, scale)
  learn_key, deploy_key, judge_key, keep_key = jax.random.split(key, 4)
  rate = way.rate(jnp.asarray(c.learning_rate))
  total = c.rounds * c.episodes
  size = jnp.where(way.small, max(round(c.memory * total), 1), total)
  # Of the last deployment nobody learns; it is looked at.
  age_E = -(jnp.arange(total + c.episodes) // c.episodes)
  room = jax.tree.map(
    lambda x: jnp.zeros((len(age_E), *x.shape[1:]), x.dtype), shown
  )

  def one_round(carry, i):
    own, member_E = carry
    at = functools.partial(jax.random.fold_in, data=i)
    steps = jax.tree.map(lambda *x: jnp.concatenate(x), shown, own)
    usable_E = jnp.concatenate([jnp.ones(c.demos, bool), member_E & way.uses])
    steps |= {'chance': _chances(c, way, steps, usable_E)}
    params = state_policy.learned(c, model, scale, steps, rate, at(learn_key))
    success = _judged(c, env, act, params, judge_key)
    new = _deployed(c, env, act, params, at(deploy_key))
    own = jax.tree.map(
      lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, i * c.episodes, 0),
      own,
      new,
    )
    member_E = classed.kept(
      way.strategy,
      size,
      member_E | (age_E == -i),
      _intervened(own).sum(1),
      age_E,
      at(keep_key),
    )
    helped = _intervened(new).sum() / new['valid'].sum()
    finished = _succeeded(new).mean()
    count = (steps['chance'] > 0).sum()
    return (own, member_E), Curves(success, count, helped, finished)

  begin = room, jnp.zeros(len(age_E), bool)
  return jax.lax.scan(one_round, begin, jnp.arange(c.rounds + 1))[1]


def _shown(env, key, count):
  """Demonstrations, as steps of deployed episodes are."""
  steps = rollout.rollout(
    env, behaviours.expert(env), (), key, count, record=_FIELDS
  )
  everywhere = jnp.full(steps['valid'].shape, classed.DEMO, jnp.int32)
  return _scaled(env, steps) | {'class': everywhere}


def _deployed(c, env, act, params, key):
  """Episodes of the policy with the expert beside it."""
  rule = oversight.Rule(c.patience, c.progress, c.hold)
  steps = rollout.rollout.__wrapped__(
    env,
    oversight.overseen(env, rule, act),
    oversight.start(rule, params, c.episodes),
    key,
    c.episodes,
    record=_FIELDS,
    carried=lambda own: own.took_N,
  )
  expert_NT = steps.pop('carried')
  of = classed.classes(expert_NT & steps['valid'], c.before)
  return _scaled(env, steps) | {'class': of}


def _scaled(env, steps):
  """Steps with actions within -1 and 1."""
  return steps | {'action': steps['action'] / env.action_limit}


def _judged(c, env, act, params, key):
  """Share of episodes, the same of all, that reach the goal unhelped."""
  alone = rollout.rollout.__wrapped__(
    env, act, params, key, c.judged, record=('reward',)
  )
  return _succeeded(alone).mean()


def _succeeded(steps):
  """Whether episodes came to the goal, bool [N]."""
  return (steps['reward'] > 0).any(1)


def _intervened(steps):
  """Where the expert acted, bool [E, T]."""
  return steps['valid'] & (steps['class'] == classed.INTERVENTION)


def _chances(c, way, steps, usable_E):
  """How likely every step is drawn, [E, T]; they need not sum to 1."""
  usable_ET = steps['valid'] & usable_E[:, None]
  of_ETC = jax.nn.one_hot(steps['class'], len(classed.CLASSES))
  count_C = (usable_ET[..., None] * of_ETC).sum((0, 1))
  weight_C = classed.weights(count_C, c.intervention, c.mistaken)
  weight_C = jnp.where(way.weighed, weight_C, 1.0)
  return usable_ET * weight_C[steps['class']]
