"""How long a step waits for its state to be saved, and a start for it.

A state of 100 million float32 parameters with both moments of Adam, 1.2 GB; 3
turns each. `ours` copies it and writes, hashes and seals it while training goes
on; peers are written before they return: the same by Orbax alone, which hashes
nothing, and by torch.save. Restoring reads all files twice here: once for their
hashes. What a save takes of the cores meanwhile is not seen in its stall.
"""

import functools
import pathlib
import shutil
import statistics
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import torch

from rpt_jax.training.checkpoint import Checkpoints

LAYERS, WIDTH, TURNS = 25, 2000, 3


def run():
  """Rows of stalls and restores."""
  keys = iter(jax.random.split(jax.random.key(0), 3 * LAYERS))
  state = {
    kind: {
      f'layer_{i}': jax.random.normal(next(keys), (WIDTH, WIDTH))
      for i in range(LAYERS)
    }
    for kind in ('params', 'mean', 'square')
  }
  tensors = jax.tree.map(lambda x: torch.tensor(np.asarray(x)), state)
  seconds = {}
  with tempfile.TemporaryDirectory() as folder:
    for turn in range(TURNS):
      for measure in (_ours, _orbax, functools.partial(_torch, tensors)):
        place = pathlib.Path(folder) / str(turn)
        for what, took in measure(place, state).items():
          seconds.setdefault(what, []).append(took)
        shutil.rmtree(place)
  median = {what: statistics.median(took) for what, took in seconds.items()}
  for ours, peer, target in (
    ('stall', 'whole', 1 / 0.15),
    ('stall', 'Orbax saves', None),
    ('stall', 'torch saves', None),
    ('whole', 'Orbax saves', None),
    ('restored', 'Orbax restores', None),
    ('restored', 'torch loads', None),
  ):
    yield {
      'name': f'a state of 1.2 GB, {ours} (peer: {peer})',
      'ours': median[ours],
      'peer': median[peer],
      'ratio': median[peer] / median[ours],
      'target': target,
    }


def _ours(place, state):
  checkpoints, began = Checkpoints(place), time.perf_counter()
  checkpoints.save(1, state)
  stalled = time.perf_counter() - began
  checkpoints.settle()
  whole, began = time.perf_counter() - began, time.perf_counter()
  jax.block_until_ready(checkpoints.restore(state))
  restored = time.perf_counter() - began
  checkpoints.close()
  return {'stall': stalled, 'whole': whole, 'restored': restored}


def _orbax(place, state):
  with ocp.StandardCheckpointer() as checkpointer:
    began = time.perf_counter()
    checkpointer.save(place, state)
    checkpointer.wait_until_finished()
    saved, began = time.perf_counter() - began, time.perf_counter()
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    jax.block_until_ready(checkpointer.restore(place, shapes))
    restored = time.perf_counter() - began
  return {'Orbax saves': saved, 'Orbax restores': restored}


def _torch(tensors, place, state):
  del state
  place.mkdir()
  began = time.perf_counter()
  torch.save(tensors, place / 'state.pt')
  saved, began = time.perf_counter() - began, time.perf_counter()
  torch.load(place / 'state.pt', weights_only=True)
  return {'torch saves': saved, 'torch loads': time.perf_counter() - began}
