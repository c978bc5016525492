"""What of a config cannot be meant together, found before any work.

`settings.read` has refused what is wrong with one key alone. Every check here
and in `checks_pretrain`, `checks_finetune` raises one ValueError that names the
key, what was found, what was expected.
"""

import functools

import ml_collections

from rpt_jax import domains, settings, vision
from rpt_jax.learning import (
  checks_finetune,
  checks_imagine,
  checks_paths,
  checks_pretrain,
  encoders,
  seeing,
)
from rpt_jax.learning.runs import TRUNK_RECIPE
from rpt_jax.settings import Experiment, refuse
from rpt_jax.training import sharding
from rpt_jax.units import makers, transforms
from rpt_jax.units import recipes as recipes_lib

# What an image model complains of, and the key that says so.
_KEYS = {
  'output': 'encode.output',
  'layer': 'encode.layer',
  'image': 'encode.image_size',
  'image_size': 'encode.image_size',
}


def experiment(config: ml_collections.ConfigDict) -> Experiment:
  """The experiment that a config means, read and checked whole."""
  read = settings.read(Experiment, config)
  check(read)
  return read


def check(config: Experiment) -> None:
  """Raise ValueError for sections that cannot be meant together."""
  places = domains.of(config)
  checks_paths.check(config, places)
  _check_domains(config, places)
  image = _check_encoder(config, places)
  for eyes in config.eyes:
    _check_eyes('config.eyes', eyes, places)
  for eyes in config.finetune.eyes if config.finetune else ():
    _check_eyes(f'config.finetune.eyes.{eyes}', eyes, places)
  if config.quantize:
    _check_quantize(config, places)
  if config.iterations > 1 and not (config.pretrain and config.quantize):
    refuse(
      'config.iterations',
      config.iterations,
      '1 without config.quantize and pretrain',
    )
  if config.pretrain:
    checks_pretrain.check(config, places)
  if config.finetune:
    checks_finetune.check(config, places, image)
  if config.imagine:
    checks_imagine.check(config, places)
  if config.tune and not config.finetune:
    refuse('config.tune', 'a section', 'config.finetune beside it')


def check_devices(config: Experiment) -> None:
  """Raise ValueError where mesh or batches do not fit the devices there are."""
  mesh = sharding.make_mesh(config.mesh.sizes)
  sizes = {}
  if config.encoder == encoders.TRAINED:
    sizes['image_model'] = config.image_model.batch_size
  if config.pretrain:
    sizes['pretrain'] = config.pretrain.batch_size
  for section, size in sizes.items():
    sharding.check_rows(size, mesh, f'config.{section}.batch_size')


def _check_domains(config, places):
  if not places:
    _refuse_empty(config.domains)
  faults = [*filter(None, map(checks_paths.wrong, places))]
  if faults:
    raise ValueError('; '.join(faults))
  weights = {d.name: d.weight for d in domains.seen(places)}
  weighted = [d for d in domains.seen(places) if d.weight]
  if weighted and len(weighted) < len(weights):
    refuse(
      f'config.domains.{weighted[0].entry}.weight',
      weighted[0].weight,
      f'0, or a weight of everything that pretraining sees, {list(weights)}',
    )


def _refuse_empty(entries):
  """Raises ValueError where nothing is there to learn from."""
  if not entries:
    refuse('config.domains', {}, 'at least one entry, a section with a kind')
  paths = [f'config.domains.{name}.path' for name in entries]
  refuse(
    ', '.join(paths),
    '',
    f'a folder or file: give it, as in --{paths[0]}=path/to/dataset',
  )


def _check_encoder(config, places):
  blind = [d.name for d in places if not d.cameras]
  if blind and config.encoder != encoders.STATE:
    refuse(
      'config.encoder',
      config.encoder,
      f'{encoders.STATE!r}, as {blind} have no cameras',
    )
  stateless = [d.name for d in places if not d.state_dim]
  if config.encoder in encoders.TRUE and stateless:
    refuse(
      'config.encoder',
      config.encoder,
      f'an image model: nobody knows the true state of {stateless}',
    )
  if config.encoder == encoders.TRAINED:
    _check_trained(config)
  try:
    return image_model(config)
  except ValueError as error:
    subject, _, complaint = str(error).partition(': ')
    if subject in _KEYS:
      raise ValueError(f'config.{_KEYS[subject]}: {complaint}') from error
    raise ValueError(f'config.encoder: {error}') from error


def _check_eyes(where, eyes, places):
  """A control is one, and sees something of every domain."""
  expected = (*vision.CONTROLS, *encoders.TRUE)
  if eyes not in expected:
    refuse(where, eyes, f'some of {expected}')
  stateless = [d.name for d in places if not d.state_dim]
  if eyes in encoders.TRUE and stateless:
    refuse(
      where,
      eyes,
      f'an image model: nobody knows the true state of {stateless}',
    )


def _check_trained(config):
  c = config.image_model
  if c is None:
    kinds = settings.kinds('vision/pretraining')
    raise ValueError(
      'config.image_model: found none, expected a section whose kind is in '
      f'{kinds}, as config.encoder is {encoders.TRAINED!r}'
    )
  try:
    seeing.objective(c).model(c, config.frames.size)
  except ValueError as error:
    raise ValueError(f'config.image_model.{error}') from error


def image_model(config: Experiment) -> vision.VisionModel | None:
  """The image model; one not trained yet has shapes for weights."""
  if config.encoder in encoders.TRUE:
    return None
  how = encoders.how(config.encode)
  if config.encoder != encoders.TRAINED:
    return vision.load(config.encoder, **how)
  return _untrained(config.image_model, config.frames.size, tuple(how.items()))


@functools.lru_cache(maxsize=16)
def _untrained(c, size, how):
  objective = seeing.objective(c)
  return objective.untrained(objective.model(c, size), **dict(how))


def _check_maker(recipe, c, domain, where):
  """A domain has what a maker needs, and actions that it can do."""
  maker = recipes_lib.maker(recipe)
  fields = {makers.LATENT, *domain.fields}
  if not {*maker.NEEDS} <= fields:
    raise ValueError(
      f'{where}: needs {maker.NEEDS}, found {sorted(fields)} of '
      f'{domain.name}; expected another maker'
    )
  if hasattr(maker, 'check'):
    width = domain.widths.get('action', 0)
    try:
      maker.check(recipe.maker, c, domain.num_actions, width)
    except ValueError as error:
      raise ValueError(f'{where}.{error}') from error


def _check_quantize(config, places):
  c = config.quantize
  cameras = {d.name: d.cameras for d in domains.seen(places)}
  if len({len(names) for names in cameras.values()}) > 1:
    raise ValueError(
      f'config.quantize: found domains with cameras {cameras}, expected as '
      'many cameras of each, as their latents are clustered together'
    )
  for name, recipe in c.recipes.items():
    where = f'config.quantize.recipes.{name}'
    if name == TRUNK_RECIPE:
      raise ValueError(
        f'{where}: found a recipe of that name, expected another: it is what '
        'later iterations call theirs'
      )
    try:
      transforms.parse(recipe.transforms)
    except ValueError as error:
      raise ValueError(f'{where}.transforms: {error}') from error
    for domain in domains.seen(places):
      _check_maker(recipe, c, domain, f'{where}.maker')
  depth = config.pretrain.trunk.depth if config.pretrain else 0
  if config.iterations > 1 and c.trunk_layer > depth:
    refuse(
      'config.quantize.trunk_layer',
      c.trunk_layer,
      f'at most the depth of {depth}',
    )
