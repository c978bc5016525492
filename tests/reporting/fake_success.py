"""A made-up experiment of Meta-World's shape, to look at the page with.

`python -m tests.reporting.fake_success OUT.html` writes it. No number here was
measured. Rows of scores come from the code that makes the real ones;
`test_every_config.py` holds all others against those of a real run.
"""

import sys

import numpy as np

try:
  from fake import clip
except ImportError:  # As a module of the package.
  from tests.reporting.fake import clip

from rpt_jax import results
from rpt_jax.domains import measures
from rpt_jax.evals import intervals
from rpt_jax.learning import scores
from rpt_jax.reporting import frames, page
from rpt_jax.results import Acting, Cell, Collect, Costs, Pretrain, row

SEEN = ('button-press-topdown-v3', 'drawer-open-v3', 'window-open-v3')
UNSEEN = ('door-open-v3',)
TASKS = (*SEEN, *UNSEEN)
RUNS = {
  'rpt': 0.14, 'ratio_low': 0.08, 'timestep': -0.04, 'modality': 0.05,
  'causal': 0.12, 'next': 0.1, 'context_1': -0.06, 'one_camera': 0.1,
  'units': 0.15,
}  # fmt: skip
QUESTIONS = {
  'masks of 70-90 % over 10-90 %': ('rpt', 'ratio_low'),
  'token over timestep masks': ('rpt', 'timestep'),
  'causal over random masks': ('causal', 'rpt'),
  'generative, all actions over a quarter': ('next', 'modality'),
  'context 16 over 1': ('rpt', 'context_1'),
  'units added over none': ('units', 'rpt'),
}
STREAMS = ('latent/corner2', 'latent/topview', 'proprio', 'action')
PIPELINES, SEEDS, EPISODES = 1, 3, 50
CELLS = (
  Cell('none', 'scratch', 10), Cell('none', 'scratch', 50),
  Cell('rpt', 'probe', 10), Cell('rpt', 'probe', 50),
  *(Cell(run, 'finetune', 10) for run in RUNS), Cell('rpt', 'finetune', 50),
)  # fmt: skip


def rate(task, cell):
  """How often a cell succeeds in a task."""
  gain = RUNS.get(cell.run, 0.0) - 0.2 * (cell.method == 'probe')
  easy = 0.45 + 0.12 * TASKS.index(task) - 0.2 * (task in UNSEEN)
  return min(1.0, easy + gain + 0.25 * (cell.demos == 50))


def played(pipelines=PIPELINES, seeds=SEEDS):
  """{(task, cell): success [P, S, N]}; all meet the same episodes."""
  rng = np.random.default_rng(0)
  shape = pipelines, seeds, EPISODES
  count = int(np.prod(shape))
  hardness = {
    task: (rng.permutation(count).reshape(shape) + 0.5) / count
    for task in TASKS
  }
  return {
    (task, cell): hardness[task] < rate(task, cell)
    for task in TASKS
    for cell in CELLS
  }


def acting_rows(pipelines=PIPELINES, seeds=SEEDS):
  """As `evaluate` writes them of one pipeline, `compare` of several."""
  success, rows = played(pipelines, seeds), []
  for (task, cell), success_PSN in success.items():
    episodes = success_PSN[0].size
    tags = cell.tags | {'env': task, 'episodes': episodes}
    tags['measure'] = measures.SUCCESS.name
    count = seeds
    if pipelines == 1:
      estimate = intervals.wilson(int(success_PSN.sum()), episodes)
    else:
      estimate, count = intervals.t_interval(success_PSN), pipelines
      tags['sample'] = results.PIPELINES
    share, *interval = estimate
    rows.append(
      row(Acting.STAGE, Acting.SUCCESS, share, interval, count, **tags)
    )
  groups = {results.ALL: SEEN, results.UNSEEN: UNSEEN}
  of_all = measures.SUCCESS, success, groups
  return [
    *rows,
    *scores.score_rows(*of_all),
    *scores.difference_rows(*of_all),
    *scores.comparison_rows(*of_all, QUESTIONS, (10,)),
    *scores.worth_rows(*of_all),
  ]


def pretrain_rows():
  rows = []
  for i, run in enumerate(RUNS):
    kind = Pretrain.LINEAR if run == 'next' else Pretrain.INTERPOLATION
    rows.append(row(Pretrain.STAGE, Pretrain.LOSS, 1.1, run=run))
    if run != 'next':
      rows.append(row(Pretrain.STAGE, Pretrain.MASKED_FRACTION, 0.8, run=run))
    for s, stream in enumerate(STREAMS):
      error = 0.03 * (s + 1 + i)
      values = {Pretrain.ERROR: error, Pretrain.COPY_LAST: 0.2, kind: 0.13}
      rows += [
        row(Pretrain.STAGE, Pretrain.of(name, stream), value, run=run)
        for name, value in values.items()
      ]
  values = {
    Pretrain.ERROR: 0.4, Pretrain.WRONG: 0.5, Pretrain.COPY_LAST: 0.45,
  }  # fmt: skip
  rows += [
    row(Pretrain.STAGE, Pretrain.of(name, 'unit'), value, run='units')
    for name, value in values.items()
  ]
  return rows


def collect_rows():
  rows = []
  for task in TASKS:
    splits = ('demos',) if task in UNSEEN else ('pretrain', 'heldout', 'demos')
    for split in splits:
      tags, interval = {'env': task, 'split': split}, [0.9, 0.99]
      rows += [
        row(Collect.STAGE, Collect.EPISODES, 50, **tags),
        row(Collect.STAGE, Collect.FRAMES, 700, **tags),
        row(Collect.STAGE, Collect.STEPS, 14, **tags),
        row(Collect.STAGE, Collect.KEPT, 0.96, interval, episodes=52, **tags),
      ]
  return rows


def rollouts(rng):
  return [
    frames.Rollout(
      clip(rng, 24, 0.2), task, method, 10, rate(task, Cell(run, method, 10)),
      measures.SUCCESS, 80 / 5, 'succeeded' if i else 'failed',
    )
    for task in TASKS
    for i, (run, method) in enumerate(
      (('none', 'scratch'), ('rpt', 'probe'), ('rpt', 'finetune'))
    )
  ]  # fmt: skip


def content(pipelines=PIPELINES, seeds=SEEDS):
  rng = np.random.default_rng(0)
  acting = acting_rows(pipelines, seeds)
  rows = [*collect_rows(), *pretrain_rows(), *acting]
  rows.append(row(Acting.STAGE, Costs.SECONDS, 812, kind=results.COST))
  described = {
    run: {'label': run.replace('_', ' '), 'recipe': '', 'objective': 'm'}
    for run in RUNS
  }
  losses = {
    f'pretrain/{run}': [
      {'step': s, 'loss': 1.0 + 2.0 * np.exp(-s / 300)}
      for s in range(0, 1500, 150)
    ]
    for run in RUNS
  }
  return page.Content(
    title='RPT: which choice made it so?',
    subtitle='Does it help a robot act?',
    rows=rows,
    losses=losses,
    runs=described,
    main_run='rpt',
    measures={measures.SUCCESS.name: measures.SUCCESS},
    unseen=UNSEEN,
    rollouts=rollouts(rng),
    notes=('All numbers on this page are made up.',),
  )


if __name__ == '__main__':
  print(page.write(sys.argv[1], content()))
