"""What the stages that hold a trunk share: its shape, inputs and parameters."""

import functools
import importlib
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from rpt_jax.episodes import streams, windows
from rpt_jax.models import sequence
from rpt_jax.sharing import folder
from rpt_jax.stages import domains, sensorimotor, shared
from rpt_jax.training import checkpoint
from rpt_jax.types import StreamSpec

ConfigDict = ml_collections.FrozenConfigDict
_BATCH = 512
TRUNK_RECIPE = 'trunk'  # Units of the features of the iteration before.


def objective(settings):
  """The module `rpt_jax/objectives/<name>.py` of a pretraining run."""
  return importlib.import_module(f'rpt_jax.objectives.{settings.objective}')


def runs(config, iteration=1):
  """Name -> settings of the pretraining runs of an iteration.

  The first has all of `config.pretrain.runs`; later ones repeat the main run
  on units of the trunk before them.
  """
  c = config.pretrain
  if iteration == 1:
    return dict(c.runs.items())
  settings = c.runs[c.main].to_dict() | {'recipe': TRUNK_RECIPE}
  return {main_run(config, iteration): ConfigDict(settings)}


def main_run(config, iteration):
  """What the main run is called in an iteration: `next`, then `next_2`."""
  main = config.pretrain.main
  return main if iteration == 1 else f'{main}_{iteration}'


def load_run(config, inputs, name):
  """(settings, parameters) of a pretraining run, whichever stage made it."""
  for stage, directory in inputs.items():
    path = directory / name / shared.FOLDER / folder.MODEL
    if stage.startswith('pretrain') and path.exists():
      iteration = int(stage.partition('_')[2] or 1)
      return runs(config, iteration)[name], checkpoint.load_params(path)
  raise ValueError(
    f'pretraining run {name!r}: no parameters among {sorted(inputs)}; '
    f'config.pretrain.runs has {sorted(config.pretrain.runs)}'
  )


def context(config, settings) -> int:
  """Steps of a window: those of the run, or of all runs."""
  return settings.get('context', config.pretrain.context)


def levels(config, settings) -> int:
  """Codebooks of the units of a run."""
  recipe = config.quantize.recipes.get(settings.recipe)
  single = recipe is None or recipe.codebook == 'single'
  return 1 if single else config.quantize.levels


def latent_stream(dim: int) -> tuple[StreamSpec, ...]:
  """The only input of a trunk on frames alone: their latents."""
  return (StreamSpec('latent', 'continuous', dim=dim),)


def model(config, streams, heads, visibility, context=0):
  """The sequence model of `config.pretrain`; `context` 0: the usual one."""
  c = config.pretrain
  return sequence.SequenceModel(
    streams=streams,
    heads=heads,
    width=c.width,
    depth=c.depth,
    num_heads=c.num_heads,
    mlp_ratio=c.mlp_ratio,
    context=context or c.context,
    visibility=visibility,
    remat=c.get('remat', 'none'),
  )


def latents(config, encode: pathlib.Path, split: str) -> windows.Clips:
  """All domains' latents of a split; nothing else is read."""
  return streams.concatenate(
    [
      streams.load(encode / name / split, ('latent',))
      for name in domains.pretraining(config)
    ]
  )


def standardiser(encode: pathlib.Path):
  """Latents of any shape [..., D] to mean 0, deviation 1 over pretraining."""
  statistics = checkpoint.load_params(encode / 'statistics.safetensors')
  mean_D, std_D = statistics['mean'], statistics['std']

  def standardise(latent):
    shape = (1,) * (latent.ndim - 1) + mean_D.shape
    latent = latent.astype(jnp.float32)
    return (latent - mean_D.reshape(shape)) / std_D.reshape(shape)

  return standardise


def as_floats(x):
  """Streams that were standardised before, for arithmetic."""
  return x.astype(jnp.float32)


def input_scale(config, inputs):
  """What brings a policy's inputs to mean 0 and deviation 1, if anything."""
  if sensorimotor.wanted(config):
    return as_floats
  return standardiser(inputs['encode'])


def feature_fn(config, inputs, run, layer=-1):
  """Function of Clips: `latent` replaced by what a trunk makes of each frame.

  `run` is a pretraining run, or 'random' for the untrained main run. A
  frame's feature is that of the window ending there, so that it has seen
  nothing later whatever the trunk could see; `layer` counts blocks from 1, 0
  is before them, -1 the normed end.
  """
  standardise = standardiser(inputs['encode'])
  settings, params = load_run(
    config, inputs, config.pretrain.main if run == 'random' else run
  )
  dim = params['stem_latent']['project']['kernel'].shape[0]
  steps = context(config, settings)
  body = model(
    config, latent_stream(dim), (), objective(settings).VISIBILITY, steps
  )
  params, _ = split_heads(params)
  if run == 'random':
    params = sequence.init(body, jax.random.key(config.seed))
  features = _features(body, layer)

  def replace(clips):
    table = windows.windows(clips.lengths, steps, lead=steps - 1)
    size = table.first.shape[0]
    parts = []
    for start in range(0, size, _BATCH):
      picks = np.minimum(np.arange(start, start + _BATCH), size - 1)
      rows_BT, valid_BT = windows.rows(table.take(picks), steps)
      latent_BTD = standardise(clips.arrays['latent'][rows_BT])
      parts.append(np.asarray(features(params, latent_BTD, valid_BT)))
    latent = np.concatenate(parts)[:size]
    return windows.Clips(clips.arrays | {'latent': latent}, clips.lengths)

  return replace


@functools.cache
def _features(body, layer):
  """Jitted (params, latent_BTD, valid_BT) -> the last step's [B, D]."""

  def features(params, latent_BTD, valid_BT):
    output = sequence.bind(body, params)({'latent': latent_BTD}, valid_BT)
    read = output['features'] if layer < 0 else output['layers'][layer]
    return read[:, -1]

  return jax.jit(features)


def split_heads(params):
  """(everything but the heads, the heads): what transfers, and what not."""
  heads = {k: v for k, v in params.items() if k.startswith('head_')}
  return {k: v for k, v in params.items() if k not in heads}, heads
