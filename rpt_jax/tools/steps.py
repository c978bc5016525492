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

from rpt_jax import domains, settings
from rpt_jax.episodes import windows
from rpt_jax.learning import (
  checks,
  cloning,
  encoders,
  imagining,
  policies,
  pretraining,
  seeing,
  streams,
)
from rpt_jax.learning.runs import Runs
from rpt_jax.learning.texts import Texts
from rpt_jax.models import sequence
from rpt_jax.settings import Experiment
from rpt_jax.training import sharding
from rpt_jax.types import (
  ACTION,
  CAMERA,
  LATENT,
  TEXT,
  UNIT,
  PyTree,
  StreamSpec,
)
from rpt_jax.units import kmeans

_SECTIONS = {'see': 'image_model'}
_DEMONSTRATED = 4096  # Steps of all demonstrations, where they are unknown.


class Step(NamedTuple):
  """A jitted function, the shapes it is called on, and what they are."""

  function: Any
  arguments: tuple
  parts: dict[str, PyTree]  # 'parameters', 'optimizer state', 'batch', ...
  model: sequence.SequenceModel | None = None


def named(config: Experiment) -> dict[str, Callable[[jax.sharding.Mesh], Step]]:
  """{name: mesh -> Step} of what does the work of the stages, in order."""
  steps = {}
  if config.encoder == encoders.TRAINED:
    image_model, size = config.image_model, config.frames.size
    steps['see'] = functools.partial(_see, image_model, size)
  image, dim = _image(config)
  if image is not None:
    size = config.encode.batch_size
    steps['encode'] = functools.partial(_encode, image, size)
  cameras = max(len(domain.cameras) for domain in domains.of(config))
  if config.quantize:
    clusters = config.quantize.num_clusters
    steps['quantize'] = functools.partial(_assign, clusters, dim * cameras)
  for name in (UNIT, LATENT) if config.imagine else ():
    chosen = config.imagine, config.image_model, config.frames.size, name
    steps[f'imagine {name}'] = functools.partial(_imagine, *chosen)
  if config.pretrain:
    runs = Runs(config.pretrain, config.quantize)
    specs = stream_specs(domains.of(config), dim)
    specs[TEXT] = Texts(None, config.pretrain).spec
    for name, run in runs.of(1).items():
      steps[f'pretrain {name}'] = functools.partial(_pretrain, run, specs)
    if config.finetune:
      steps['finetune'] = functools.partial(
        _finetune, config.finetune, runs, specs, _robot(config)
      )
  return steps


def trace(config: Experiment) -> None:
  """Traces what `named` gives of a config: seconds before hours.

  Raises ValueError, naming the section, where one cannot be.
  """
  mesh = sharding.make_mesh(config.mesh.sizes)
  for name, make in named(config).items():
    section, _, run = name.partition(' ')
    where = _SECTIONS.get(section, section) + (f'.runs.{run}' if run else '')
    try:
      step = make(mesh)
      step.function.eval_shape(*step.arguments)
    except Exception as error:  # Of the user's own code, too.
      why = ' '.join(str(error).split())[:500]
      raise ValueError(
        f'config.{where}: its program cannot be traced '
        f'({type(error).__name__}: {why})'
      ) from error


def _image(config):
  """(image model or None, width of what it makes of one frame)."""
  image = checks.image_model(config)
  if image is None:
    return None, encoders.state_dim(domains.of(config))
  return image, image.dim


def stream_specs(places, dim: int) -> dict[str, StreamSpec]:
  """All streams of domains whose latents have `dim` numbers a camera."""
  widths = {LATENT: dim * max(len(domain.cameras) for domain in places)}
  for domain in places:
    widths |= {f'{CAMERA}{camera}': dim for camera in domain.cameras}
    widths |= domain.widths
  specs = {
    name: StreamSpec(name, 'continuous', dim=width)
    for name, width in widths.items()
  }
  return specs | {spec.name: spec for spec in domains.discrete(places)}


def _robot(config):
  """(what a policy of the config may see, what it gives)."""
  domain = domains.acting(domains.of(config))[0]
  action = StreamSpec(ACTION, 'continuous', dim=domain.widths.get(ACTION, 0))
  own = (TEXT, *streams.of(domain))
  return own, domain.action(None) if domain.discrete else action


def _trained(trainer, batch, model=None):
  state = trainer.shapes
  parts = {
    'parameters': state.params,
    'optimizer state': state.opt_state,
    'teacher': state.teacher,
    'running mean': state.mean,
    'batch': batch,
  }
  return Step(trainer.step, (state, batch), parts, model)


def _see(c, size, mesh):
  trainer = seeing.make_trainer(c, size, mesh)
  batch = {
    name: _rows((c.batch_size, *x.shape[1:]), x.dtype, mesh)
    for name, x in seeing.example(c, size).items()
  }
  return _trained(trainer, batch)


def _encode(model, batch_size, mesh):
  """All hosts at once; each gives the batch of its own to its own chips."""
  hosts = len({d.process_index for d in mesh.devices.flat})
  rows = -(-batch_size * hosts // mesh.size) * mesh.size
  size = model.image_size or 64
  image = _rows((rows, size, size, 3), jnp.uint8, mesh)
  params = _whole(model.params, mesh)

  def apply(params, image_NHWC):
    latent = model.apply(params, model.preprocess(image_NHWC))
    return latent.astype(jnp.float16)

  parts = {'parameters': params, 'batch': image}
  return Step(jax.jit(apply), (params, image), parts)


def _assign(clusters, dim, mesh):
  """Latents of all cameras to the nearest centroid, a slab on every chip."""
  number = jax.ShapeDtypeStruct((), jnp.float32)
  codebook = kmeans.Codebook(
    jax.ShapeDtypeStruct((clusters, dim), jnp.float32),
    jax.ShapeDtypeStruct((dim,), jnp.float32),
    number,
    jax.ShapeDtypeStruct((clusters,), jnp.float32),
    number,
  )
  codebook = _whole(codebook, mesh)
  x_ND = _rows((kmeans.SLAB * mesh.size, dim), jnp.float16, mesh)

  def assign(codebook, x_ND):
    return kmeans.assign(codebook, x_ND, mesh=mesh)

  parts = {'parameters': codebook, 'batch': x_ND}
  return Step(jax.jit(assign), (codebook, x_ND), parts)


def _pretrain(run, specs, mesh):
  model = run.model(specs)
  size, example = run.shared.batch_size, pretraining.example(run, specs)
  batch = {
    name: _rows((size, *x.shape[1:]), x.dtype, mesh)
    for name, x in streams.scaled(example, _scales(specs)).items()
  }
  batch[pretraining.SETTINGS] = settings.floats(run.settings.objective)
  loss = pretraining.loss_fn(run, model, {})
  trainer = pretraining.make_trainer(run, model, loss, mesh)
  return _trained(trainer, batch, model)


def _imagine(c, image_model, size, name, mesh):
  """What draws goals: their codes, or their latents."""
  sizes = seeing.objective(image_model).model(image_model, size).sizes
  dim = seeing.objective(c.score).model(c.score, size).image.projection
  lesson = imagining.lessons(c, sizes, c.vocab, dim)[name]
  rates = c.learning_rate, c.weight_decay
  trainer = imagining.make_trainer(lesson, *rates, mesh)
  batch = jax.tree.map(
    lambda x: _rows((c.batch_size, *x.shape[1:]), x.dtype, mesh),
    imagining.example(c, sizes, dim, name),
  )
  return _trained(trainer, batch, lesson.model)


def _scales(specs):
  """Some scale of every stream of numbers: only shapes matter here."""
  return {
    name: (np.zeros(s.dim, np.float32), np.ones(s.dim, np.float32))
    for name, s in specs.items()
    if s.kind == 'continuous'
  }


def _finetune(c, runs, specs, robot, mesh):
  """The whole training of all seeds of a cell, which is one program."""
  own, action = robot
  needed = pretraining.needed(runs.of(1))
  seen = {k: specs[k] for k in needed if k in specs and k in own}
  model = policies.model(runs.main, seen, action, c)
  data = {
    s.name: _shape((_DEMONSTRATED, s.dim), streams.stored_type(s))
    for s in model.streams
    if s.kind == 'continuous'
  }
  nothing = pretraining.example(runs.main, specs)
  data |= {
    k: _shape((_DEMONSTRATED, *x.shape[2:]), x.dtype)
    for k, x in nothing.items()
    if k == TEXT
  }
  discrete = action.kind == 'discrete'
  width, dtype = (1, jnp.int32) if discrete else (action.dim, jnp.float32)
  data[ACTION] = _shape((_DEMONSTRATED, width), dtype)
  field = _shape((_DEMONSTRATED,), jnp.int32)
  data['table'] = windows.Windows(*[field] * len(windows.Windows._fields))
  keys_S = jax.eval_shape(lambda: cloning.seed_keys(0, c.seeds))
  params_S = jax.eval_shape(cloning.initial(model), keys_S)
  train = cloning.trainer(model, c, False, mesh)
  picks_SN = _shape((c.seeds, _DEMONSTRATED), jnp.int32)
  count_S = _shape((c.seeds,), jnp.int32)
  scaled = {s.name: s for s in (*model.streams, action)}
  measured = jax.eval_shape(lambda: _scales(scaled))
  constants_S = jax.eval_shape(
    lambda: cloning.constants(
      model.heads[0],
      {ACTION: jnp.zeros(data[ACTION].shape, data[ACTION].dtype)},
      _scales(scaled),
      np.zeros((c.seeds, 2), np.int32),
      np.full(c.seeds, 2),
    )
  )
  arguments = (
    params_S,
    constants_S,
    data,
    measured,
    picks_SN,
    count_S,
    keys_S,
    _shape((), jnp.int32),
    _shape((c.seeds,), jnp.float32),
  )
  arguments = _whole(arguments, mesh)
  parts = {'parameters': arguments[0], 'batch': arguments[1]}
  return Step(train, arguments, parts, model)


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
