"""A tiny training that meets its faults: a program for the tests to start.

python -m tests.faults.job <directory> <steps> <seconds a step> <step>:<fault>
"""

import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax.models.transformer import SHARDING
from rpt_jax.training import (
  checkpoint,
  distributed,
  loop,
  optimizer,
  sharding,
  trainer,
)
from tests import commands
from tests.training import tiny

ROOT = pathlib.Path(__file__).parents[2]
EVERYWHERE = {'data': -1, 'fsdp': 1, 'tensor': 1}


def make(mesh, steps=tiny.STEPS):
  """The trainer of the tiny regression; one kernel is sharded by the rules."""

  def init(key):
    sharded = {'up': {'kernel': jax.random.normal(key, (1, 4, 2))}}
    layer = {'kernel': jnp.ones((4, 2)), 'bias': jnp.zeros(2)}
    return {'layer': layer, 'blocks': sharded}

  tx = optimizer.adamw(0.2, steps)
  return trainer.make(init, tiny.loss_fn, tx, mesh, rules=SHARDING)


def train(
  directory,
  mesh,
  steps=tiny.STEPS,
  before=lambda index: None,
  stop=None,
  seed=0,
):
  """(state, rows) at step `stop` (None: at the end), `before(step)` called."""
  trained = make(mesh, steps)

  def step(state, batch):
    before(int(state.step))
    return trained.step(state, batch)

  def batch_at(index):
    whole = tiny.batch_at(index)
    size = len(whole['x'])
    rows = sharding.local_rows(size, mesh)
    mine = {name: x[rows] for name, x in whole.items()}
    return sharding.shard_batch(mine, mesh, size)

  return loop.fit(
    lambda: trained.init(jax.random.key(seed)),
    trained.shapes,
    step,
    batch_at,
    stop or steps,
    directory=directory,
    saving=tiny.SAVING,
    label='tiny',
  )


def kill(*_, name='SIGKILL'):
  os.kill(os.getpid(), getattr(signal, name))


def kill_when_there(path):
  """Kills this process as soon as a save has made `path`."""
  while not path.exists():
    pass
  kill()


def seal_nothing_after(path):
  """Saves are not sealed once `path` is: they wait for ever."""
  while not path.exists():
    pass
  checkpoint.files.write_json = lambda *_: time.sleep(3600)


def free_disk():
  """Files may be written again, once those of a save have failed."""
  time.sleep(2.0)
  limit_files(resource.RLIM_INFINITY)


def limit_files(size):
  """What is written beyond `size` bytes fails, as on a full disk."""
  hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


FAULTS = {
  'killed': lambda directory: kill(),
  'SIGTERM': lambda directory: kill(name='SIGTERM'),
  'killed while writing 8': lambda directory: kill_when_there(
    directory / 'checkpoints' / '8'
  ),
  'killed before the manifest': lambda directory: setattr(
    checkpoint.files, 'write_json', kill
  ),
  'killed once 8 is whole': lambda directory: kill_when_there(
    directory / 'checkpoints' / '8' / checkpoint.MANIFEST
  ),
  'disk full': lambda directory: limit_files(100),
  'disk freed': lambda directory: free_disk(),
  'nothing sealed after 4': lambda directory: seal_nothing_after(
    directory / 'checkpoints' / '4' / checkpoint.MANIFEST
  ),
}


def main():
  """Trains; the last process of a job meets the faults."""
  directory, steps, seconds, *faults = sys.argv[1:]
  directory = pathlib.Path(directory)
  distributed.initialize()
  last = jax.process_index() == jax.process_count() - 1

  def before(index):
    time.sleep(float(seconds))
    for at, _, fault in (f.partition(':') for f in faults):
      if last and index == int(at):
        FAULTS[fault](directory)

  mesh = sharding.make_mesh(EVERYWHERE)
  state, _ = train(directory, mesh, int(steps), before)
  if distributed.is_first():
    leaves = jax.tree.leaves((state.params, state.opt_state))
    np.savez(directory / 'end.npz', *map(np.asarray, leaves))


def start(directory, *faults, steps=tiny.STEPS, seconds=0.0, **environment):
  """This program on one device, begun."""
  arguments = [sys.executable, '-m', 'tests.faults.job', directory, steps]
  return subprocess.Popen(
    [*map(str, arguments), str(seconds), *faults],
    cwd=ROOT,
    env=os.environ | {'XLA_FLAGS': ''} | environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process):
  """(exit code, its output, its errors)."""
  output, errors = process.communicate(timeout=300)
  return process.returncode, output, errors


def run(directory, *faults, **settings):
  """`finish` of `start`."""
  return finish(start(directory, *faults, **settings))


def start_of(count, directory, *faults, processes=None, **settings):
  """Some (None: all) of the `count` processes of a job."""
  where = commands.places(count)
  return [
    start(
      directory,
      *faults,
      **settings,
      **where[index],
      RPT_JAX_JOIN_SECONDS='60' if processes is None else '3',
      RPT_JAX_HEARTBEAT_SECONDS='10',
    )
    for index in (range(count) if processes is None else processes)
  ]


if __name__ == '__main__':
  main()
