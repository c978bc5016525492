"""What the pipelines of `rpt.py:conclusive` say together, from their record.

    python -m tests.benchmarks.conclusive                     the tables
    python -m tests.benchmarks.conclusive runs/rpt-conclusive

A workdir's pipelines that are evaluated go into the record first
(`configs/records/rpt_conclusive.json`: of every task and cell, success or not
of each episode). Twelve of them take hours and are made a few at a time, on any
machine; what is told of them is as in the stage `compare`.
"""

import collections
import json
import pathlib
import sys

import numpy as np

from rpt_jax import domains, experiments, files, results, settings
from rpt_jax.learning import cells, scores
from rpt_jax.learning.runs import Runs

RECORD = pathlib.Path('configs/records/rpt_conclusive.json')
SEEN = 'seen'
NAMES = {'rpt': 'masked', 'next': 'generative', 'none': 'scratch'}


def main(arguments):
  record = json.loads(RECORD.read_text())
  for workdir in map(pathlib.Path, arguments):
    for path in sorted(workdir.glob('pipeline_*/evaluate/scores.npz')):
      record['pipelines'][path.parts[-3]] = _outcomes(path)
  if arguments:
    files.write_text(RECORD, json.dumps(record, indent=1) + '\n')
  tell(list(record['pipelines'].values()))


def _outcomes(path):
  """{task/cell: successes as '0' and '1', a text for each seed}."""
  with np.load(path) as score:
    return {
      name: [''.join(str(int(x)) for x in seed) for seed in score[name]]
      for name in sorted(score)
    }


def tell(pipelines):
  """Prints success by cell, and the comparisons that the config asks for."""
  config = settings.read(
    settings.Experiment, experiments.load('rpt:conclusive')
  )
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  places = domains.acting(domains.of(config))
  success = {
    (place.name, cell): np.array(
      [
        [[int(x) for x in seed] for seed in each[f'{place.name}/{cell.name}']]
        for each in pipelines
      ]
    )
    for place in places
    for cell in cells.cells(config.finetune, runs)
  }
  groups = {
    SEEN: [place.name for place in places if place.seen],
    results.UNSEEN: [place.name for place in places if not place.seen],
  }
  about = places[0].measure, success, groups
  asked = config.evaluate.comparisons, config.finetune.run_demos
  print(f'{len(pipelines)} pipelines')
  _print_success(scores.score_rows(*about), groups)
  _print_comparisons(scores.comparison_rows(*about, *asked), groups)


def _print_success(rows, groups):
  table = collections.defaultdict(dict)
  for row in rows:
    tags = row['tags']
    if tags['env'] in groups:
      table[tags['env'], tags['demos']][NAMES[tags['run']]] = row['value']
  print('| tasks | demos | ' + ' | '.join(NAMES.values()) + ' |')
  print('|---|--:|' + '--:|' * len(NAMES))
  for (env, demos), values in sorted(table.items()):
    means = ' | '.join(f'{values[name]:.2f}' for name in NAMES.values())
    print(f'| {env} | {demos} | {means} |')


def _print_comparisons(rows, groups):
  p_of = {
    _key(row): row['value']
    for row in rows
    if row['name'] == results.Acting.p(results.Acting.COMPARISON)
  }
  print('\n| question | tasks | demos | difference | p (Holm) |')
  print('|---|---|--:|--:|--:|')
  for row in rows:
    tags = row['tags']
    if row['name'] != results.Acting.COMPARISON or tags['env'] not in groups:
      continue
    low, high = row['interval']
    print(
      f'| {tags["question"]} | {tags["env"]} | {tags["demos"]} | '
      f'{row["value"]:+.2f} [{low:.2f}, {high:.2f}] | {p_of[_key(row)]:.2f} |'
    )


def _key(row):
  tags = row['tags']
  return tags['question'], tags['env'], tags['demos']


if __name__ == '__main__':
  main(sys.argv[1:])
