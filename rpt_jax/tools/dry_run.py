"""What a run would be, without running it: plan, shapes, parameters, costs."""

import json

from clu import parameter_overview

from rpt_jax import domains, settings
from rpt_jax.learning import cells
from rpt_jax.learning.runs import Runs
from rpt_jax.models import sequence
from rpt_jax.settings import Experiment
from rpt_jax.stages.plan import plan
from rpt_jax.tools import steps
from rpt_jax.training import costs, sharding


def describe(config: Experiment) -> None:
  """Print config, stages, mesh, streams, parameters, attention and costs.

  Everything is traced on shapes; nothing is compiled, trained or written.
  """
  _title('config')
  print(json.dumps(settings.plain(config), indent=1))
  _title('stages')
  for stage in plan(config):
    print(f'{stage.name:12} <- {", ".join(stage.inputs.values()) or "domains"}')
  _title('mesh')
  mesh = sharding.make_mesh(config.mesh.sizes)
  print(dict(mesh.shape), [d.device_kind for d in mesh.devices.flat][:1])
  _title('streams')
  for domain in domains.of(config):
    print('\n'.join(domain.table()))
  programs = {n: make(mesh) for n, make in steps.named(config).items()}
  _image_model(config, programs)
  if not config.pretrain:
    return
  runs = Runs(config.pretrain, config.quantize, config.iterations)
  for name, run in runs.of(1).items():
    _pretraining_run(run, programs[f'pretrain {name}'])
  if config.finetune:
    _title('fine-tuning')
    domains.say_left_out(domains.of(config))
    names = domains.acting(domains.of(config))
    count, seeds = (
      len(cells.cells(config.finetune, runs)),
      config.finetune.seeds,
    )
    print(
      f'{len(names)} domains x {count} cells x {seeds} seeds: '
      f'{len(names) * count * seeds} policies'
    )


def _title(text):
  print(f'\n== {text} ==')


def _image_model(config, programs):
  """Parameters of the image model, what a frame and a step of it cost."""
  _title(f'image model {config.encoder}')
  if 'encode' not in programs:
    return
  if 'see' in programs:
    _cost('one training step', programs['see'])
  _parameters(programs['encode'].parts['parameters'])
  rows = programs['encode'].parts['batch'].shape[0]
  _cost('encode one frame', programs['encode'], rows)


def _pretraining_run(run, program):
  """Attention, parameters, batch and cost of one step of a run."""
  objective = settings.kind(run.settings.objective)
  recipe = run.settings.recipe and f', units of {run.settings.recipe}'
  targets = (
    'themselves' if run.targets == run.streams else ', '.join(run.targets)
  )
  _title(
    f'pretraining run {run.name}: {objective}, {", ".join(run.streams)} -> '
    f'{targets}{recipe}'
  )
  model = program.model
  print(sequence.describe(model))
  _parameters(program.parts['parameters'])
  for key, value in program.parts['batch'].items():
    if key != 'settings':
      print(f'batch {key:16} {value.dtype}{list(value.shape)}')
  _cost('one training step', program)


def _parameters(params):
  print(parameter_overview.get_parameter_overview(params, include_stats=False))


def _cost(label, program, count=1):
  flops = costs.flops(program.function, *program.arguments) / count
  print(f'{label}: {flops / 1e9:.3f} GFLOP')
