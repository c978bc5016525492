"""What a run would be, without running it: plan, shapes, parameters, costs."""

import json

from clu import parameter_overview

from rpt_jax import envs
from rpt_jax.envs import metaworld
from rpt_jax.models import visibility
from rpt_jax.stages import (
  domains,
  finetune,
  sensorimotor,
  steps,
  trunk,
)
from rpt_jax.stages.plan import plan
from rpt_jax.training import costs, sharding


def describe(config) -> None:
  """Print config, stages, mesh, streams, parameters, attention and costs.

  Everything is traced on shapes; nothing is compiled, trained or written.
  """
  _title('config')
  print(json.dumps(config.to_dict(), indent=1))
  _title('stages')
  for stage in plan(config):
    print(f'{stage.name:12} <- {", ".join(stage.inputs) or "domains"}')
  _title('mesh')
  mesh = sharding.make_mesh(config.mesh)
  print(dict(mesh.shape), [d.device_kind for d in mesh.devices.flat][:1])
  _title('streams')
  for name in config.envs:
    env = envs.make(name)
    action = (
      f'{env.num_actions} actions'
      if env.num_actions
      else (f'{env.action_dim} numbers within ±{env.action_limit}')
    )
    print(
      f'{name:26} image [T, 64, 64, 3] u8, state [T, {len(env.state_names)}], '
      f'{action}; T <= {env.horizon}, {env.action_repeat} simulator steps each'
    )
  _tasks(config)
  for name, settings in config.datasets.items():
    _dataset(name, domains.open_dataset(settings))
  programs = {n: make(mesh) for n, make in steps.named(config).items()}
  _image_model(config, programs)
  runs = trunk.runs(config) if 'pretrain' in config else {}
  for name, settings in runs.items():
    _pretraining_run(name, settings, programs[f'pretrain {name}'], config)
  if 'finetune' in config:
    _title('fine-tuning')
    names, cells = domains.acting(config), finetune.cells(config)
    seeds = config.finetune.seeds
    print(
      f'{len(names)} domains x {len(cells)} cells x {seeds} seeds: '
      f'{len(names) * len(cells) * seeds} policies'
    )


def _tasks(config):
  for name in domains.tasks(config):
    c = config.metaworld
    frames = f'[T, {c.size}, {c.size}, 3] u8'
    print(
      f'{name:26} {", ".join(c.cameras)} {frames}, proprio '
      f'[T, {metaworld.PROPRIO_DIM}], action [T, {metaworld.ACTION_DIM}]; '
      f'T <= {c.horizon}, {c.action_repeat} simulator steps each'
    )


def _dataset(name, source):
  frames = int(source.lengths.sum())
  print(f'{name:26} {len(source)} episodes, {frames} steps, {source.fps} Hz')
  for stream, column in source.streams.items():
    print(f'{"":26} {stream} [T, {", ".join(map(str, column.shape))}]')


def _title(text):
  print(f'\n== {text} ==')


def _image_model(config, programs):
  """Parameters of the image model, what a frame and a step of it cost."""
  _title(f'image model {config.encoder}')
  if config.encoder == 'state':
    return
  if 'mae' in programs:
    _cost('one training step', programs['mae'])
  model = steps.image_model(config)
  _parameters(model.params)
  rows = programs['encode'].parts['batch'].shape[0]
  _cost('encode one frame', programs['encode'], rows)


def _pretraining_run(name, settings, program, config):
  """Attention, parameters, batch and cost of one step of a run."""
  seen = (
    f'{len(sensorimotor.names(config, settings))} streams'
    if sensorimotor.wanted(config)
    else settings.recipe
  )
  _title(f'pretraining run {name}: {settings.objective} on {seen}')
  model = program.model
  names = tuple(s.name for s in model.streams)
  print(visibility.describe(model.visibility, model.context, names))
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
