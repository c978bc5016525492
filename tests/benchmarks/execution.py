"""Ways of executing chunks of actions, compared on the same policies.

    python -m tests.benchmarks.execution runs/rpt runs/rpt_8 runs/rpt_ensemble

Workdirs of `configs/rpt.py` that differ in `config.evaluate.execution` alone
(copy one, run it again with another: only `control` runs). Success in all tasks
of each, and its difference to the first, paired by seed and episode.
"""

import json
import pathlib
import sys

import numpy as np

from rpt_jax.evals import statistics


def main():
  workdirs = [pathlib.Path(name) for name in sys.argv[1:]]
  played = {_execution(workdir): _success(workdir) for workdir in workdirs}
  first = next(iter(played.values()))
  print('| cell | ' + ' | '.join(played) + ' |\n|---|' + '--:|' * len(played))
  for cell, reference in first.items():
    texts = []
    for found in played.values():
      ours = found[cell]
      text = f'{np.mean(ours):.2f}'
      if ours is not reference:
        options = {'statistic': np.mean, 'episodes': True}
        gain = statistics.paired_difference(ours, reference, **options)
        text += ' ({:+.2f} [{:.2f}, {:.2f}])'.format(*gain)
      texts.append(text)
    print(f'| {cell} | ' + ' | '.join(texts) + ' |')


def _execution(workdir):
  config = json.loads((workdir / 'config.json').read_text())
  return config['evaluate']['execution']


def _success(workdir):
  """{cell: [success [S, episodes] of each task]}."""
  found = {}
  for path in sorted(workdir.glob('control/*/*.npz')):
    with np.load(path) as outcome:
      found.setdefault(path.stem, []).append(outcome['success'].astype(float))
  return found


if __name__ == '__main__':
  main()
