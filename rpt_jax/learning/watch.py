"""Monitors of a policy, calibrated on its successes and judged on the rest.

Episodes of the world as it was are played in an order: those that say how far
the foreseeing model errs, those a threshold is of, those that false alarms are
counted in. No episode serves twice. Then the same starts in other worlds, whose
failures are to be detected.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from rpt_jax import results, settings
from rpt_jax.domains import Domain
from rpt_jax.domains.playing import Seen
from rpt_jax.evals import intervals
from rpt_jax.learning import latency, streams
from rpt_jax.learning import runs as runs_lib
from rpt_jax.learning.policies import Policies
from rpt_jax.policy import Policy, monitors
from rpt_jax.policy.monitors import surprise
from rpt_jax.policy.watching import Foresight, Watching
from rpt_jax.results import COST, Costs

ANY = 'any'  # An alarm of any monitor, each with its part of delta.
_BLOCKS = 16  # Of episodes at most, until there are enough successes.
_SPLITS = 500


def worlds(domain: Domain) -> tuple[str, ...]:
  """What policies can be watched in beside the world as it was; () nothing."""
  return getattr(domain, 'worlds', ())


def delay(world: str) -> int:
  """Steps that actions come late in a world, 'late:<steps>'; 0: in time."""
  late, _, steps = world.partition(':')
  return int(steps) if late == 'late' and steps.isdigit() else 0


class Eyes(NamedTuple):
  """What watches a policy, and what foresees for it."""

  watching: Watching
  foresight: Foresight | None


def eyes(
  watch: settings.Watch, policies: Policies, domain: Domain, run: str
) -> Eyes:
  """Monitors with the pretrained model of `watch.run`, or of `run`.

  Its errors are taken to be 1 wide until `fitted`.
  """
  named = tuple(watch.monitors.items())
  if not any(isinstance(m, surprise.Settings) for _, m in named):
    return Eyes(Watching(named), None)
  name = watch.run or run
  action = domain.action(policies.inputs['collect'])
  discrete = [action] if action.kind == 'discrete' else []
  specs = streams.specs(policies.pretrained_scales, discrete, policies.texts)
  model = policies.runs.all()[name].model(specs)
  params = runs_lib.params(policies.inputs, name)
  scales = policies.scales(domain)
  ones = {
    h.name: np.ones(h.target.dim, np.float32)
    for h in model.heads
    if h.target.kind == 'continuous'
  }
  own = {s.name: scales[s.name] for s in model.streams if s.name in scales}
  return Eyes(Watching(named, model), Foresight(params, own, ones))


class Play:
  """Episodes of one policy in the worlds of its domain."""

  def __init__(self, domain: Domain, policy: Policy, count: int):
    self.domain, self.policy, self.count = domain, policy, count
    self._first = 0

  def more(self, own: Eyes) -> Seen:
    """Further episodes of the world as it was."""
    seen = self.at(own, self._first)
    self._first += self.count
    return seen

  def at(self, own: Eyes, first: int, world: str = '') -> Seen:
    """The episodes from `first` on, in a world."""
    program = self.policy.program
    if late := delay(world):
      played = dataclasses.replace(program.execution, delay=late)
      program, world = dataclasses.replace(program, execution=played), ''
    about = program, self.policy.weights, own, self.count
    return self.domain.watch(*about, first, world)

  def successes(self, own: Eyes, count: int) -> Seen:
    """At least `count` successes; fewer of a policy that has too few."""
    kept = []
    for _ in range(_BLOCKS):
      seen = self.more(own)
      kept.append(seen.only(seen.success_N))
      if sum(len(x.steps_N) for x in kept) >= count:
        break
    return _joined(kept)


def rows(
  watch: settings.Watch, domain: Domain, policy: Policy, own: Eyes
) -> list[results.Row]:
  """What monitors of a policy detect, how often they are wrong, their cost.

  Says so, and gives none, where the policy has too few successes.
  """
  play = Play(domain, policy, watch.episodes)
  if own.foresight:
    seen = play.successes(own, 2)
    if _too_few(domain, len(seen.steps_N), 2):
      return []
    variance = surprise.spread(seen.squares, seen.steps_N)
    own = own._replace(foresight=own.foresight._replace(variance=variance))
  calibration = play.successes(own, watch.calibration)
  if _too_few(domain, len(calibration.steps_N), watch.calibration):
    return []
  least = np.arange(len(calibration.steps_N)) < watch.calibration
  limits = thresholds(calibration.only(least), watch.delta)
  first = play._first
  seen = play.more(own)
  measured = _judged(domain.name, seen, limits, results.Watching.WORLD)
  both = _joined([calibration, seen.only(seen.success_N)])
  measured += _over_splits(domain.name, both, watch)
  for world in watch.worlds:
    seen = play.at(own, first, world)
    measured += _judged(domain.name, seen, limits, world)
  return measured + _costs(domain, policy, own)


def _too_few(domain, successes, count):
  """Says so where a policy succeeds too rarely for a threshold."""
  if successes < count:
    print(
      f'  {domain.name}: not watched, as {successes} episodes succeeded, '
      f'expected {count} of {_BLOCKS} times config.evaluate.watch.episodes',
      flush=True,
    )
  return successes < count


def thresholds(successes: Seen, delta: float) -> dict[str, dict]:
  """{what raises an alarm: {monitor: its threshold, or one a step}}.

  ANY is of all. Thresholds by step take half of the successes to say how sums
  go, so that there are none of few.
  """
  ends = {name: x_NT[:, -1] for name, x_NT in successes.sums.items()}
  limits = {
    name: {name: monitors.calibrate(score_N, delta)}
    for name, score_N in ends.items()
  }
  if len(successes.steps_N) >= monitors.least_paced(delta):
    for name, x_NT in successes.sums.items():
      limit_T = monitors.paced(x_NT, successes.steps_N, delta)
      limits[results.Watching.by_step(name)] = {name: limit_T}
  if len(ends) > 1:
    part = delta / len(ends)
    limits[ANY] = {
      name: monitors.calibrate(score_N, part) for name, score_N in ends.items()
    }
  return limits


def alarms(seen: Seen, limits: Mapping[str, float]) -> np.ndarray:
  """bool [N, T]: whether any of these monitors raises one at a step."""
  over = [seen.sums[name] > most for name, most in limits.items()]
  going_NT = np.arange(over[0].shape[1]) < seen.steps_N[:, None]
  return np.any(over, axis=0) & going_NT


def _judged(env, seen, limits, world):
  """Rows of one world."""
  good_N, count, Watched = seen.success_N, len(seen.steps_N), results.Watching
  tags = {'env': env, 'world': world}
  rate = intervals.wilson(int(good_N.sum()), count)
  measured = [_row(Watched.SUCCESS, rate, episodes=count, **tags)]
  for name, own in limits.items():
    alarm_NT = alarms(seen, own)
    raised_N = alarm_NT.any(1)
    for row, among_N in ((Watched.DETECTED, ~good_N), (Watched.FALSE, good_N)):
      if among_N.any():
        rate = intervals.wilson(
          int(raised_N[among_N].sum()), int(among_N.sum())
        )
        about = tags | {'monitor': name, 'episodes': int(among_N.sum())}
        measured.append(_row(row, rate, **about))
    caught_N = raised_N & ~good_N
    if caught_N.any():
      share_N = (alarm_NT.argmax(1) + 1) / seen.steps_N
      value = float(share_N[caught_N].mean()), None, None
      about = tags | {'monitor': name, 'episodes': int(caught_N.sum())}
      measured.append(_row(Watched.WHEN, value, **about))
  return measured


def _over_splits(env, successes, watch):
  """False alarms in the world as it was, a mean over drawn calibrations."""
  rng, count = np.random.default_rng(0), len(successes.steps_N)
  rates = {}
  for _ in range(_SPLITS):
    order_N = rng.permutation(count)
    parts = order_N[: watch.calibration], order_N[watch.calibration :]
    limits = thresholds(successes.only(parts[0]), watch.delta)
    others = successes.only(parts[1])
    for name, own in limits.items():
      rates.setdefault(name, []).append(alarms(others, own).any(1).mean())
  tags = {'env': env, 'world': results.Watching.WORLD, 'episodes': count}
  return [
    _row(
      results.Watching.FALSE_MEAN, (np.mean(x), None, None), monitor=n, **tags
    )
    for n, x in rates.items()
  ]


def _costs(domain, policy, own):
  """Milliseconds of an `act` without monitors, and with each and all."""
  named = dict(own.watching.monitors)
  chosen = {'none': {}} | {n: {n: m} for n, m in named.items()} | {ANY: named}
  tags = {'kind': COST, 'env': domain.name}
  measured = []
  for name, which in chosen.items():
    value = act_ms(policy, which, own)
    stage = results.Watching.STAGE
    measured.append(results.row(stage, Costs.ACT, value, monitor=name, **tags))
  policy.monitor({})
  return measured


def act_ms(policy: Policy, which: Mapping, own: Eyes) -> float:
  """`latency.act_ms` of a policy that these monitors watch."""
  policy.monitor(which, model=own.watching.model, foresight=own.foresight)
  return latency.act_ms(policy)


def _joined(parts):
  return jax.tree.map(lambda *x: np.concatenate(x), *parts)


def _row(name, rate, **tags):
  value, low, high = rate
  bounds = None if low is None else (low, high)
  return results.row(results.Watching.STAGE, name, value, bounds, **tags)
