"""Tasks of the DeepMind Control Suite, with experts and what distracts.

Needs the extra `dm_control`, imported when the first `Lanes` is made. The room
around it: `scene` draws, `distractors` move backgrounds, camera and colours,
`experts` act, and `simulators` runs many lanes in processes of their own.

What distracts is that of *Latent Action Learning Requires Supervision in the
Presence of Distractors* (Nikulin et al. 2025, arXiv 2502.00379), after the
Distracting Control Suite (Stone et al. 2021, arXiv 2101.02722).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.envs.dm_control import distractors, experts, scene

HORIZON = 1000  # Steps of an episode of the suite.
# Seconds of a step; of other tasks it is asked of the simulator.
STEP = {
  'cheetah-run': 0.01,
  'hopper-hop': 0.02,
  'humanoid-walk': 0.025,
  'walker-run': 0.025,
}
# How much of the ground hides the background, as published.
GROUND = {'humanoid': 0.3}


class Settings(NamedTuple):
  """How a task is seen, and what moves in it beside the robot."""

  size: int = 64  # pixels a side
  horizon: int = HORIZON  # steps
  camera: float = 0.0  # strength of its walk; published: 0.1
  colour: float = 0.0  # likewise
  backgrounds: tuple[str, ...] = ()  # .npy of u8 [T, H, W, 3]; none: the sky
  unseen: tuple[str, ...] = ()  # likewise, of episodes that are held out
  experts: str = ''  # folder of <task>.safetensors; '': those that come along


class Start(NamedTuple):
  """Which episode: all that is drawn for it follows from this."""

  seed: int
  unseen: bool = False  # Before the backgrounds that are held out.


class Lanes:
  """`num` simulations of one task in this process, drawn by one GL context.

  An episode is a function of (task, settings, start, actions) alone, whatever
  the lane did before. Raises ValueError for an unknown task, for backgrounds
  that are none, and for a package or library that is missing.
  """

  def __init__(self, task: str, settings: Settings, num: int = 1):
    if problem := scene.missing():
      raise ValueError(problem)
    self.settings = settings
    self._act = experts.load(task, settings.experts)
    videos = {
      unseen: [distractors.opened(path, settings.size) for path in paths]
      for unseen, paths in (
        (False, settings.backgrounds),
        (True, settings.unseen),
      )
    }
    self._lanes = [_Lane(task, settings, videos) for _ in range(num)]
    self._studio = scene.Studio(self._lanes[0].model, settings.size)
    self._ground = GROUND.get(task.partition('-')[0], 1.0)

  def reset(self, lane: int, start: Start) -> None:
    """Starts an episode: its state and all that distracts follow from it."""
    self._lanes[lane].reset(start)

  def step(self, lane: int, action_A: Sequence[float]) -> float:
    """Does an action, cut to [-1, 1]; its reward, from 0 to 1."""
    return self._lanes[lane].step(action_A)

  def observe(self, lane: int) -> dict[str, np.ndarray]:
    """{'image': uint8 [H, W, 3], 'state': float32 [P]}."""
    own = self._lanes[lane]
    with own.distracted():
      image = self._studio.draw(
        own.model, own.data, own.background(), self._ground
      )
    return {'image': image, 'state': own.state}

  def mask(self, lane: int) -> np.ndarray:
    """bool [H, W]: which pixels of the frame show the robot."""
    own = self._lanes[lane]
    with own.distracted():
      return self._studio.mask(own.model, own.data)

  def expert(self, lane: int) -> np.ndarray:
    """The greedy expert's action float32 [A], from the state."""
    return self._act(self._lanes[lane].state)

  def close(self) -> None:
    """Frees the GL context."""
    self._studio.close()


class _Lane:
  """One simulation: `state` [P] is what the expert sees."""

  def __init__(self, task, settings, videos):
    from dm_control import suite

    domain, _, name = task.partition('-')
    if (domain, name.replace('-', '_')) not in suite.ALL_TASKS:
      raise ValueError(
        f'dm_control task: found {task!r}, expected one of '
        f'{", ".join(sorted("-".join(each) for each in suite.ALL_TASKS))}'
      )
    self._env = suite.load(domain, name.replace('-', '_'))
    self.model = self._env.physics.model.ptr
    self.data = self._env.physics.data.ptr
    self._settings, self._videos = settings, videos
    scene.edit(self.model)
    self._colour_M3 = self.model.mat_rgba[:, :3].copy()

  def reset(self, start):
    env, c = self._env, self._settings
    env.task._random = np.random.RandomState(start.seed % 2**32)
    self._see(env.reset())
    rng = np.random.default_rng([start.seed, int(start.unseen)])
    self._camera = distractors.camera(rng, c.horizon, c.camera)
    self._shift = distractors.colours(
      rng, c.horizon, c.colour, len(self._colour_M3)
    )
    self._frames = distractors.background(rng, self._videos[start.unseen])
    self._time = 0

  def step(self, action_A):
    timestep = self._env.step(np.clip(np.asarray(action_A, np.float64), -1, 1))
    self._time += 1
    self._see(timestep)
    return float(timestep.reward)

  def background(self):
    """uint8 [H, W, 3] of now; None: the sky of the simulator."""
    return None if self._frames is None else self._frames(self._time)

  def distracted(self):
    """A context in which camera and colours are those of now."""
    now = min(self._time, self._settings.horizon)
    camera, colour_M3 = self._camera[now], self._colour_M3 + self._shift[now]
    return scene.distracted(self.model, self.data, camera, colour_M3)

  def _see(self, timestep):
    seen = timestep.observation
    parts = [np.ravel(seen[name]) for name in sorted(seen)]
    self.state = np.concatenate(parts).astype(np.float32)
