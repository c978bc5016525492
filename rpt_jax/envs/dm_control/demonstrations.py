"""What experts of the Control Suite do, recorded, or only what it earns."""

from collections.abc import Sequence

import numpy as np

from rpt_jax.envs.dm_control import Lanes, Start
from rpt_jax.types import Episode


def episode(lanes: Lanes, start: Start, noise: float) -> tuple[Episode, dict]:
  """One demonstration, a function of its arguments alone.

  `noise` is the deviation of what is added to every action before it is cut to
  [-1, 1]; the action done is what is recorded. Metadata: `return`, `noise`,
  `seed`, `unseen` (before a background that is held out).
  """
  rng = np.random.default_rng([start.seed, 1])
  lanes.reset(0, start)
  observations, actions, rewards = [], [], []
  for _ in range(lanes.settings.horizon):
    action_A = lanes.expert(0)
    action_A = action_A + noise * rng.standard_normal(len(action_A))
    action_A = np.clip(action_A, -1, 1).astype(np.float32)
    observations.append(lanes.observe(0))
    actions.append(action_A)
    rewards.append(lanes.step(0, action_A))
  metadata = {
    'return': float(np.sum(rewards)),
    'noise': float(noise),
    'seed': int(start.seed),
    'unseen': int(start.unseen),
  }
  return _pack(observations, actions, rewards), metadata


def returns(lanes: Lanes, starts: Sequence[Start], expert: bool) -> list[float]:
  """Sums of rewards of the greedy expert, or of uniform actions; not drawn."""
  sums = []
  for start in starts:
    rng = np.random.default_rng([start.seed, 2])
    lanes.reset(0, start)
    size = len(lanes.expert(0))
    total = 0.0
    for _ in range(lanes.settings.horizon):
      action_A = lanes.expert(0) if expert else rng.uniform(-1, 1, size)
      total += lanes.step(0, action_A)
    sums.append(total)
  return sums


def _pack(observations, actions, rewards):
  """An episode that is cut at its end: none of the suite's ends by itself."""
  last = np.arange(len(rewards)) == len(rewards) - 1
  return Episode(
    observation={
      name: np.stack([o[name] for o in observations])
      for name in ('image', 'state')
    },
    action=np.stack(actions),
    reward=np.asarray(rewards, np.float32),
    discount=np.ones(len(rewards), np.float32),
    is_first=np.arange(len(rewards)) == 0,
    is_last=last,
    is_terminal=np.zeros(len(rewards), bool),
  )
