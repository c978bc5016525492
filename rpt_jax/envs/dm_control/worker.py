"""A process that holds simulations of the suite: what can be asked of it."""

import numpy as np

from rpt_jax.envs import processes
from rpt_jax.envs.dm_control import Lanes, demonstrations

MODULE = 'rpt_jax.envs.dm_control.worker'


class _Host:
  """What a worker does; its public methods are what can be called."""

  def open(self, task, settings, num):
    self._lanes, self._num = Lanes(task, settings, num), num

  def reset(self, starts):
    for lane, start in enumerate(starts):
      self._lanes.reset(lane, start)
    return self._seen()

  def step(self, action_NA):
    rewards = [self._lanes.step(n, a) for n, a in enumerate(action_NA)]
    return *self._seen(), np.array(rewards)

  def demonstrate(self, start, noise):
    return demonstrations.episode(self._lanes, start, noise)

  def returns(self, starts, expert):
    return demonstrations.returns(self._lanes, starts, expert)

  def _seen(self):
    seen = [self._lanes.observe(lane) for lane in range(self._num)]
    return (
      np.stack([each['image'] for each in seen]),
      np.stack([each['state'] for each in seen]),
    )


if __name__ == '__main__':
  processes.serve(_Host())
