"""The compiled programs of a config, on shapes: no data, nothing is run.

What a dry run describes and what is compiled ahead of time. Trainings are the
very functions that stages call; `encode` and `quantize` do on a whole mesh what
the stages do on the devices of each process. `finetune` is all its steps.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import vision
from rpt_jax.envs import metaworld
from rpt_jax.episodes import windows
from rpt_jax.models import sequence
from rpt_jax.stages import (
  domains,
  encode,
  finetune,
  mae,
  pretrain,
  sensorimotor,
  trunk,
)
from rpt_jax.training import sharding
from rpt_jax.types import PyTree, StreamSpec
from rpt_jax.units import kmeans
from rpt_jax.vision.model import encoder_model

_DEMONSTRATED = 4096  # Steps of all demonstrations, where they are unknown.


class Step(NamedTuple):
  """A jitted function, the shapes it is called on, and what they are."""

  function: Any
  arguments: tuple
  parts: dict[str, PyTree]  # 'parameters', 'optimizer state', 'batch', ...
  model: sequence.SequenceModel | None = None


def named(config) -> dict[str, Callable[[jax.sharding.Mesh], Step]]:
  """{name: mesh -> Step} of what does the work of the stages, in order."""
  config, found = trunk.ConfigDict(config), {}  # Frozen: what jit keys on.
  if config.encoder == 'mae':
    found['mae'] = functools.partial(_mae, config)
  if config.encoder != 'state':
    found['encode'] = functools.partial(_encode, config)
  if 'quantize' in config:
    found['quantize'] = functools.partial(_assign, config)
  if 'pretrain' in config:
    for name, settings in trunk.runs(config).items():
      make = functools.partial(_pretrain, config, settings)
      found[f'pretrain {name}'] = make
  if 'finetune' in config:
    found['finetune'] = functools.partial(_finetune, config)
  return found


def image_model(config):
  """The image model of a config; one not trained yet has shapes for weights."""
  if config.encoder != 'mae':
    return vision.load(config.encoder, **encode.vision_settings(config.encode))
  model = mae.autoencoder(config.mae, config.frames.size)
  params = jax.eval_shape(model.init, jax.random.key(0))['encoder']
  output, layer = config.encode.output, config.encode.layer
  return encoder_model('mae', model.encoder, params, output, layer)


def latent_dim(config) -> int:
  """Width of what the image model makes of one frame."""
  if config.encoder == 'state':
    return encode.load_encoder(config, {}).dim
  return image_model(config).dim


def _trained(trainer, batch, model=None):
  state = trainer.shapes
  parts = {
    'parameters': state.params,
    'optimizer state': state.opt_state,
    'running mean': state.ema,
    'batch': batch,
  }
  return Step(trainer.step, (state, batch), parts, model)


def _mae(config, mesh):
  c, size = config.mae, config.frames.size
  trainer = mae.make_trainer(c, mae.autoencoder(c, size), mesh)
  image = _rows((c.batch_size, size, size, 3), jnp.uint8, mesh)
  return _trained(trainer, image)


def _encode(config, mesh):
  """All hosts at once; each gives the batch of its own to its own chips."""
  model = image_model(config)
  hosts = len({d.process_index for d in mesh.devices.flat})
  rows = -(-config.encode.batch_size * hosts // mesh.size) * mesh.size
  size = model.image_size or 64
  image = _rows((rows, size, size, 3), jnp.uint8, mesh)
  params = _whole(model.params, mesh)

  def apply(params, image_NHWC):
    latent = model.apply(params, model.preprocess(image_NHWC))
    return latent.astype(jnp.float16)

  parts = {'parameters': params, 'batch': image}
  return Step(jax.jit(apply), (params, image), parts)


def _assign(config, mesh):
  """Latents of all cameras to the nearest centroid, a slab on every chip."""
  dim = _frame_dim(config)
  number = jax.ShapeDtypeStruct((), jnp.float32)
  codebook = kmeans.Codebook(
    jax.ShapeDtypeStruct((config.quantize.num_clusters, dim), jnp.float32),
    jax.ShapeDtypeStruct((dim,), jnp.float32),
    number,
    jax.ShapeDtypeStruct((config.quantize.num_clusters,), jnp.float32),
    number,
  )
  codebook = _whole(codebook, mesh)
  x_ND = _rows((kmeans.SLAB * mesh.size, dim), jnp.float16, mesh)

  def assign(codebook, x_ND):
    return kmeans.assign(codebook, x_ND, mesh=mesh)

  parts = {'parameters': codebook, 'batch': x_ND}
  return Step(jax.jit(assign), (codebook, x_ND), parts)


def _pretrain(config, settings, mesh):
  objective, model, streams = _run(settings, config)
  shape = (config.pretrain.batch_size, model.context + settings.get('steps', 0))
  batch = {
    s.name: _rows((*shape, s.dim), jnp.float16, mesh)
    if s.kind == 'continuous'
    else _rows((*shape, s.levels), jnp.int32, mesh)
    for s in streams
  }
  batch['valid'] = _rows(shape, jnp.bool_, mesh)
  if sensorimotor.wanted(config):
    batch['present'] = _rows((*shape, len(streams)), jnp.bool_, mesh)
  batch['settings'] = pretrain.traced(settings)
  loss_fn = pretrain.make_loss(objective, model, settings, trunk.as_floats)
  trainer = pretrain.make_trainer(config.pretrain, model, loss_fn, mesh)
  return _trained(trainer, batch, model)


def _run(settings, config):
  """(objective, model, streams of a batch) of a pretraining run."""
  if sensorimotor.wanted(config):
    dims = stream_dims(config, settings)
    objective, model = pretrain.streams_model(settings, dims, config)
    return objective, model, model.streams
  dim, levels = _frame_dim(config), trunk.levels(config, settings)
  objective, model = pretrain.objective_model(settings, dim, levels, config)
  vocab = config.quantize.num_clusters
  unit = StreamSpec('unit', 'discrete', vocab=vocab, levels=levels)
  return objective, model, (*model.streams, unit)


def _finetune(config, mesh):
  """The whole training of all seeds of a cell, which is one program."""
  c, settings = config.finetune, config.pretrain.runs[config.pretrain.main]
  if sensorimotor.wanted(config):
    dims = stream_dims(config, settings)
  else:
    dims = {'latent': _frame_dim(config)}
  action = _action(config)
  model = finetune.untrained(config, settings, dims, action)
  rows = {s.name: (s.dim,) for s in model.streams if s.name != 'action'}
  data = {k: _shape((_DEMONSTRATED, *v), jnp.float16) for k, v in rows.items()}
  discrete = action.kind == 'discrete'
  shape = (_DEMONSTRATED,) if discrete else (_DEMONSTRATED, action.dim)
  data['action'] = _shape(shape, jnp.int32 if discrete else jnp.float32)
  field = _shape((_DEMONSTRATED,), jnp.int32)
  data['table'] = windows.Windows(*[field] * len(windows.Windows._fields))
  keys_S = jax.eval_shape(lambda: finetune.seed_keys(config))
  params_S = jax.eval_shape(finetune.initial(model), keys_S)
  train = finetune.trainer(
    model, trunk.as_floats, c, False, c.get('freeze', ''), mesh
  )
  picks_SN = _shape((c.seeds, _DEMONSTRATED), jnp.int32)
  arguments = (params_S, data, picks_SN, _shape((c.seeds,), jnp.int32), keys_S)
  arguments = _whole(arguments, mesh)
  parts = {'parameters': arguments[0], 'batch': arguments[1]}
  return Step(train, arguments, parts, model)


def _action(config):
  if domains.tasks(config) or config.datasets:
    return StreamSpec('action', 'continuous', dim=robot_dims(config)['action'])
  return domains.action_spec(config, None, domains.acting(config)[0])


def stream_dims(config, settings) -> dict[str, int]:
  """Width of every stream of a run on streams."""
  streams = sensorimotor.names(config, settings)
  return dict.fromkeys(streams, latent_dim(config)) | robot_dims(config)


def robot_dims(config) -> dict[str, int]:
  """Widths of what the robot of this config feels and does."""
  if domains.tasks(config):
    return {'proprio': metaworld.PROPRIO_DIM, 'action': metaworld.ACTION_DIM}
  found = domains.open_dataset(next(iter(config.datasets.values()))).streams
  known = sensorimotor.fields(found)
  return {stream: found[field].shape[0] for stream, field in known.items()}


def _frame_dim(config):
  """Width of the latents of all cameras together."""
  cameras = max(len(domains.cameras(config, n)) for n in domains.names(config))
  return latent_dim(config) * cameras


def _shape(shape, dtype, sharding=None):
  return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)


def _rows(shape, dtype, mesh):
  """An array split over the mesh by its rows, of which there must be enough."""
  sharding.check_rows(shape[0], mesh)
  return _shape(shape, dtype, sharding.by_rows(mesh))


def _whole(tree, mesh):
  """Shapes of a tree that every device holds all of."""
  place = sharding.replicated(mesh)
  return jax.tree.map(lambda x: _shape(np.shape(x), x.dtype, place), tree)
