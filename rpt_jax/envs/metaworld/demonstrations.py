"""What Meta-World's experts do, recorded: noisy, or failing on purpose."""

from typing import NamedTuple

import numpy as np

from rpt_jax.envs.metaworld import (
  ACTION_DIM,
  PROPRIO_DIM,
  Behaviour,
  Lanes,
  instruction,
)
from rpt_jax.types import Episode

_MISSES = 3  # aims tried before an expert rests half-way instead
_NEAR, _FAR = 0.06, 0.15  # metres


class _Plan(NamedTuple):
  noise: float
  seen_as: np.ndarray  # [3] where the expert sees things, less where they are
  rest: int  # the decision from which it does not move any more


def episode(
  lanes: Lanes, task: str, seed: int, behaviour: Behaviour, lane: int = 0
) -> tuple[Episode, dict]:
  """One demonstration, a function of (task, seed, behaviour) alone.

  A failure aims 6-15 cm beside object and goal; where three such aims succeed
  all the same, the expert rests half-way to success. Metadata: `success`
  (measured), `failure` (meant), `noise`, `seed`, `task`, `instruction`.
  """
  noise = behaviour.noise[seed % len(behaviour.noise)]
  rng = np.random.default_rng([seed, 0])
  failure = bool(rng.uniform() < behaviour.failure)
  plan = _Plan(noise, np.zeros(3), lanes.settings.horizon)
  if failure:
    plan = _failing(lanes, lane, seed, plan, rng)
  steps = list(_act(lanes, lane, seed, plan, behaviour.linger, draw=True))
  success_T = np.array([s for _, _, s in steps])
  metadata = {
    'success': int(success_T.any()),
    'failure': int(failure),
    'noise': float(noise),
    'seed': int(seed),
    'task': task,
    'instruction': instruction(task),
  }
  return _pack(steps, success_T), metadata


def _failing(lanes, lane, seed, plan, rng):
  """The first plan that fails, found without drawing a frame."""
  for _ in range(_MISSES):
    angle = rng.uniform(0, 2 * np.pi)
    aside = rng.uniform(_NEAR, _FAR) * np.array(
      [np.cos(angle), np.sin(angle), 0.0]
    )
    missing = plan._replace(seen_as=aside)
    steps = list(_act(lanes, lane, seed, missing, 0, draw=False))
    if not steps[-1][2]:
      return missing
  return missing._replace(rest=len(steps) // 2)


def _act(lanes, lane, seed, plan, linger, draw):
  """Yields (observation or None, action, success) of every decision."""
  rng = np.random.default_rng([seed, 1])
  lanes.reset(lane, seed)
  left = None  # decisions, once success is met
  for decision in range(lanes.settings.horizon):
    action_A = lanes.expert(lane, plan.seen_as)
    action_A[:3] += plan.noise * rng.standard_normal(3).astype(np.float32)
    action_A = np.clip(action_A, -1, 1)
    if decision >= plan.rest:
      action_A[:3] = 0
    observation = empty(lanes.settings) if draw else None
    if draw:
      lanes.observe(lane, observation)
    success = lanes.step(lane, action_A)
    yield observation, action_A, success
    if success and left is None:
      left = linger
    elif left is not None:
      left -= 1
    if left == 0:
      return


def empty(settings, *leading: int) -> dict[str, np.ndarray]:
  """Zeros of the shapes of one observation, or of many."""
  frames = (*leading, settings.size, settings.size, 3)
  return {
    **{name: np.zeros(frames, np.uint8) for name in settings.cameras},
    'proprio': np.zeros((*leading, PROPRIO_DIM), np.float32),
  }


def _pack(steps, success_T):
  num = len(steps)
  last = np.arange(num) == num - 1
  terminal = last & success_T.any()
  return Episode(
    observation={
      name: np.stack([o[name] for o, _, _ in steps]) for name in steps[0][0]
    },
    action=np.stack([a for _, a, _ in steps]).reshape(num, ACTION_DIM),
    reward=success_T.astype(np.float32),
    discount=1 - terminal.astype(np.float32),
    is_first=np.arange(num) == 0,
    is_last=last,
    is_terminal=terminal,
  )
