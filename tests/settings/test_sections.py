"""Sections: every key has a meaning and a default that fits; what is hashed."""

import dataclasses
import importlib
import pkgutil
import re
import typing
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from rpt_jax import files, objectives, settings
from rpt_jax.domains import dm_control, gymnax, metaworld
from rpt_jax.settings.reading import section_of, types_of
from tests.settings import variants

SECTIONS = [
  getattr(settings, name)
  for name in settings.__all__
  if dataclasses.is_dataclass(getattr(settings, name))
]
PLUGINS = [
  settings.module(room, kind).Settings
  for room in (
    'domains',
    'models/heads',
    'models/trunks',
    'objectives',
    'units/makers',
    'vision/pretraining',
  )
  for kind in settings.kinds(room)
]
# What a config has to say, as there is no default that could be meant.
_OBJECTIVE = settings.plugin('objectives', 'next_units')
REQUIRED = {
  gymnax.Settings: {'envs': ('CartPole-v1',)},
  metaworld.Settings: {'tasks': ('door-open-v3',)},
  dm_control.Settings: {'tasks': ('cheetah-run',)},
  settings.Quantize: {'recipes': settings.recipes(raw=())},
  settings.Recipe: {'maker': settings.plugin('units/makers', 'kmeans')},
  settings.Run: {'objective': _OBJECTIVE},
  settings.Pretrain: {
    'runs': {'next': settings.section(settings.Run, objective=_OBJECTIVE)}
  },
}


def name(cls):
  return f'{cls.__module__}.{cls.__qualname__}'


@pytest.mark.parametrize('cls', [*SECTIONS, *PLUGINS], ids=name)
def test_defaults_read_as_they_are(cls):
  required = REQUIRED.get(cls, {})
  section = settings.read(cls, settings.section(cls, **required))
  others = {
    field.name: getattr(section, field.name)
    for field in dataclasses.fields(cls)
    if field.name in required
  }
  assert section == dataclasses.replace(cls(), **others)
  assert settings.read(cls, required) == section  # Left out, it is the same.
  hash(section)


@pytest.mark.parametrize('cls', REQUIRED, ids=name)
def test_what_has_no_default_is_asked_for(cls):
  (key,) = REQUIRED[cls]
  with pytest.raises(ValueError, match=rf'^config\.{key}: '):
    settings.read(cls, settings.defaults(cls))


@pytest.mark.parametrize('cls', [*SECTIONS, *PLUGINS], ids=name)
def test_every_key_has_a_meaning_and_a_type(cls):
  hints = typing.get_type_hints(cls)
  for field in dataclasses.fields(cls):
    assert field.metadata['meaning'].strip(), field.name
    assert field.name in hints
  assert cls.__doc__ and not cls.__doc__.startswith(f'{cls.__name__}(')


def test_every_objective_has_settings():
  names = [m.name for m in pkgutil.iter_modules(objectives.__path__)]
  modules = {n: importlib.import_module(f'{objectives.__name__}.{n}')
             for n in names}  # fmt: skip
  with_heads = {n for n, m in modules.items() if hasattr(m, 'heads')}
  assert with_heads - {'behaviour_cloning'} == set(settings.kinds('objectives'))
  for kind in settings.kinds('objectives'):
    assert settings.kind(modules[kind].Settings()) == kind


def test_a_base_config_has_every_key():
  base = settings.base('quantize', 'pretrain', 'finetune')
  fields = {field.name for field in dataclasses.fields(settings.Experiment)}
  absent = {'image_model', 'imagine', 'tune'}  # Which, a config says.
  assert {*base, *absent} == fields
  with pytest.raises(ValueError, match="Experiment: sede: .*perhaps 'seed'"):
    settings.base(sede=1)
  with pytest.raises(ValueError, match="Settings: spam: .*perhaps 'span'"):
    settings.plugin('objectives', 'masked_units', spam=2)


@pytest.mark.parametrize('spec', variants.SPECS)
def test_every_argument_of_every_config_reads(spec):
  config = variants.changed(spec)
  experiment = settings.read(settings.Experiment, config)
  assert experiment.title and experiment.question
  # What is read says the same again.
  plain = settings.plain(experiment)
  plain = {key: value for key, value in plain.items() if value is not None}
  again = settings.read(settings.Experiment, ml_collections.ConfigDict(plain))
  assert again == experiment


@pytest.mark.parametrize('config', variants.ARGUMENTS)
def test_an_unknown_argument_is_refused(config):
  with pytest.raises(ValueError, match="^config argument 'qicktest': "):
    variants.get_config(config)('qicktest')
  assert {p.stem for p in (variants.ROOT / 'configs').glob('*.py')} == set(
    variants.ARGUMENTS
  )


def _keys(config, cls=settings.Experiment, prefix=''):
  """('a.b', its type) of all that a config holds."""
  hints = typing.get_type_hints(cls)
  for field in dataclasses.fields(cls):
    if field.name not in config:
      continue
    path, value = f'{prefix}{field.name}', config[field.name]
    hint = hints[field.name]
    section = section_of(hint)
    if room := field.metadata.get('plugins'):
      yield from _plugged(value, room, path)
    elif typing.get_origin(hint) is Mapping and section:
      for name in value:
        yield from _keys(value[name], section, f'{path}.{name}.')
    elif section:
      yield from _keys(value, section, f'{path}.')
    else:
      yield path, hint


def _plugged(config, room, path):
  """The keys of a plug-in, or of each of those that have names."""
  if 'kind' in config:
    kind = settings.module(room, config.kind)
    yield from _keys(config, kind.Settings, f'{path}.')
  else:
    for name in config:
      yield from _plugged(config[name], room, f'{path}.{name}')


@pytest.mark.parametrize('spec', ['rpt:quicktest', 'robot_video:quicktest'])
def test_no_key_takes_what_is_of_another_type(spec):
  keys = dict(_keys(variants.changed(spec)))
  assert len(keys) > 100
  for key, hint in keys.items():
    wrong = [None, object(), 3 if hint is str else 'word']
    wrong += [True] if hint in (int, float) else [1]
    wrong += [float('nan'), float('inf')] if hint is float else []
    for value in wrong:
      config = variants.changed(spec).to_dict()  # That converts no value.
      variants.put(config, key, value)
      with pytest.raises(ValueError) as refused:
        settings.read(settings.Experiment, config)
      message = str(refused.value)
      assert message.startswith(f'config.{key}: found '), (key, value)


@pytest.mark.parametrize('spec', ['rpt:quicktest', 'robot_video:quicktest'])
def test_every_misspelt_key_is_refused_and_the_right_one_named(spec):
  for key in dict(_keys(variants.changed(spec))):
    *_, last = key.split('.')
    config = variants.changed(spec).to_dict()
    variants.put(config, f'{key}s', 1)
    with pytest.raises(ValueError) as refused:
      settings.read(settings.Experiment, config)
    message = str(refused.value)
    assert message.startswith(f'config.{key}s: no such key, expected ')
    assert message.endswith(f"; perhaps '{last}'")


@dataclasses.dataclass(frozen=True)
class Old:
  """As it was."""

  rate: float = settings.key(0.5, 'a number', low=0)
  workers: int = settings.key(2, 'processes', how=True)


@dataclasses.dataclass(frozen=True)
class New(Old):
  """With keys that came later, whose absence meant something."""

  decay: float = settings.key(0.9, 'a number', absent=0.0)
  names: tuple[str, ...] = settings.key((), 'words', absent=())


@dataclasses.dataclass(frozen=True)
class Holder:
  """Sections in a section."""

  inner: Old = settings.key(Old(), 'the same')
  saving: settings.Saving = settings.key(settings.Saving(), 'how', how=True)
  objective: typing.Any = settings.key(None, 'a kind', plugins='objectives')


def test_what_does_not_change_results_is_not_hashed():
  assert settings.essence(Old()) == {'rate': 0.5}
  assert settings.essence(Old(workers=9)) == settings.essence(Old())
  assert settings.essence(Old(rate=0.1)) != settings.essence(Old())
  objective = settings.module('objectives', 'next_units').Settings()
  assert settings.essence(Holder(objective=objective)) == {
    'inner': {'rate': 0.5},
    'objective': {'horizon': 4, 'latent_weight': 1.0, 'kind': 'next_units'},
  }
  assert settings.plain(Old()) == {'rate': 0.5, 'workers': 2}


def test_a_new_key_keeps_what_was_hashed():
  old = settings.essence(Old())
  assert settings.essence(New(decay=0.0)) == old
  assert settings.essence(New()) == old | {'decay': 0.9}
  assert settings.essence(New(decay=0.0, names=('a',))) == old | {
    'names': ['a']
  }


def test_keys_that_change_no_result_are_these():
  how = {
    f'{cls.__name__}.{field.name}'
    for cls in [*SECTIONS, *PLUGINS]
    for field in dataclasses.fields(cls)
    if field.metadata['how']
  }
  assert how == {
    'Encode.ahead',
    'Encode.error_budget',
    'Encode.workers',
    'Experiment.origin',
    'Experiment.saving',
    'Frames.error_budget',
    'Frames.workers',
    'Settings.workers',
    'Saving.log_steps',
    'Saving.save_seconds',
    'Saving.save_steps',
  }


@pytest.mark.parametrize('cls', PLUGINS, ids=name)
def test_floats_are_leaves_and_go_back(cls):
  own = cls()
  numbers = settings.floats(own)
  assert set(numbers) == {
    field.name for field in dataclasses.fields(cls) if field.type is float
  }
  assert dataclasses.replace(own, **numbers) == own

  @jax.jit
  def doubled(numbers):
    traced = dataclasses.replace(own, **numbers)
    return {k: 2 * getattr(traced, k) for k in numbers}

  for key, value in doubled(numbers).items():
    assert value.dtype == jnp.float32
    assert value == np.float32(2 * getattr(own, key))


def test_named_values_do_not_change():
  named = settings.Named({'a': 1})
  assert dict(named) == {'a': 1} and named == settings.Named({'a': 1})
  assert hash(named) == hash(settings.Named({'a': 1}))
  with pytest.raises(TypeError):
    named['a'] = 2


@pytest.mark.parametrize(
  'cls', [*SECTIONS, *PLUGINS], ids=lambda c: f'{c.__module__}.{c.__name__}'
)
def test_every_number_has_bounds(cls):
  """Or 10^12 of it would be tried."""
  for field in dataclasses.fields(cls):
    about, hint = field.metadata, str(types_of(cls)[field.name])
    if re.search(r'\b(int|float)\b', hint) and not about['choices']:
      assert about['high'] is not None, field.name
      assert (about['low'], about['above']) != (None, None), field.name


def test_what_is_saved_is_read_again_and_imports_nothing(tmp_path):
  config = variants.changed('rpt:g1', 'pretrain.steps=7')
  read = settings.read(settings.Experiment, config)
  path, plain = tmp_path / 'config.json', settings.plain(read)
  files.write_json(path, plain)
  assert settings.saved(settings.Experiment, path) == read
  plain['domains']['g1']['format'] = 'this.module'
  files.write_json(path, plain)
  with pytest.raises(ValueError, match="format: found 'this.module', a module"):
    settings.saved(settings.Experiment, path)
  files.write_json(path, {'sede': 1})
  with pytest.raises(ValueError, match=r'config.json: config.sede: .*seed'):
    settings.saved(settings.Experiment, path)
