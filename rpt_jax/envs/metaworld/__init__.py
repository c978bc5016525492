"""Meta-World: 50 tasks of one robot arm, seen by cameras, with experts.

Needs the extra `metaworld`, imported when the first `Lanes` is made. The room
around it: `scene` draws, `demonstrations` records experts, and
`simulators` runs many lanes in processes of their own.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.envs.metaworld import scene
from rpt_jax.envs.metaworld.scene import CAMERAS

__all__ = [
  'ACTION_DIM',
  'CAMERAS',
  'PROPRIO_DIM',
  'TASKS',
  'Behaviour',
  'Lanes',
  'Settings',
  'instruction',
]

PROPRIO_DIM = 4  # x, y, z of the hand in metres; gripper, 1 is open
ACTION_DIM = 4  # dx, dy, dz, gripper, in [-1, 1]

_INSTRUCTIONS = {
  'assembly-v3': 'put the ring on the peg',
  'basketball-v3': 'drop the basketball into the basket',
  'bin-picking-v3': 'move the block from one bin to the other',
  'box-close-v3': 'put the lid on the box',
  'button-press-topdown-v3': 'press the button from above',
  'button-press-topdown-wall-v3': 'press the button from above over the wall',
  'button-press-v3': 'press the button',
  'button-press-wall-v3': 'press the button behind the wall',
  'coffee-button-v3': 'press the button of the coffee machine',
  'coffee-pull-v3': 'pull the mug away from the coffee machine',
  'coffee-push-v3': 'push the mug under the coffee machine',
  'dial-turn-v3': 'turn the dial',
  'disassemble-v3': 'take the ring off the peg',
  'door-close-v3': 'close the door',
  'door-lock-v3': 'lock the door',
  'door-open-v3': 'open the door',
  'door-unlock-v3': 'unlock the door',
  'drawer-close-v3': 'close the drawer',
  'drawer-open-v3': 'open the drawer',
  'faucet-close-v3': 'turn the faucet off',
  'faucet-open-v3': 'turn the faucet on',
  'hammer-v3': 'hammer the nail into the wall',
  'hand-insert-v3': 'put the hand into the hole',
  'handle-press-side-v3': 'press the handle down from the side',
  'handle-press-v3': 'press the handle down',
  'handle-pull-side-v3': 'pull the handle up from the side',
  'handle-pull-v3': 'pull the handle up',
  'lever-pull-v3': 'pull the lever up',
  'peg-insert-side-v3': 'put the peg into the hole from the side',
  'peg-unplug-side-v3': 'pull the plug out from the side',
  'pick-out-of-hole-v3': 'take the puck out of the hole',
  'pick-place-v3': 'bring the puck to the goal',
  'pick-place-wall-v3': 'bring the puck over the wall to the goal',
  'plate-slide-back-side-v3': 'slide the plate out of the cabinet sideways',
  'plate-slide-back-v3': 'slide the plate out of the cabinet',
  'plate-slide-side-v3': 'slide the plate into the cabinet sideways',
  'plate-slide-v3': 'slide the plate into the cabinet',
  'push-back-v3': 'pull the puck back to the goal',
  'push-v3': 'push the puck to the goal',
  'push-wall-v3': 'push the puck around the wall to the goal',
  'reach-v3': 'reach the goal',
  'reach-wall-v3': 'reach the goal behind the wall',
  'shelf-place-v3': 'put the block on the shelf',
  'soccer-v3': 'push the ball into the goal',
  'stick-pull-v3': 'pull the bottle with the stick',
  'stick-push-v3': 'push the bottle with the stick',
  'sweep-into-v3': 'sweep the block into the hole',
  'sweep-v3': 'sweep the block off the table',
  'window-close-v3': 'close the window',
  'window-open-v3': 'open the window',
}
TASKS = tuple(_INSTRUCTIONS)


class Settings(NamedTuple):
  """How a task is seen and acted on."""

  cameras: tuple[str, ...] = ('corner2', 'gripperPOV', 'topview')
  size: int = 64  # pixels a side
  action_repeat: int = 5  # simulator steps of 12.5 ms a decision
  horizon: int = 40  # decisions


class Behaviour(NamedTuple):
  """How demonstrations are given; an episode's part follows from its seed."""

  noise: tuple[float, ...] = (0.0,)  # std of dx, dy, dz; levels in turn
  failure: float = 0.0  # probability that an episode fails on purpose
  linger: int = 2  # decisions after the first success


def instruction(task: str) -> str:
  """The task in a short English sentence; ValueError for an unknown task."""
  if task not in _INSTRUCTIONS:
    raise ValueError(
      f'Meta-World task: found {task!r}, expected one of {", ".join(TASKS)}'
    )
  return _INSTRUCTIONS[task]


class Lanes:
  """`num` simulations of one task in this process, drawn by one GL context.

  An episode is a function of (task, seed, actions) alone, whatever the lane
  did before. Raises ValueError for an unknown task, camera, or a package or
  library that is missing.
  """

  def __init__(self, task: str, settings: Settings, num: int = 1):
    instruction(task)
    _check(settings)
    if problem := scene.missing():
      raise ValueError(problem)
    self.settings = settings
    self._lanes = [_Lane(task) for _ in range(num)]
    self._studio = scene.Studio(
      self._lanes[0].env.model, settings.cameras, settings.size
    )

  def reset(self, lane: int, seed: int) -> None:
    """Starts the episode of `seed`: object and goal follow from it."""
    self._lanes[lane].reset(seed)

  def step(self, lane: int, action_A: Sequence[float]) -> bool:
    """Holds an action for `action_repeat` steps; True if success was met."""
    return self._lanes[lane].step(action_A, self.settings.action_repeat)

  def observe(self, lane: int, into) -> None:
    """Writes {camera: uint8 [H, W, 3], 'proprio': float32 [4]} to `into`."""
    chosen = self._lanes[lane]
    into['proprio'][:] = chosen.state[:PROPRIO_DIM]
    self._studio.draw(chosen.env.model, chosen.env.data, into)

  def expert(self, lane: int, seen_as=(0.0, 0.0, 0.0)) -> np.ndarray:
    """The scripted expert's action float32 [4], from the full state.

    It acts as if object and goal stood `seen_as` metres from where they do.
    """
    return self._lanes[lane].expert(np.asarray(seen_as))

  def close(self) -> None:
    """Frees the GL context."""
    self._studio.close()


def _check(settings):
  for name in ('size', 'action_repeat', 'horizon'):
    value = getattr(settings, name)
    if value < 1:
      raise ValueError(f'{name}: found {value}, expected at least 1')


class _Lane:
  """One simulation: `state` [39] is what the expert sees."""

  def __init__(self, task):
    import metaworld
    from metaworld.policies import ENV_POLICY_MAP

    make = metaworld.env_dict.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    self.env = make[f'{task}-goal-observable'](seed=0)
    self.env._freeze_rand_vec = False
    self.env.seeded_rand_vec = True
    self.env.max_path_length = np.iinfo(np.int32).max
    self._policy = ENV_POLICY_MAP[task]
    scene.edit(self.env.model)

  def reset(self, seed):
    import mujoco

    env = self.env
    mujoco.mj_resetData(env.model, env.data)
    env.seed(int(seed))
    env.reset()
    # Meta-World moves the object after its last step of physics.
    mujoco.mj_forward(env.model, env.data)
    env._prev_obs = env._get_curr_obs_combined_no_goal()
    self.state = env._get_obs()
    self._decide = self._policy().get_action

  def step(self, action_A, repeat):
    action_A = np.clip(np.asarray(action_A, np.float64), -1, 1)
    success = False
    for _ in range(repeat):
      self.state, _, _, _, info = self.env.step(action_A)
      success |= bool(info['success'])
    return success

  def expert(self, seen_as):
    state = self.state.copy()  # Experts write to what they are given.
    for start in (4, 22, 36):  # The object, the object before, the goal.
      state[start : start + 3] += seen_as
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Actions above 1 are clipped here.
      action_A = self._decide(state)
    return np.clip(action_A, -1, 1).astype(np.float32)
