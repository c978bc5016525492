"""Configs as files give them: every key there, so that a flag can set it."""

import dataclasses
import functools
from collections.abc import Mapping

import ml_collections

from rpt_jax.settings import plugins, reading
from rpt_jax.settings.data import Recipe
from rpt_jax.settings.experiment import Experiment
from rpt_jax.settings.learning import METHODS
from rpt_jax.settings.reading import section_of, types_of, unknown


def base(*sections: str, **values) -> ml_collections.ConfigDict:
  """A config with every key at its default, and optional `sections` too."""
  hints = types_of(Experiment)
  values = {
    name: defaults(section_of(hints[name])) for name in sections
  } | values
  return section(Experiment, **values)


def section(cls, **values) -> ml_collections.ConfigDict:
  """A section with every key at its default but for `values`."""
  config = defaults(cls)
  names = [field.name for field in dataclasses.fields(cls)]
  for name, value in values.items():
    if name not in names:
      raise ValueError(f'{cls.__name__}: {unknown(name, names)}')
    config[name] = _configured(value)
  return config


def plugin(room: str, kind: str, **values) -> ml_collections.ConfigDict:
  """The settings of the file `rpt_jax/<room>/<kind>.py`, and its kind."""
  config = section(plugins.settings_of(room, kind), **values)
  with config.unlocked():
    config.kind = kind
  return config


def recipes(
  maker: str = 'kmeans', **steps: tuple[str, ...]
) -> dict[str, ml_collections.ConfigDict]:
  """{name: Recipe} of transforms, and a maker at its defaults."""
  return {
    name: section(
      Recipe, transforms=transforms, maker=plugin('units/makers', maker)
    )
    for name, transforms in steps.items()
  }


def keep(config: ml_collections.ConfigDict, *names: str) -> None:
  """Drops all entries but these."""
  for name in set(config) - set(names):
    del config[name]


def all_methods(finetune: ml_collections.ConfigDict, **values: float) -> None:
  """Sets steps or learning rate of all methods of `config.finetune` alike."""
  for method in (*METHODS, *(f'eyes.{name}' for name in finetune.eyes)):
    section = functools.reduce(lambda c, k: c[k], method.split('.'), finetune)
    section.update({name: (value,) for name, value in values.items()})


def argument(arg: str, expected: tuple[str, ...]) -> str:
  """The argument of a config; ValueError for one that it does not take."""
  if arg not in ('', *expected):
    raise ValueError(
      f'config argument {arg!r}: expected one of {", ".join(expected)}'
      + reading.closest(arg, expected)
    )
  return arg


def defaults(cls) -> ml_collections.ConfigDict:
  """A section with every key at its default."""
  return _configured(cls())


def rekind(
  config: ml_collections.ConfigDict, before: Mapping, overrides: Mapping
) -> None:
  """Drops what belongs to another kind, where a flag has changed the kind.

  `overrides` {'pretrain.runs.next.objective.kind': value} are those of flags,
  `before` what was there before them.
  """
  for path, kind in overrides.items():
    *place, key = path.split('.')
    if key != 'kind' or kind == before[path]:
      continue
    plugged = functools.reduce(lambda c, name: c[name], place, config)
    for name in set(plugged) - {'kind'}:
      if '.'.join((*place, name)) not in overrides:
        del plugged[name]


def _configured(value):
  """A value as a ConfigDict holds it; optional sections are left out."""
  if dataclasses.is_dataclass(value):
    section = {}
    for field in dataclasses.fields(value):
      each = getattr(value, field.name)
      section[field.name] = _configured(each)
      if field.metadata.get('plugins') and dataclasses.is_dataclass(each):
        section[field.name].kind = plugins.kind(each)
    value = {k: v for k, v in section.items() if v is not None}
  if isinstance(value, (Mapping, ml_collections.ConfigDict)):
    config = ml_collections.ConfigDict()
    for name, each in value.items():
      config[name] = _configured(each)
    return config
  return tuple(value) if isinstance(value, list) else value
