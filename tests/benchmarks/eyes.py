"""What one frame shows of the state, by image models of several seeds.

    python -m tests.benchmarks.eyes <workdir> [row [seed]]

Frames are those of `hubert_units` with CartPole beside, of seed 0, as the code
makes them today: for the table "Which image model holds the state?" of
configs/README.md. Each row is trained and probed in `<workdir>/<row>_<seed>`;
what is there already is told again. Of `mae_scaled` one seed was made.
"""

import pathlib
import resource
import sys

from rpt_jax import experiments, files, results, settings
from rpt_jax.learning import seeing
from rpt_jax.results import LATENT, Probe
from rpt_jax.stages import pipeline
from rpt_jax.stages.plan import plan
from rpt_jax.training import costs, sharding

ENVS = ('Acrobot-v1', 'MountainCar-v0', 'Pendulum-v1', 'CartPole-v1')
SHARED = ('collect', 'frames')
SEEDS = range(3)
SMALL = dict(patch=8, width=64, depth=2, decoder_width=64, decoder_depth=1)
LONG = SMALL | dict(steps=3000, batch_size=32)
# {row: (image model and its settings, or an encoder; what is read of it)}
ROWS = {
  'random': ('random', {}, 'patches'),
  'pixels': ('pixels', {}, 'patches'),
  'edges': ('edges', {}, 'patches'),
  'foreground': ('foreground', dict(steps=1000), 'patches'),
  'mae': ('mae', LONG, 'grid4'),
  # The rate of the paper, 1.5e-4 for each 256 frames of a batch.
  'mae_scaled': ('mae', LONG | dict(learning_rate=1.5e-4 * 32 / 256), 'grid4'),
  'siamese_mae': ('siamese_mae', SMALL | dict(batch_size=32), 'grid4'),
}


def main(workdir, row='', seed='') -> None:
  """Prints R^2 per environment, seconds of CPU and FLOPs of a row and seed."""
  workdir = pathlib.Path(workdir)
  for name in (row,) if row else ROWS:
    own = [int(seed)] if seed else SEEDS if ROWS[name][1] else SEEDS[:1]
    for each in own:
      folder = workdir / f'{name}_{each}'
      told = folder / 'told.json'
      if not told.exists():
        files.write_json(told, _made(workdir, folder, name, each))
      print(name, each, files.read_json(told), flush=True)


def _made(workdir, folder, name, seed):
  """{environment: R^2, ...} of a row."""
  pipeline.run(
    _config(name, 0), workdir, only=SHARED[: 1 + bool(ROWS[name][1])]
  )
  config, spent, rows = _config(name, seed), {}, []
  for stage in plan(config):
    if stage.name in SHARED or stage.name == 'report':
      continue
    (folder / stage.name).mkdir(parents=True, exist_ok=True)
    places = {
      verb: (workdir if at in SHARED else folder) / at
      for verb, at in stage.inputs.items()
    }
    before = _seconds()
    rows += stage.run(places, folder / stage.name)
    spent[stage.name] = round(_seconds() - before, 1)
  seen = results.select(rows, Probe.VISIBLE_R2, features=LATENT)
  told = {row['tags']['env']: round(row['value'], 3) for row in seen}
  return told | {'seconds': spent, 'GFLOP a step': _flops(config)}


def _config(name, seed):
  kind, values, output = ROWS[name]
  config = experiments.load('hubert_units')
  for section in ('quantize', 'pretrain', 'finetune'):
    del config[section]
  config.update(pipelines=1, seed=seed, eyes=())
  config.domains.gymnax.envs = ENVS
  config.encode.output = output
  if values:
    config.image_model = settings.plugin('vision/pretraining', kind, **values)
  else:
    config.encoder = kind
  return settings.read(settings.Experiment, config)


def _flops(config):
  """Of a training step, in thousand millions; 0 where none is trained."""
  if config.encoder != 'trained':
    return 0.0
  size, mesh = config.frames.size, sharding.make_mesh(config.mesh.sizes)
  c = config.image_model
  trainer = seeing.make_trainer(c, size, mesh)
  batch = seeing.batches(c, seeing.blank(size), mesh, 0)(0)
  return round(costs.flops(trainer.step, trainer.shapes, batch) / 1e9, 2)


def _seconds():
  own = resource.getrusage(resource.RUSAGE_SELF)
  return own.ru_utime + own.ru_stime


if __name__ == '__main__':
  main(*sys.argv[1:])
