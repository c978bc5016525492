"""Windows a second out of the stream store, against peers that hold all rows.

100,000 clips of 10 steps, 384 numbers of float16 each (768 MB on disk, read
once before, so that it is the system that has them in memory); batches of 256
windows of 16 steps that end at any step, with the mask of what is in the clip.
One thread each; windows of a second of processor time.
"""

import bisect
import tempfile
import time

import numpy as np

from rpt_jax.episodes import loader, stack, windows

CLIPS, STEPS, WIDTH, CONTEXT, BATCH = 100_000, 10, 384, 16, 256
_SECONDS = 4.0


def run():
  """Windows per second of our loader and of theirs."""
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    path = f'{folder}/latent.npy'
    shape = CLIPS * STEPS, WIDTH
    x_ND = np.lib.format.open_memmap(path, 'w+', np.float16, shape)
    for start in range(0, len(x_ND), 50_000):
      x_ND[start : start + 50_000] = rng.normal(size=(50_000, WIDTH))
    ours = _ours(stack.Stack([stack.File(path)]))
    yield _row('ours in memory', ours, _ours(np.array(x_ND)))
    yield _row('torch DataLoader, in memory', ours, _torch(np.array(x_ND)))
    yield _row('TensorStore, zarr3', ours, _tensorstore(x_ND, folder))


def _row(peer, ours, rate):
  return {
    'name': f'windows from the store (peer: {peer})',
    'ours': ours,
    'peer': rate,
    'ratio': ours / rate,
    'target': 1.0 if 'torch' in peer else None,
  }


def _rate(batch_at):
  """Windows a second of processor time."""
  batch_at(0)
  step, began = 0, time.process_time()
  while time.process_time() - began < _SECONDS:
    step += 1
    batch_at(step)
  return step * BATCH / (time.process_time() - began)


def _ours(x_ND):
  table = windows.Table(np.full(CLIPS, STEPS), CONTEXT, lead=CONTEXT - 1)
  order = loader.Order(table.size, BATCH, 0)
  return _rate(loader.window_batches({'latent': x_ND}, table, CONTEXT, order))


def _torch(x_ND):
  import torch

  torch.set_num_threads(1)
  latent_ND = torch.from_numpy(x_ND)
  stops = list(range(STEPS, len(x_ND) + 1, STEPS))

  class Windows(torch.utils.data.Dataset):
    def __len__(self):
      return len(latent_ND)

    def __getitem__(self, i):
      low = stops[bisect.bisect_right(stops, i)] - STEPS
      rows = torch.arange(i - CONTEXT + 1, i + 1)
      latent = latent_ND[rows.clamp(min=low)]
      return {'latent': latent, 'valid': rows >= low}

  batches = iter(
    torch.utils.data.DataLoader(Windows(), batch_size=BATCH, shuffle=True)
  )
  return _rate(lambda step: next(batches))


def _tensorstore(x_ND, folder):
  import tensorstore

  inner = [{'name': 'bytes', 'configuration': {'endian': 'little'}}]
  sharding = {'chunk_shape': [64, WIDTH], 'codecs': inner}
  codec = {'name': 'sharding_indexed', 'configuration': sharding}
  grid = {'chunk_shape': [16_384, WIDTH]}
  store = tensorstore.open(
    {
      'driver': 'zarr3',
      'kvstore': {'driver': 'file', 'path': f'{folder}/latent.zarr'},
      'metadata': {
        'shape': list(x_ND.shape),
        'data_type': 'float16',
        'chunk_grid': {'name': 'regular', 'configuration': grid},
        'codecs': [codec],
      },
    },
    create=True,
    context=tensorstore.Context(
      {
        'data_copy_concurrency': {'limit': 1},
        'file_io_concurrency': {'limit': 1},
      }
    ),
  ).result()
  for start in range(0, len(x_ND), 16_384):
    stop = min(start + 16_384, len(x_ND))
    store[start:stop].write(x_ND[start:stop]).result()
  table = windows.Table(np.full(CLIPS, STEPS), CONTEXT, lead=CONTEXT - 1)
  order = loader.Order(table.size, BATCH, 0)

  def batch_at(step):
    rows_BT, valid_BT = windows.rows(table.take(order(step)), CONTEXT)
    latent = store[rows_BT.ravel()].read().result()
    return {'latent': latent.reshape(*rows_BT.shape, -1), 'valid': valid_BT}

  return _rate(batch_at)
