"""The stages on 1,000, 10,000 and 100,000 episodes: memory, start, seconds.

    python -m tests.size [episodes ...] [--keep=<folder>]

Every number of episodes is a LeRobot dataset of one file (10 steps an episode),
indexed and labelled by the stages themselves, with 768-d latents written into
the store as `encode` would have. Each stage then runs in a process of its own,
whose peak resident memory it is; of trainings it is told which share of their
time they waited for data. Policies of 100,000 episodes are not judged, which
would take ten minutes: they act in each of the held-out ones. Takes about 8
minutes and 3 GiB of disk.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np

from rpt_jax import settings
from tests.episodes.formats import test_lerobot

EPISODES = 1_000, 10_000, 100_000
STEPS, WIDTH = 10, 768  # As many as the image model `pixels` gives.
JUDGED = 10_000
STAGES = (
  *('collect', 'label', 'quantize', 'pretrain', 'probe', 'finetune'),
  'evaluate',
)


def config(folder: pathlib.Path):
  """Units by two recipes, a run on them and policies, all short."""
  c = settings.base('quantize', 'pretrain', 'finetune')
  c.domains.many = settings.plugin(
    'domains',
    'recorded',
    path=str(folder / 'data'),
    cameras=('front',),
    mapping={
      'front': 'observation.images.front',
      'state': 'observation.state',
      'action': 'action',
    },
  )
  c.encoder = 'pixels'
  c.quantize.update(num_clusters=100, batch_size=4096, max_no_improvement=0)
  c.quantize.max_iterations = 1
  c.quantize.recipes = settings.recipes(
    raw=(), whitened=('clip_mean', 'delta:1', 'whiten:64')
  )
  objective = settings.plugin('objectives', 'next_units')
  run = {'objective': objective, 'recipe': 'raw', 'targets': ('unit',)}
  c.pretrain.runs = {'next': settings.section(settings.Run, **run)}
  c.pretrain.update(main='next', width=192, steps=100, batch_size=64)
  c.pretrain.trunk.depth = 4
  c.finetune.update(seeds=2, demos=(4,), batch_size=16)
  settings.all_methods(c.finetune, steps=20)
  return c


def write(folder: pathlib.Path, episodes: int) -> None:
  """The dataset, and latents of it as if they had been encoded."""
  from rpt_jax.episodes import store

  test_lerobot.write_many(folder / 'data', episodes, STEPS)
  info = folder / 'data/meta/info.json'
  about = json.loads(info.read_text())
  camera = {'dtype': 'video', 'shape': [64, 64, 3], 'names': None}
  about['features']['observation.images.front'] = camera
  about['video_path'] = 'videos/{video_key}/{file_index}.mp4'  # Never opened.
  info.write_text(json.dumps(about))
  rng, heldout = np.random.default_rng(0), round(0.25 * episodes)
  for split, count in (('pretrain', episodes - heldout), ('heldout', heldout)):
    place = folder / 'encode' / 'many' / split
    shards = store.plan([STEPS] * count, 20_000)
    for shard in shards:
      own = dict.fromkeys(range(shard.start, shard.stop), STEPS)
      shape = len(own) * STEPS, WIDTH
      latent_ND = rng.normal(size=shape).astype(np.float16)
      store.write_arrays(place, shard, {'latent': latent_ND}, own, {})
    store.seal(place, store.finished(place, shards))


def run(folder: pathlib.Path, stage: str) -> None:
  """Runs one stage in this process and prints what it took."""
  import importlib

  from rpt_jax.learning import checks
  from rpt_jax.stages.plan import plan
  from rpt_jax.training import memory

  memory.keep_freed_memory()
  began = time.perf_counter()
  read = checks.experiment(config(folder))
  (planned,) = [each for each in plan(read) if each.name == stage]
  start = time.perf_counter() - began
  verb = importlib.import_module(f'rpt_jax.stages.{stage}')
  inputs = {name: folder / name for name in (*STAGES, 'encode')}
  began = time.perf_counter()
  verb.run(planned.config, inputs, folder / stage, **planned.arguments)
  seconds = time.perf_counter() - began
  # That of getrusage begins with what the process had that started this one.
  status = pathlib.Path('/proc/self/status').read_text()
  peak = int(re.search(r'VmHWM:\s*(\d+) kB', status)[1]) / 1024
  print(json.dumps({'start': start, 'seconds': seconds, 'mebibytes': peak}))


def measure(folder: pathlib.Path, episodes: int) -> dict[str, dict]:
  """{stage: what it took}, one process after the other."""
  write(folder, episodes)
  took = {}
  for stage in STAGES if episodes <= JUDGED else STAGES[:-1]:
    command = [sys.executable, '-m', 'tests.size', 'run', str(folder), stage]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      raise SystemExit(f'{stage} of {episodes}:\n{done.stderr[-3000:]}')
    took[stage] = json.loads(done.stdout.splitlines()[-1])
    about = took[stage]
    waits = re.findall(r'wait (\d+)%', done.stdout)
    waited = f', data waited for {waits[-1]} %' if waits else ''
    print(
      f'{episodes:7} {stage:9} start {about["start"]:5.2f} s, then '
      f'{about["seconds"]:7.2f} s, {about["mebibytes"]:6.0f} MiB at most'
      f'{waited}',
      flush=True,
    )
  return took


def main(arguments):
  keep = [a.removeprefix('--keep=') for a in arguments if a.startswith('--')]
  sizes = [int(a) for a in arguments if not a.startswith('--')] or EPISODES
  for episodes in sizes:
    with tempfile.TemporaryDirectory(dir=(keep or [None])[0]) as folder:
      measure(pathlib.Path(folder), episodes)


if __name__ == '__main__':
  if sys.argv[1:2] == ['run']:
    run(pathlib.Path(sys.argv[2]), sys.argv[3])
  else:
    main(sys.argv[1:])
