"""A process of two that fit and assign units of one store, and train on it.

    python -m tests.units.shared_reading <path of a .npy [N, D]>

Prints a line of JSON: rows that this process has read for each, and a sum of
what came of it. Where it is to join is said by RPT_JAX_* (`distributed`).
"""

import json
import sys

import jax
import numpy as np

from rpt_jax.episodes import loader, stack, windows
from rpt_jax.training import distributed, sharding
from rpt_jax.units import kmeans

STEPS, CONTEXT, BATCH, BATCHES = 10, 8, 64, 20


class Counted(stack.File):
  """A file that knows how many of its rows were read."""

  rows = 0

  def _fill(self, out, low, sizes):
    self.rows += sum(sizes) // self._width
    super()._fill(out, low, sizes)

  def _read_bytes(self, place, view):
    self.rows += len(view) // self._width
    super()._read_bytes(place, view)


def main(path):
  distributed.initialize()
  mesh = sharding.make_mesh({'data': -1, 'fsdp': 1, 'tensor': 1})
  file, told = Counted(path), {}

  def after(what, value):
    told[what] = {'rows': file.rows, 'sum': float(np.sum(value))}
    file.rows = 0

  key, stored = jax.random.key(0), stack.Stack([file])
  for batch_size in (0, 8192):
    how = {'batch_size': batch_size, 'max_no_improvement': 0, 'restarts': 1}
    how |= {'max_iterations': 3, 'precision': 'float32', 'mesh': mesh}
    codebook = kmeans.fit(stored, 8, key, **how)
    after(f'fit {batch_size}', codebook.c_KD)
  codebook = jax.device_get(codebook)
  n_N = kmeans.assign(codebook, stored, precision='float32', mesh=mesh)
  after('assign', n_N)
  here_MD = jax.numpy.asarray(stored[:1000])
  file.rows = 0
  n_M = kmeans.assign(codebook, here_MD, precision='float32', mesh=mesh)
  after('assign what is here', n_M)
  lengths = np.full(len(file) // STEPS, STEPS)
  table = windows.Table(lengths, CONTEXT)
  rows = sharding.local_rows(BATCH, mesh)
  order = loader.Order(table.size, BATCH, 0, rows)
  batch_at = loader.window_batches({'x': stored}, table, CONTEXT, order)
  batches = [
    sharding.shard_batch(batch_at(i), mesh, BATCH)['x'].sum()
    for i in range(BATCHES)
  ]
  after('windows', [float(x) for x in batches])
  distributed.wait('the end')
  print(json.dumps(told), flush=True)


if __name__ == '__main__':
  main(sys.argv[1])
