"""Behaviour cloning on few demonstrations, all seeds of a cell at once.

A cell is (run, method, demonstrations), for each domain. Methods: `scratch`
(the same trunk, untrained), `probe` (pretrained, frozen, a linear action head),
`finetune` (everything but the image model trains), `head_first` (a probe, and
then that) and `tuned` (from there on part of the image model, too:
`learning/tuning.py`). Seeds differ in which demonstrations they get, in what is
initialised, and in the order of windows; cells share them, so that differences
between methods are paired.

Beside them, where a config asks for it, values are learned from recorded
episodes and go on online (`learning/offline_to_online.py`), and policies are
deployed and learn from that (`learning/deploying.py`).
"""

import functools

import jax
import numpy as np

from rpt_jax import domains, files, results
from rpt_jax.learning import (
  cells,
  deploying,
  encoders,
  looks,
  offline_to_online,
  training,
  two_at_once,
)
from rpt_jax.learning.policies import Policies, path
from rpt_jax.learning.runs import Runs
from rpt_jax.training import checkpoint, distributed


def run(config, inputs, directory):
  """Write `<domain>/<cell>.safetensors`, [S, ...] each; rows: final losses.

  `<domain>/<cell>.json` has the losses and comes last: a killed stage goes on
  at the first cell without it.
  """
  c = config.finetune
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  policies = Policies(c, runs, inputs | {'finetune': directory})
  every, rows = domains.of(config), []
  encoder = None
  if c.tuned.modes:
    encoder = encoders.load(config.encoder, config.encode, inputs, every)
  learner = training.Learner(
    policies, every, encoder, config.mesh.sizes, config.seed
  )
  domains.say_left_out(every)
  for domain in domains.acting(every):
    train = functools.partial(_train, learner, domain, directory)
    every_cell = cells.cells(c, runs)
    for cell, losses in zip(
      every_cell, two_at_once.each(train, every_cell), strict=True
    ):
      rows.append(_loss_row(domain, cell, losses))
  if c.critic and distributed.is_first():
    rows += offline_to_online.rows(c.critic, config.seed, directory)
  if c.deploy and distributed.is_first():
    rows += deploying.rows(c.deploy, config.seed, directory)
  return rows


def _train(learner, domain, directory, cell):
  """Writes the policies of a cell where that is not done; their losses."""
  done = path(directory, domain.name, cell).with_suffix('.json')
  if distributed.agree(not done.exists()):
    params_S, loss_S, seen = learner.fit(domain, cell)
    _check_finite(domain, cell, params_S, loss_S)
    checkpoint.save_params(path(directory, domain.name, cell), params_S)
    if distributed.is_first():
      if seen is not None:
        looks.save(path(directory, domain.name, cell), seen)
      files.write_json(done, np.asarray(loss_S, float).tolist())
    distributed.wait(f'{domain.name} {cell.name}')
  return files.read_json(done, kind=list)


def _check_finite(domain, cell, params_S, loss_S):
  """Raises FloatingPointError for a policy that no longer is one."""
  if all(np.isfinite(x).all() for x in (loss_S, *jax.tree.leaves(params_S))):
    return
  section = f'eyes.{cell.eyes}' if cell.eyes else cell.method
  raise FloatingPointError(
    f'{domain.name} {cell.name}: its training came to what is not finite and '
    f'is not kept; lower config.finetune.{section}.learning_rate'
  )


def _loss_row(domain, cell, losses):
  loss, tags = float(np.mean(losses)), cell.tags | {'env': domain.name}
  print(f'  {domain.name} {cell.name}: loss {loss:.4f}', flush=True)
  names = results.Finetune
  return results.row(names.STAGE, names.LOSS, loss, seeds=len(losses), **tags)
