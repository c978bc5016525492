"""A made-up experiment of Meta-World's shape, to look at the page with.

`python -m tests.reporting.fake_success OUT.html` writes it. No number here was
measured.
"""

import sys

import numpy as np

try:
  from fake import clip, row
except ImportError:  # As a module of the package.
  from tests.reporting.fake import clip, row

from rpt_jax.reporting import frames, page

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
SEEDS, EPISODES = 3, 50
CELLS = (
  ('none', 'scratch', 10), ('none', 'scratch', 50),
  ('rpt', 'probe', 10), ('rpt', 'probe', 50),
  *((run, 'finetune', 10) for run in RUNS), ('rpt', 'finetune', 50),
)  # fmt: skip


def rates():
  """(env, run, method, demos) -> success rate, groups included."""
  found = {}
  for run, method, demos in CELLS:
    gain = RUNS.get(run, 0.0) - (0.2 if method == 'probe' else 0.0)
    more = 0.25 if demos == 50 else 0.0
    each = [
      min(1.0, max(0.0, 0.45 + 0.12 * e - 0.2 * (e == 3) + gain + more))
      for e in range(len(TASKS))
    ]
    each = dict(zip(TASKS, each, strict=True))
    each['all'] = sum(each[task] for task in SEEN) / len(SEEN)
    each['unseen'] = each[UNSEEN[0]]
    found |= {(env, run, method, demos): x for env, x in each.items()}
  return found


def control_rows(seeds=SEEDS):
  rows, known = [], rates()
  for (env, run, method, demos), rate in known.items():
    tags = {'env': env, 'run': run, 'method': method, 'demos': demos}
    tags |= {'encoder': 'frozen', 'episodes': EPISODES}
    around = [max(0.0, rate - 0.08), min(1.0, rate + 0.08)]
    if env in TASKS:
      total = tags | {'episodes': seeds * EPISODES}
      rows.append(row('control', 'success', rate, around, seeds, **total))
    rows.append(row('control', 'score', rate, around, seeds, **tags))
    if run != 'none':
      gain = rate - known[env, 'none', 'scratch', demos]
      rows.append(row('control', 'paired_difference', gain,
                      [gain - 0.07, gain + 0.07], seeds, **tags))  # fmt: skip
  for question, (run, other) in QUESTIONS.items():
    for env in ('all', 'unseen', *TASKS):
      gain = known[env, run, 'finetune', 10] - known[env, other, 'finetune', 10]
      half = 0.05 if env == 'all' else 0.09
      tags = {'run': run, 'other': other, 'method': 'finetune', 'demos': 10}
      rows.append(row('control', 'comparison', gain, [gain - half, gain + half],
                      seeds, env=env, question=question, **tags))  # fmt: skip
  return rows


def pretrain_rows():
  rows = []
  for i, run in enumerate(RUNS):
    kind = 'linear' if run == 'next' else 'interpolation'
    for env in ({}, {'env': SEEN[0]}):
      tags = {'run': run} | env
      rows.append(row('pretrain', 'loss', 1.1, **tags))
      if run != 'next':
        rows.append(row('pretrain', 'masked_fraction', 0.8, **tags))
      for s, stream in enumerate(STREAMS):
        values = {'error': 0.03 * (s + 1 + i), 'copy_last': 0.2, kind: 0.13}
        rows += [
          row('pretrain', f'{name}/{stream}', value, **tags)
          for name, value in values.items()
        ]
  tags = {'run': 'units'}
  rows.append(row('pretrain', 'error/unit', 0.4, **tags))
  rows.append(row('pretrain', 'wrong/unit', 0.5, **tags))
  rows.append(row('pretrain', 'copy_last/unit', 0.45, **tags))
  return rows


def collect_rows():
  rows = []
  for task in TASKS:
    splits = ('demos',) if task in UNSEEN else ('pretrain', 'heldout', 'demos')
    for split in splits:
      tags = {'env': task, 'split': split}
      rows += [
        row('collect', 'episodes', 50, **tags),
        row('collect', 'frames', 700, **tags),
        row('collect', 'steps_per_episode', 14, **tags),
        row('collect', 'kept', 0.96, [0.9, 0.99], episodes=52, **tags),
      ]
  return rows


def rollouts(rng):
  known = rates()
  return [
    frames.Rollout(
      clip(rng, 24, 0.2), task, method, 10, known[task, run, method, 10],
      80 / 5, 'succeeded' if i else 'failed',
    )
    for task in TASKS
    for i, (run, method) in enumerate(
      (('none', 'scratch'), ('rpt', 'probe'), ('rpt', 'finetune'))
    )
  ]  # fmt: skip


def content():
  rng = np.random.default_rng(0)
  rows = [*collect_rows(), *pretrain_rows(), *control_rows()]
  rows.append(row('control', 'seconds', 812, kind='cost'))
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
    unseen=UNSEEN,
    rollouts=rollouts(rng),
    notes=('All numbers on this page are made up.',),
  )


if __name__ == '__main__':
  print(page.write(sys.argv[1], content()))
