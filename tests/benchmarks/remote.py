"""Success in Meta-World through a policy server whose answers come late.

    python -m tests.benchmarks.remote runs/rpt/evaluate 25

Of every `<task>/policy` in a folder: episodes played by a policy in this
process, then by robots that ask a server, each on a connection of its own. The
clock is the simulator's: an answer is there a whole number of decisions later,
what is due of the newest one is played, and an episode begins with the first.
Delays cover 0, 50, 100 and 200 ms of decisions of 62.5 ms; with ensembling
(m = 0.1), too. The same seeds are played by all.
"""

import pathlib
import sys

import numpy as np

from rpt_jax.envs import metaworld
from rpt_jax.envs.metaworld import simulators
from rpt_jax.evals import intervals
from rpt_jax.policy import Policy
from rpt_jax.serve.client import Client
from tests.benchmarks import serve

DELAYS = {0: 0, 50: 1, 100: 2, 200: 4}  # ms: decisions
ENSEMBLES = {'newest chunk': (), 'ensemble 0.1': ('--ensemble=0.1',)}
FIRST_SEED = 90_000_000


class Robots:
  """`num` robots whose answers come `late` decisions after they were asked."""

  def __init__(self, address, num, late):
    self._clients = [Client(address, timeout=60) for _ in range(num)]
    self._late, self._chunks, self._done = late, [], []

  def act(self, observation):
    """Actions [N, A] of this decision."""
    for lane, client in enumerate(self._clients):
      stamp = {'step': len(self._chunks)}
      if self._done:
        stamp['executed'] = np.stack([x[lane] for x in self._done])
      seen = {name: x[lane] for name, x in observation.items()}
      client.send(seen | {'stamp': stamp})
    answers = [client.receive() for client in self._clients]
    self._chunks.append(np.stack([answer['actions'] for answer in answers]))
    now = len(self._chunks) - 1
    due = max(0, now - self._late)  # An episode begins with its first answer.
    action = self._chunks[due][:, now - due]
    self._done.append(action)
    return action

  def close(self):
    for client in self._clients:
      client.close()


def main(folder, episodes):
  success = {}
  for path in sorted(pathlib.Path(folder).glob('*/policy')):
    for name, success_N in task(path, int(episodes)).items():
      success.setdefault(name, []).append(success_N)
      print(f'{path.parent.name}: {name}: {success_N.mean():.2f}', flush=True)
  print('\n| played | success | less than in process |\n|---|--:|--:|')
  here = np.concatenate(success['in process']).astype(float)
  for name, each in success.items():
    success_N = np.concatenate(each)
    rate, *interval = intervals.wilson(int(success_N.sum()), len(success_N))
    lost = intervals.t_interval(here - success_N)
    print(
      f'| {name} | {rate:.2f} [{interval[0]:.2f}, {interval[1]:.2f}] | '
      '{:.2f} [{:.2f}, {:.2f}] |'.format(*lost)
    )


def task(path, episodes):
  """{how it is played: bool [N]} of one task."""
  policy = Policy.load(path)
  size, _ = next(iter(policy.frames.values()))
  settings = metaworld.Settings(tuple(policy.frames), size, 5, 30)
  seeds, success = range(FIRST_SEED, FIRST_SEED + episodes), {}
  name = path.parent.name
  with simulators.Simulators(name, settings, episodes) as lanes:
    policy.reset(episodes)
    success['in process'] = simulators.play(lanes, policy.act, seeds).success_N
    for how, flags in ENSEMBLES.items():
      with serve.serving(path, episodes, *flags) as (server, address):
        for delay, late in DELAYS.items():
          robots = Robots(address, episodes, late)
          outcome = simulators.play(lanes, robots.act, seeds)
          robots.close()
          success[f'{how}, {delay} ms late'] = outcome.success_N
        serve.stop(server)
  return success


if __name__ == '__main__':
  main(*sys.argv[1:])
