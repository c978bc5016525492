"""What a run would be, without running it: plan, shapes, parameters, costs."""

import json

import jax
import jax.numpy as jnp
from clu import parameter_overview

from rpt_jax import envs, vision
from rpt_jax.envs import metaworld
from rpt_jax.models import sequence, visibility
from rpt_jax.stages import (
  domains,
  encode,
  finetune,
  mae,
  pipeline,
  pretrain,
  sensorimotor,
  trunk,
)
from rpt_jax.training import optimizer, sharding, step
from rpt_jax.vision.model import encoder_model


def describe(config) -> None:
  """Print config, stages, mesh, streams, parameters, attention and costs.

  Everything is traced on shapes; nothing is compiled, trained or written.
  """
  _title('config')
  print(json.dumps(config.to_dict(), indent=1))
  _title('stages')
  for stage in pipeline.plan(config):
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
  dim = _image_model(config)
  if sensorimotor.wanted(config):
    for name, settings in trunk.runs(config).items():
      _sensorimotor_run(name, settings, dim, config)
  elif 'pretrain' in config:
    dim *= max(len(domains.cameras(config, n)) for n in domains.names(config))
    for name, settings in trunk.runs(config).items():
      _pretraining_run(name, settings, dim, config)
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


def _image_model(config) -> int:
  """Prints the image model; returns the width of its latents."""
  _title(f'image model {config.encoder}')
  key = jax.random.key(0)
  if config.encoder == 'state':
    return encode.load_encoder(config, {}).dim
  if config.encoder == 'mae':
    c = config.mae
    size = config.frames.size
    autoencoder = mae.autoencoder(c, size)
    params = jax.eval_shape(autoencoder.init, key)
    batch = jax.ShapeDtypeStruct((c.batch_size, size, size, 3), jnp.uint8)
    tx = optimizer.adamw(c.learning_rate, c.steps)
    _step_cost(autoencoder.loss, tx, params, batch)
    encoder = autoencoder.encoder
    output, layer = config.encode.output, config.encode.layer
    model = encoder_model('mae', encoder, params['encoder'], output, layer)
  else:
    model = vision.load(config.encoder, **encode.vision_settings(config.encode))
  _parameters(model.params)
  size = model.image_size or 64
  frame = jax.ShapeDtypeStruct((1, size, size, 3), jnp.uint8)

  def one_frame(params, image_NHWC):
    return model.apply(params, model.preprocess(image_NHWC))

  _cost('encode one frame', one_frame, model.params, frame)
  return model.dim


def _pretraining_run(name, settings, dim, config):
  _title(f'pretraining run {name}: {settings.objective} on {settings.recipe}')
  recipe = config.quantize.recipes[settings.recipe]
  levels = 1 if recipe.codebook == 'single' else config.quantize.levels
  objective, model = pretrain.objective_model(settings, dim, levels, config)
  shape = _shape(config, settings)
  arrays = {
    'latent': jax.ShapeDtypeStruct((*shape, dim), jnp.float16),
    'unit': jax.ShapeDtypeStruct((*shape, levels), jnp.int32),
  }
  _training(objective, model, settings, arrays, config)


def _sensorimotor_run(name, settings, dim, config):
  streams = sensorimotor.names(config, settings)
  _title(
    f'pretraining run {name}: {settings.objective} on {len(streams)} streams'
  )
  dims = dict.fromkeys(streams, dim) | _robot(config)
  objective, model = pretrain.streams_model(settings, dims, config)
  shape = _shape(config, settings)
  arrays = {
    s.name: jax.ShapeDtypeStruct((*shape, s.dim), jnp.float16)
    if s.kind == 'continuous'
    else jax.ShapeDtypeStruct((*shape, s.levels), jnp.int32)
    for s in model.streams
  }
  present = jax.ShapeDtypeStruct((*shape, len(streams)), jnp.bool_)
  _training(objective, model, settings, arrays | {'present': present}, config)


def _robot(config):
  """Widths of what the robot of this config feels and does."""
  if domains.tasks(config):
    return {'proprio': metaworld.PROPRIO_DIM, 'action': metaworld.ACTION_DIM}
  found = domains.open_dataset(next(iter(config.datasets.values()))).streams
  known = sensorimotor.fields(found)
  return {stream: found[field].shape[0] for stream, field in known.items()}


def _shape(config, settings):
  """(windows, steps) of a batch."""
  steps = trunk.context(config, settings) + settings.get('steps', 0)
  return config.pretrain.batch_size, steps


def _training(objective, model, settings, arrays, config):
  """Attention, parameters, batch and cost of one step of a run."""
  names = tuple(s.name for s in model.streams)
  print(visibility.describe(model.visibility, model.context, names))
  params = jax.eval_shape(lambda k: sequence.init(model, k), jax.random.key(0))
  _parameters(params)
  shape = next(iter(arrays.values())).shape[:2]
  batch = arrays | {'valid': jax.ShapeDtypeStruct(shape, jnp.bool_)}
  for key, value in batch.items():
    print(f'batch {key:16} {value.dtype}{list(value.shape)}')
  batch |= {'settings': pretrain.traced(settings)}
  loss_fn = pretrain.make_loss(objective, model, settings, trunk.as_floats)
  c = config.pretrain
  tx = optimizer.adamw(c.learning_rate, c.steps)
  _step_cost(loss_fn, tx, params, batch)


def _parameters(params):
  print(parameter_overview.get_parameter_overview(params, include_stats=False))


def _step_cost(loss_fn, tx, params, batch):
  key = jax.random.key(0)
  state = jax.eval_shape(lambda p: step.init_state(p, tx, key), params)
  _cost('one training step', step.step_fn(loss_fn, tx), state, batch)


def _cost(label, function, *shapes):
  """FLOPs and bytes of the program as written, before any fusion."""
  cost = jax.jit(function).lower(*shapes).cost_analysis() or {}
  flops, moved = cost.get('flops', 0), cost.get('bytes accessed', 0)
  print(f'{label}: {flops / 1e9:.3f} GFLOP, {moved / 1e6:.1f} MB before fusion')
