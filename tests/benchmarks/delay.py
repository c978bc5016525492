"""What a delay costs, by how chunks are executed, on the same policies.

    python -m tests.benchmarks.delay runs/acting

The policies that a run of `configs/acting.py` has kept, of every pipeline one,
which have a flow head. Each plays the same episodes with 0 to 4 decisions
between an observation and the first action that is predicted from it: chunks
that go on from the one before (real-time chunking), chunks that take over as
they are, and ensembling of all. Success with its t-interval over pipelines, and
what real-time chunking gains, paired; then whether it holds to a side.
"""

import pathlib
import sys

import jax
import numpy as np

from rpt_jax import envs
from rpt_jax.domains import playing
from rpt_jax.envs import rollout
from rpt_jax.evals import intervals
from rpt_jax.policy import Execution, Policy, program

EPISODES, DELAYS = 256, range(5)
WAYS = {
  'realtime': lambda delay: Execution(execute=4, delay=delay, realtime=True),
  'execute': lambda delay: Execution(execute=4, delay=delay),
  'ensemble': lambda delay: Execution(ensemble=-0.01, delay=delay),
}


def main():
  (workdir,) = map(pathlib.Path, sys.argv[1:])
  for name in ('Detour-v0', 'OneWay-v0'):
    folders = sorted(workdir.glob(f'pipeline_*/evaluate/{name}/policy'))
    if len(folders) < 2:
      raise SystemExit(f'{workdir}: {name}: {len(folders)} pipelines, not 2')
    played = {
      way: np.array(
        [
          [played_once(f, name, how(d), seed) for d in DELAYS]
          for seed, f in enumerate(folders)
        ]
      )
      for way, how in WAYS.items()
    }
    print(f'\n{name}, {len(folders)} pipelines x {EPISODES} episodes\n')
    print('| delay | ' + ' | '.join(map(str, DELAYS)) + ' |')
    print('|---|' + '--:|' * len(DELAYS))
    for way, share_PD2 in played.items():
      row(way, share_PD2[..., 0])
    for way in ('execute', 'ensemble'):
      gain = played['realtime'][..., 0] - played[way][..., 0]
      row(f'realtime - {way}', gain)
    for way, share_PD2 in played.items():
      row(f'{way}: left', share_PD2[..., 1])


def row(label, share_PD):
  """One line: the mean over pipelines at every delay, with its interval."""
  cells = [intervals.t_interval(share_P) for share_P in share_PD.T]
  texts = [f'{m:.2f} [{low:.2f}, {high:.2f}]' for m, low, high in cells]
  print(f'| {label} | ' + ' | '.join(texts) + ' |', flush=True)


def played_once(folder, name, execution, seed):
  """(share of episodes that succeed, share of those that passed left)."""
  policy = Policy.load(folder, execution)
  env = envs.make(name)
  steps = rollout.rollout(
    env,
    playing.in_rollouts(policy.program, tuple(range(len(env.state_names)))),
    (policy.weights, program.start(policy.program, EPISODES)),
    jax.random.key(seed),
    EPISODES,
    record=('state', 'reward'),
  )
  success_N = np.asarray(steps['reward']).sum(1) > 0
  x_NT = np.asarray(steps['state'][..., 0])
  left_N = x_NT[np.arange(EPISODES), np.abs(x_NT).argmax(1)] < 0
  return success_N.mean(), left_N[success_N].mean() if success_N.any() else 0.5


if __name__ == '__main__':
  main()
