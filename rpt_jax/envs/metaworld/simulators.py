"""Meta-World in parallel processes: closed-loop play, and demonstrations."""

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.envs import processes
from rpt_jax.envs.metaworld import (
  ACTION_DIM,
  Behaviour,
  Settings,
  demonstrations,
)
from rpt_jax.envs.metaworld.worker import MODULE, views
from rpt_jax.envs.processes import Worker
from rpt_jax.types import Episode


class Outcome(NamedTuple):
  """How N episodes went."""

  success_N: np.ndarray  # bool
  steps_N: np.ndarray  # decisions until success, or the horizon
  films: list[np.ndarray]  # uint8 [T, H, W, 3] of the first camera


class Simulators:
  """`num` lanes of one task, spread over `workers` processes.

  A context manager. Lanes that do not run are neither stepped nor drawn.
  Raises ValueError for what `metaworld.Lanes` refuses, ChildProcessError when
  a process dies.
  """

  def __init__(self, task: str, settings: Settings, num: int, workers: int = 2):
    self.task, self.settings, self.num = task, settings, num
    rows = np.array_split(np.arange(num), max(1, min(workers, num)))
    self._slices = [slice(r[0], r[-1] + 1) for r in rows]
    self._file = tempfile.TemporaryFile()
    size = sum(x.nbytes for x in demonstrations.empty(settings, num).values())
    os.truncate(self._file.fileno(), size)
    self._views = views(mmap.mmap(self._file.fileno(), 0), settings, num)
    self._workers = []
    try:
      self._start(task, settings, num)
    except BaseException:
      self.close()
      raise

  def _start(self, task, settings, num):
    file = self._file.fileno()
    for i, _ in enumerate(self._slices):
      label = f'simulator {i} of {task}'
      self._workers.append(Worker(MODULE, label, pass_fds=(file,)))
    self._call(
      'open', [(task, settings, s.stop - s.start) for s in self._slices]
    )
    self._call('share', [(file, num, s.start) for s in self._slices])

  def reset(self, seeds_N: Sequence[int]) -> dict[str, np.ndarray]:
    """Starts an episode a lane; the observation {name: [N, ...]}."""
    if len(seeds_N) != self.num:
      raise ValueError(
        f'seeds: found {len(seeds_N)}, expected one for each of {self.num} '
        'lanes'
      )
    self._call('reset', [([int(x) for x in seeds_N[s]],) for s in self._slices])
    return self._observation()

  def step(
    self, action_NA: np.ndarray, running_N: np.ndarray
  ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One decision of the lanes that run; the others keep their observation.

    Returns the observation {name: [N, ...]} and success_N, of this decision.
    Raises ValueError for actions of a wrong shape, or that are not finite.
    """
    action_NA = np.asarray(action_NA, np.float32)
    running_N = np.asarray(running_N, bool)
    expected = (self.num, ACTION_DIM)
    if action_NA.shape != expected or not np.isfinite(action_NA).all():
      raise ValueError(
        f'action: found {list(action_NA.shape)}, expected {list(expected)}, '
        'finite'
      )
    success = self._call(
      'step', [(action_NA[s], running_N[s]) for s in self._slices]
    )
    return self._observation(), np.concatenate(success)

  def experts(self) -> np.ndarray:
    """What the expert would do now, [N, 4]: an upper bound for `play`."""
    counts = [(s.stop - s.start,) for s in self._slices]
    return np.concatenate(self._call('experts', counts))

  def close(self) -> None:
    """Ends the processes."""
    for worker in self._workers:
      worker.close()
    self._file.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def _call(self, method, args):
    for worker, arguments in zip(self._workers, args, strict=True):
      worker.send(method, *arguments)
    return processes.receive_all(self._workers)

  def _observation(self):
    return {name: x.copy() for name, x in self._views.items()}


def play(
  simulators: Simulators,
  act: Callable[[dict[str, np.ndarray]], np.ndarray],
  seeds: Sequence[int],
  films: int = 0,
) -> Outcome:
  """Closed loop until every lane has met success or the horizon.

  `act(observation {name: [N, ...]}) -> action_NA`, on all lanes at every
  decision; what it says for lanes that have ended is not used. `films` of the
  first lanes are kept, from the first frame to the last.
  """
  num, horizon = simulators.num, simulators.settings.horizon
  observation = simulators.reset(seeds)
  camera = simulators.settings.cameras[0]
  success_N = np.zeros(num, bool)
  steps_N = np.full(num, horizon)
  frames = [[x] for x in observation[camera][:films]]
  for decision in range(horizon):
    running_N = ~success_N
    observation, met_N = simulators.step(act(observation), running_N)
    for lane, film in enumerate(frames):
      if running_N[lane]:
        film.append(observation[camera][lane])
    steps_N[met_N] = decision + 1
    success_N |= met_N
    if success_N.all():
      break
  return Outcome(success_N, steps_N, [np.stack(x) for x in frames])


def record(
  task: str,
  settings: Settings,
  seeds: Sequence[int],
  behaviour: Behaviour | None = None,
  workers: int = 2,
  label: str = '',
) -> Iterator[tuple[Episode, dict]]:
  """Demonstrations in the order of `seeds`, made in parallel processes.

  Yields (episode, metadata), as `demonstrations.episode` makes them, whatever
  the number of workers. Prints progress every 5 s, after `label`.

  Raises ValueError for what `metaworld.Lanes` refuses, ChildProcessError when
  a process dies.
  """
  seeds = [int(seed) for seed in seeds]
  behaviour = behaviour or Behaviour()
  if not behaviour.noise:
    raise ValueError(
      'noise: found no level, expected at least one; 0.0 is none'
    )
  num = max(1, min(workers, len(seeds)))
  pool = []
  try:
    for i in range(num):
      pool.append(Worker(MODULE, f'recorder {i} of {task}'))
      pool[-1].send('open', task, settings, 1)
    processes.receive_all(pool)
    calls = [(seed, behaviour) for seed in seeds]
    yield from processes.in_order(pool, calls, label or task)
  finally:
    for worker in pool:
      worker.close()
