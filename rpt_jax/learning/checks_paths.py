"""Paths of a config that lead nowhere: all of them in one error."""

import os
from collections.abc import Iterator, Sequence

from rpt_jax import settings, vision
from rpt_jax.domains import Domain
from rpt_jax.learning import encoders
from rpt_jax.settings import Experiment
from rpt_jax.vision import hub


def check(config: Experiment, places: Sequence[Domain]) -> None:
  """Raises ValueError naming every path that is not there.

  It says where the config has its own data from (`config.origin`).
  """
  begun = _begun(config.pretrain) if config.pretrain else ()
  absent = [*_datasets(config.domains, places), *_encoder(config), *begun]
  if absent:
    origin = f'; {config.origin}' if config.origin else ''
    raise ValueError('; '.join(dict.fromkeys(absent)) + origin)


def _is_absent(path):
  return bool(path) and not os.path.exists(os.path.expanduser(path))


def _datasets(entries, places) -> Iterator[str]:
  """Of those that are read: a path may also be the name of a dataset."""
  for domain in places:
    if _is_absent(getattr(entries[domain.entry], 'path', '')):
      if text := wrong(domain):
        yield text


def wrong(domain: Domain) -> str:
  """What is wrong with a domain; '' where nothing is."""
  try:
    domain.check()
  except ValueError as error:
    return str(error)
  return ''


def _encoder(config) -> Iterator[str]:
  name = config.encoder
  kinds = settings.kinds('vision/pretraining')
  if name in (encoders.TRAINED, *encoders.TRUE, *vision.CONTROLS):
    return
  if not _is_absent(name) or hub.ID.fullmatch(name):
    return
  if name in kinds:
    yield (
      f'config.encoder: found {name!r}, a kind of image objective, expected '
      f'an image model; to train one, {encoders.TRAINED!r} with '
      f"config.image_model = settings.plugin('vision/pretraining', {name!r}), "
      f'or the flag --config.encoder={name}'
    )
    return
  yield (
    f'config.encoder: {name}: no such file or folder; expected a folder, a '
    f".safetensors file, 'organisation/name' of Hugging Face, a kind to train "
    f'({", ".join(kinds)}), or one of {vision.CONTROLS}'
  )


def _begun(pretrain) -> Iterator[str]:
  """Of the weights that pretraining begins from."""
  sections = {'config.pretrain': pretrain}
  sections |= {
    f'config.pretrain.runs.{name}': run for name, run in pretrain.runs.items()
  }
  for where, section in sections.items():
    path = section.init.path
    if _is_absent(path) and not hub.ID.fullmatch(path):
      yield f'{where}.init.path: {path}: no such file or folder'
