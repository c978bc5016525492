"""Ways of executing chunks of actions, compared on the same policies.

    python -m tests.benchmarks.execution runs/rpt runs/rpt_8 runs/rpt_ensemble

Workdirs of `configs/rpt.py` that differ in `config.evaluate.execution` alone
(copy one, run it again with another: only `evaluate` and what follows runs).
Success over all tasks of each, and its difference to the first, paired by seed.
"""

import json
import pathlib
import sys

import numpy as np

from rpt_jax.evals import intervals


def main():
  workdirs = [pathlib.Path(name) for name in sys.argv[1:]]
  played = {_execution(workdir): _success(workdir) for workdir in workdirs}
  first = next(iter(played.values()))
  print('| cell | ' + ' | '.join(played) + ' |\n|---|' + '--:|' * len(played))
  for cell, reference in first.items():
    texts = []
    for by_cell in played.values():
      ours = by_cell[cell]
      text = f'{np.mean(ours):.2f}'
      if ours is not reference:
        gain = intervals.t_interval(
          intervals.over_environments(ours)
          - intervals.over_environments(reference)
        )
        text += ' ({:+.2f} [{:.2f}, {:.2f}])'.format(*gain)
      texts.append(text)
    print(f'| {cell} | ' + ' | '.join(texts) + ' |')


def _execution(workdir):
  config = json.loads((workdir / 'config.json').read_text())
  return config['evaluate']['execution']


def _success(workdir):
  """{cell: [success [S, episodes] of each task]}."""
  by_cell = {}
  for path in sorted(workdir.glob('evaluate/*/*.npz')):
    with np.load(path) as played:
      success_SN = played['outcome'].astype(float)
    by_cell.setdefault(path.stem, []).append(success_SN)
  return by_cell


if __name__ == '__main__':
  main()
