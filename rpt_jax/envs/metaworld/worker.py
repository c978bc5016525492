"""A process that holds simulations of Meta-World: what can be asked of it."""

import mmap

import numpy as np

from rpt_jax.envs import processes
from rpt_jax.envs.metaworld import Lanes, demonstrations

MODULE = 'rpt_jax.envs.metaworld.worker'


def views(buffer, settings, num: int) -> dict[str, np.ndarray]:
  """{name: [N, ...]} of the observations in a shared buffer."""
  arrays, start = {}, 0
  for name, x in demonstrations.empty(settings, num).items():
    flat = np.frombuffer(buffer, x.dtype, x.size, start)
    arrays[name] = flat.reshape(x.shape)
    start += x.nbytes
  return arrays


class _Host:
  """What a worker does; its public methods are what can be called."""

  def open(self, task, settings, num):
    self._task, self._lanes = task, Lanes(task, settings, num)

  def share(self, file, num, first):
    """Observations go to lanes `first` and after, of `num` in a file."""
    settings, self._first = self._lanes.settings, first
    self._views = views(mmap.mmap(file, 0), settings, num)

  def reset(self, seeds):
    for lane, seed in enumerate(seeds):
      self._lanes.reset(lane, seed)
      self._observe(lane)

  def step(self, action_NA, running_N):
    success_N = np.zeros(len(running_N), bool)
    for lane in np.flatnonzero(running_N):
      success_N[lane] = self._lanes.step(lane, action_NA[lane])
      self._observe(lane)
    return success_N

  def experts(self, num):
    return np.stack([self._lanes.expert(lane) for lane in range(num)])

  def demonstrate(self, seed, behaviour):
    return demonstrations.episode(self._lanes, self._task, seed, behaviour)

  def _observe(self, lane):
    row = self._first + lane
    self._lanes.observe(lane, {k: v[row] for k, v in self._views.items()})


if __name__ == '__main__':
  processes.serve(_Host())
