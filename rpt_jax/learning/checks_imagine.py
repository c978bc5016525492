"""What of `config.imagine` cannot be meant; see `checks`."""

from collections.abc import Sequence

from rpt_jax import domains, settings
from rpt_jax.learning import encoders, seeing
from rpt_jax.models import trunks, words
from rpt_jax.settings import Experiment, refuse

_TRUNK = 'transformer'  # It alone keeps what it has read.


def check(config: Experiment, places: Sequence[domains.Domain]) -> None:
  """Raises ValueError for what goals cannot be imagined by, or of what."""
  c, size = config.imagine, config.frames.size
  _check_places(places, size)
  words.check('config.imagine')
  if config.encoder != encoders.TRAINED or not hasattr(
    _model(config.image_model, size, 'config.image_model'), 'sizes'
  ):
    refuse(
      'config.image_model.kind',
      settings.kind(config.image_model) if config.image_model else None,
      "'dvae', and config.encoder='trained': config.imagine draws its codes",
    )
  score = _model(c.score, size, 'config.imagine.score')
  if not hasattr(score, 'embed'):
    refuse(
      'config.imagine.score.kind',
      settings.kind(c.score),
      "'clip': goals are chosen by how well sentences go with them",
    )
  if settings.kind(c.trunk) != _TRUNK:
    refuse('config.imagine.trunk.kind', settings.kind(c.trunk), repr(_TRUNK))
  for where, trunk, width in (
    ('config.imagine.trunk', c.trunk, c.width),
    ('config.imagine.reach.trunk', c.reach.trunk, c.reach.width),
  ):
    try:
      trunks.kind(trunk).check(trunk, width)
    except ValueError as error:
      raise ValueError(f'{where}.{error}') from error


def _check_places(places, size):
  """One domain, of tables that can be asked for something and acted on."""
  names = [domain.name for domain in places]
  if len(places) != 1 or not hasattr(places[0], 'attempt'):
    refuse(
      'config.domains',
      names,
      "one entry of kind 'tabletop' beside config.imagine",
    )
  (shape,) = places[0].frame_sizes().values()
  if shape != (size, size):
    refuse('config.frames.size', size, f'{shape[0]}, as large as frames are')


def _model(c, size, where):
  if c is None:
    return None
  try:
    return seeing.objective(c).model(c, size)
  except ValueError as error:
    raise ValueError(f'{where}.{error}') from error
