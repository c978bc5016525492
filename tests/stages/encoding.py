"""Small datasets for the tests of encode, and runs of it to kill or to weigh.

python -m tests.stages.encoding kill <data> <workdir> <workers> <moment>
python -m tests.stages.encoding soak <directory> <workers> <episodes>
"""

import hashlib
import json
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from rpt_jax import files, settings
from rpt_jax.domains.recorded import Recorded
from rpt_jax.episodes import store
from rpt_jax.learning import checks
from rpt_jax.stages import collect, encode
from rpt_jax.training import memory
from tests import commands

ROOT = pathlib.Path(__file__).parents[2]
LENGTHS = (7, 12, 5, 9, 11, 6, 8, 10)
CAMERAS = {'image': (24, 32, 3), 'wrist': (16, 16, 3)}


def write_episodes(folder, lengths=LENGTHS):
  """`.npz` episodes of two cameras and actions, always the same."""
  folder.mkdir(parents=True)
  for i, length in enumerate(lengths):
    rng = np.random.default_rng(i)
    frames = {
      k: rng.integers(0, 256, (length, *shape), np.uint8)
      for k, shape in CAMERAS.items()
    }
    action = rng.normal(size=(length, 2))
    np.savez(folder / f'{i:03d}.npz', action=action, **frames)
  return folder


def spoil(path, key='image'):
  """Damages one array of an `.npz`; the others can still be read."""
  with zipfile.ZipFile(path) as archive:
    start = archive.getinfo(f'{key}.npy').header_offset
  content = bytearray(path.read_bytes())
  content[start + 500] ^= 0xFF
  path.write_bytes(bytes(content))


def config(
  data,
  *,
  encoder='pixels',
  cameras=('image',),
  action_column='action',
  **changes,
):
  """The config of collect and encode on one dataset, `toy`."""
  mapping = {c: c for c in cameras}
  if action_column:
    mapping['action'] = action_column
  dataset = {'path': str(data), 'cameras': cameras, 'mapping': mapping}
  config = settings.base(encoder=encoder)
  config.domains.toy = settings.plugin('domains', 'recorded', **dataset)
  config.encode.update(output='grid2', batch_size=16, ahead=2)
  config.encode.update(shard_frames=15, error_budget=0.4)
  config.encode.update(changes)
  return config


def experiment(data, **changes):
  """What `config` means, checked."""
  return checks.experiment(config(data, **changes))


def run(config, workdir):
  """Both stages in `workdir`, what is there already kept; encode's rows."""
  inputs = {'collect': workdir / 'collect'}
  if not inputs['collect'].exists():
    collect.run(config, {}, inputs['collect'])
  return encode.run(config, inputs, workdir / 'encode')


def latents(workdir, split='pretrain'):
  """(latents [N, D], lengths) of a split that was encoded."""
  clips = store.load(workdir / 'encode/toy' / split, ('latent',))
  return clips.arrays['latent'][:], clips.lengths.tolist()


def killed_at_the_second(monkeypatch, writer, run):
  """Runs what dies before `store.<writer>` writes a second shard."""
  write, begun = getattr(store, writer), []

  def writing(*arguments):
    begun.append(1)
    if len(begun) == 2:
      raise KeyboardInterrupt
    write(*arguments)

  with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
    patched.setattr(store, writer, writing)
    run()


def contents(directory):
  """{file: sha256} of all there is."""
  return {
    path.relative_to(directory).as_posix(): hashlib.sha256(
      path.read_bytes()
    ).hexdigest()
    for path in directory.rglob('*')
    if path.is_file()
  }


def start(*arguments):
  """This file as a program on one device, its output to be read."""
  flags = {'XLA_FLAGS': commands.QUICKLY, 'OMP_NUM_THREADS': '1'}
  command = [
    sys.executable,
    '-m',
    'tests.stages.encoding',
    *map(str, arguments),
  ]
  return subprocess.run(
    command,
    cwd=ROOT,
    env=os.environ | flags,
    capture_output=True,
    text=True,
    check=False,
    timeout=500,
  )


class Synthetic:
  """Episodes of 40 frames of 96x96 pixels, made when they are read."""

  def __init__(self, size):
    self.lengths = np.full(size, 40)

  def __len__(self):
    return len(self.lengths)

  def read(self, index, fields):
    frames = np.random.default_rng(index).bytes(40 * 96 * 96 * 3)
    frames = np.frombuffer(frames, np.uint8).reshape(40, 96, 96, 3)
    return {field: frames for field in fields}


def kill(data, workdir, workers, moment):
  """Encodes, prints its workers' ids and dies at the second shard.

  `moment`: 'before' anything of it is written, or 'between' it and its entry.
  """
  write_shard, write_json, shards = store.write_shard, files.write_json, []

  def die():
    ids = [child.pid for child in multiprocessing.active_children()]
    print(json.dumps(ids), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

  def writing(directory, shard, *arguments):
    shards.append(shard)
    if len(shards) == 2 and moment == 'before':
      die()
    write_shard(directory, shard, *arguments)

  def noting(path, value):
    if len(shards) == 2 and moment == 'between':
      die()
    write_json(path, value)

  store.write_shard, files.write_json = writing, noting
  run(experiment(data, workers=int(workers)), pathlib.Path(workdir))


def soak(directory, workers, episodes):
  """Encodes many episodes and prints the memory in MiB after each shard."""
  memory.keep_freed_memory()
  write_shard, sizes = store.write_shard, []

  def weighing(*arguments):
    write_shard(*arguments)
    pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
    sizes.append(int(pages) * os.sysconf('SC_PAGE_SIZE') / 2**20)

  store.write_shard = weighing
  Recorded.source = lambda domain, collected, split: Synthetic(
    int(episodes) if split == 'pretrain' else 1
  )
  how = {'workers': int(workers), 'batch_size': 32, 'shard_frames': 160}
  read = settings.read(settings.Experiment, config('nowhere', **how))
  directory = pathlib.Path(directory)
  encode.run(read, {'collect': directory}, directory / 'encode')
  print(json.dumps(sizes))


if __name__ == '__main__':
  {'kill': kill, 'soak': soak}[sys.argv[1]](*sys.argv[2:])
