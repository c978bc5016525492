"""The Control Suite in parallel processes: closed-loop play, demonstrations."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rpt_jax.envs import processes
from rpt_jax.envs.dm_control import Settings, Start
from rpt_jax.envs.dm_control.worker import MODULE
from rpt_jax.envs.processes import Worker
from rpt_jax.types import Episode


class Outcome(NamedTuple):
  """How N episodes went."""

  return_N: np.ndarray  # Sums of rewards.
  film: np.ndarray  # uint8 [T, H, W, 3] of the first lane


class Simulators:
  """`num` lanes of one task, spread over `workers` processes.

  A context manager. Raises ValueError for what `Lanes` refuses,
  ChildProcessError when a process dies.
  """

  def __init__(self, task: str, settings: Settings, num: int, workers: int = 2):
    self.task, self.settings, self.num = task, settings, num
    rows = np.array_split(np.arange(num), max(1, min(workers, num)))
    self._slices = [slice(r[0], r[-1] + 1) for r in rows]
    self.workers: list[Worker] = []
    try:
      for i, _ in enumerate(rows):
        self.workers.append(Worker(MODULE, f'simulator {i} of {task}'))
      self._call('open', [(task, settings, len(r)) for r in rows])
    except BaseException:
      self.close()
      raise

  def reset(self, starts_N: Sequence[Start]) -> dict[str, np.ndarray]:
    """Starts an episode a lane; the observation {name: [N, ...]}.

    Raises ValueError for another number of starts than there are lanes.
    """
    if len(starts_N) != self.num:
      raise ValueError(
        f'starts: found {len(starts_N)}, expected one for each of {self.num} '
        'lanes'
      )
    answers = self._call('reset', [(list(starts_N[s]),) for s in self._slices])
    return self._joined(answers)

  def step(
    self, action_NA: np.ndarray
  ) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One step of all lanes: the observation {name: [N, ...]} and reward_N.

    Raises ValueError for actions of a wrong number, or that are not finite.
    """
    action_NA = np.asarray(action_NA, np.float32)
    if len(action_NA) != self.num or not np.isfinite(action_NA).all():
      raise ValueError(
        f'action: found {list(action_NA.shape)}, expected [{self.num}, A], '
        'finite'
      )
    answers = self._call('step', [(action_NA[s],) for s in self._slices])
    reward_N = np.concatenate([reward_N for *_, reward_N in answers])
    return self._joined([seen for *seen, _ in answers]), reward_N

  def close(self) -> None:
    """Ends the processes."""
    for worker in self.workers:
      worker.close()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def _call(self, method, args):
    for worker, arguments in zip(self.workers, args, strict=True):
      worker.send(method, *arguments)
    return processes.receive_all(self.workers)

  def _joined(self, answers):
    image, state = (np.concatenate(x) for x in zip(*answers, strict=True))
    return {'image': image, 'state': state}


def play(
  simulators: Simulators,
  act: Callable[[dict[str, np.ndarray]], np.ndarray],
  starts: Sequence[Start],
) -> Outcome:
  """Closed loop to the horizon: `act(observation [N, ...]) -> action_NA`."""
  observation = simulators.reset(starts)
  return_N, film = np.zeros(simulators.num), [observation['image'][0]]
  for _ in range(simulators.settings.horizon):
    observation, reward_N = simulators.step(act(observation))
    return_N += reward_N
    film.append(observation['image'][0])
  return Outcome(return_N, np.stack(film))


def record(
  task: str,
  settings: Settings,
  starts: Sequence[Start],
  noise: Sequence[float],
  workers: int = 2,
  label: str = '',
) -> Iterator[tuple[Episode, dict]]:
  """Demonstrations in the order of `starts`, made in parallel processes.

  Yields (episode, metadata), as `demonstrations.episode` makes them, whatever
  the number of workers; an episode's `noise` follows from its seed, levels in
  turn. Prints progress every 5 s, after `label`. Errors as `Simulators` has.
  """
  calls = [(start, noise[start.seed % len(noise)]) for start in starts]
  num = max(1, min(workers, len(calls)))
  with Simulators(task, settings, num, num) as pool:
    yield from processes.in_order(pool.workers, calls, label or task)


def returns(
  task: str,
  settings: Settings,
  starts: Sequence[Start],
  expert: bool,
  workers: int = 2,
) -> np.ndarray:
  """Sums of rewards [N] of the greedy expert, or of uniform actions."""
  parts = np.array_split(np.arange(len(starts)), min(workers, len(starts)))
  with Simulators(task, settings, len(parts), len(parts)) as pool:
    for worker, part in zip(pool.workers, parts, strict=True):
      worker.send('returns', [starts[i] for i in part], expert)
    return np.concatenate(processes.receive_all(pool.workers))
