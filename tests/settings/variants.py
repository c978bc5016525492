"""Configs for tests: loaded once, changed as flags would change them."""

import ast
import functools
import pathlib
import runpy

import pytest
from absl import flags

from rpt_jax import experiments, options

ROOT = pathlib.Path(__file__).parents[2]
DATA = ROOT.parent / 'shared/data'
ARGUMENTS = {
  'acting': ('', 'study', 'quicktest'),
  'clip': ('', 'quicktest'),
  'distractors': ('', 'units', 'clean', 'study', 'full', 'quicktest'),
  'goals': ('', 'quicktest'),
  'hubert_units': ('', 'tune', 'quicktest'),
  'mae': ('', 'S', 'B', 'L', 'quicktest'),
  'mine': ('', 'quicktest'),
  'r3m': ('', 'clip', 'mae', 'quicktest'),
  'relations': ('', 'cls', 'quicktest'),
  'robot_video': ('', 'mae', 'bridge', 'video', 'quicktest'),
  'rpt': (
    '',
    'conclusive',
    'tune',
    'study',
    'action_free',
    'g1',
    'quicktest',
    'S',
    'B',
    'L',
  ),
  'study': ('', 'small', 'horizon', 'codes', 'encoders', 'quicktest'),
  'scale': ('', 'S', 'L,16', 'XL,256', 'quicktest'),
  'text': ('', 'quicktest'),
  'values': ('', 'study', 'critics', 'deployment', 'quicktest'),
}
SPECS = [f'{name}:{a}' for name, each in ARGUMENTS.items() for a in each]
RECORDED = ('robot_video', 'mae', 'rpt:g1')


@functools.cache
def get_config(name):
  """The function `get_config` of a file."""
  return runpy.run_path(str(ROOT / f'configs/{name}.py'))['get_config']


@functools.cache
def _loaded(spec):
  name, _, argument = spec.partition(':')
  return get_config(name)(argument)


def changed(spec, *changes):
  """The config `name:argument` with 'a.b=value' or, to remove it, '~a.b'.

  What ml_collections would refuse by itself is put there all the same.
  """
  config = _loaded(spec).copy_and_resolve_references()
  with config.unlocked(), config.ignore_type():
    for change in changes:
      path, _, text = change.removeprefix('~').partition('=')
      if change.startswith('~'):
        place, name = _place(config, path)
        del place[name]
      else:
        put(config, path, value(text))
  return config


def put(config, path, value):
  """Sets 'a.b' of nested dictionaries to a value."""
  place, name = _place(config, path)
  place[name] = value


def _place(config, path):
  *places, name = path.split('.')
  return functools.reduce(lambda c, key: c[key], places, config), name


def value(text):
  """What a text is in Python; 'nan', 'inf' and words are there, too."""
  try:
    return ast.literal_eval(text)
  except (SyntaxError, ValueError):
    return float(text) if text in ('nan', 'inf', '-inf') else text


def skip_without_data(spec):
  """Skips where a config reads recorded data that is not beside us."""
  if spec.startswith(RECORDED) and not DATA.exists():
    pytest.skip('no recorded data beside the repository')


def parsed(spec, *arguments):
  """The config that flags give, read as the command line reads it."""
  argv = ['rpt_jax', f'--config={experiments.resolve(spec)}', *arguments]
  values = flags.FlagValues()
  options.define_config(flag_values=values, sys_argv=argv)
  values(argv)
  return options.configured(values)
