"""Policies in Meta-World, closed loop: how often do they succeed?

Every seed of a cell plays its own episodes, and all cells meet the same ones.
Writes `<task>/<cell>.npz`, one as soon as it is played: a killed evaluation
goes on at the next cell. Also `<task>/policy`: of the seeds fine-tuned on most
demonstrations the first one's policy, as `policy.Policy.load` reads it.

Rows: `success` over all seeds with its Wilson interval; `score`, differences
to scratch and comparisons of pretraining runs, with intervals over seeds and
episodes, for tasks seen in pretraining ('all') and unseen ones.
"""

import functools
import os

import numpy as np

from rpt_jax.envs import simulators
from rpt_jax.evals import statistics
from rpt_jax.stages import (
  domains,
  encode,
  experts,
  pipeline,
  policies,
  scores,
  sensorimotor,
  shared,
)
from rpt_jax.stages.finetune import cells

_OPTIONS = {'statistic': np.mean, 'episodes': True}


def run(config, inputs, directory):
  """Play all cells in all tasks; rows: success, differences, comparisons."""
  eye = encode.load_model(config, inputs)
  found = {}
  for name in domains.tasks(config):
    missing = [
      c for c in cells(config) if not _path(directory, name, c).exists()
    ]
    if missing:
      _play(config, inputs, directory, name, missing, eye)
    for cell in cells(config):
      with np.load(_path(directory, name, cell)) as played:
        found[name, cell] = played['success']
  c = config.metaworld
  known = found, {'all': c.tasks, 'unseen': c.unseen}
  return [
    *_success_rows(found),
    *scores.score_rows('control', *known, **_OPTIONS),
    *scores.difference_rows('control', *known, **_OPTIONS),
    *scores.comparison_rows(
      'control',
      *known,
      config.evaluate.comparisons,
      config.finetune.run_demos,
      **_OPTIONS,
    ),
  ]


def check(config) -> None:
  """Raise ValueError where policies could not be played or compared."""
  if not sensorimotor.wanted(config):
    raise ValueError(
      'config.pretrain: found no streams, but policies of Meta-World see '
      'streams; give config.pretrain.streams, or no config.finetune'
    )
  policies.execution(config)
  if config.evaluate.episodes < 2:
    raise ValueError(
      f'config.evaluate.episodes: found {config.evaluate.episodes}; intervals '
      'need at least 2'
    )
  demos, known = config.finetune.run_demos[0], cells(config)
  for question, pair in config.evaluate.comparisons.items():
    if len(pair) != 2 or any(
      scores.compared(each, demos) not in known for each in pair
    ):
      raise ValueError(
        f'config.evaluate.comparisons: {question!r} has {tuple(pair)}, '
        f"expected two of {sorted(config.pretrain.runs)}, '<main run>:probe' "
        "and 'none:scratch'"
      )


def _path(directory, name, cell):
  return directory / name / f'{cell.name}.npz'


def _play(config, inputs, directory, name, todo, eye):
  """Writes the outcome of cells: success and steps [S, episodes], a film."""
  episodes, workers = config.evaluate.episodes, config.metaworld.workers
  first = experts.first_seed(config, experts.EVALUATION)
  settings = experts.settings(config)
  with simulators.Simulators(name, settings, episodes, workers) as lanes:
    for cell in todo:
      made = policies.build(config, inputs, name, cell, eye)
      kept, played = None, []
      for seed, acting in enumerate(made):
        kept = kept or acting
        acting.reset(episodes)
        seeds = range(first + seed * episodes, first + (seed + 1) * episodes)
        act = functools.partial(_act, acting)
        outcome = simulators.play(lanes, act, seeds, films=not seed)
        played.append(outcome)
      success = np.stack([p.success_N for p in played])
      if cell == policies.exported(config):
        rows = _success_rows({(name, cell): success})
        told = shared.policy(config, kept.model, name, cell, rows)
        kept.save(directory / name / 'policy', **told)
      _write(_path(directory, name, cell), played)
      rate, low, high = statistics.wilson(int(success.sum()), success.size)
      print(
        f'  {name} {cell.name}: success {rate:.2f} [{low:.2f}, {high:.2f}]',
        flush=True,
      )


def _write(path, played):
  """One cell, whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_name(f'{path.stem}.partial.npz')
  np.savez_compressed(
    partial,
    success=np.stack([outcome.success_N for outcome in played]),
    steps=np.stack([outcome.steps_N for outcome in played]),
    film=played[0].films[0],
  )
  os.replace(partial, path)


def _act(acting, observation):
  """The policy's action on what it is to see of an observation."""
  return acting.act({name: observation[name] for name in acting.observed})


def _success_rows(found):
  """Successes of all seeds' episodes, a row a cell and task."""
  rows = []
  for (name, cell), success_SN in found.items():
    count = success_SN.size
    rate, *interval = statistics.wilson(int(success_SN.sum()), count)
    tags = cell._asdict() | {'env': name, 'episodes': count}
    seeds = len(success_SN)
    rows.append(
      pipeline.row('control', 'success', rate, interval, seeds, **tags)
    )
  return rows
