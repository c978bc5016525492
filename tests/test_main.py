"""The command line; what it answers to mistakes: tests/faults."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest
from absl import flags
from absl.testing import flagsaver

from rpt_jax import experiments, files, main, options, provenance, settings
from rpt_jax.tools import doctor
from rpt_jax.training import distributed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONFIG = '--config=configs/hubert_units.py:quicktest'


def command(*arguments, workdir):
  return subprocess.run(
    [sys.executable, '-m', 'rpt_jax.main', *arguments, f'--workdir={workdir}'],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
  )


def test_nothing_is_said_to_whoever_has_left():
  """As `| head` has, which is no mistake."""
  reading, writing = os.pipe()
  os.close(reading)
  with os.fdopen(writing, 'w') as left:
    done = subprocess.run(
      [sys.executable, '-m', 'rpt_jax.main', '--help'],
      cwd=ROOT,
      stdout=left,
      stderr=subprocess.PIPE,
    )
  assert (done.returncode, done.stderr) == (141, b'')


def test_a_platform_that_is_not_there_is_named(monkeypatch, capsys):
  """JAX's own error has no word in it."""

  def no_devices():
    raise AssertionError

  monkeypatch.setenv('JAX_PLATFORMS', 'cuda')
  monkeypatch.setattr(jax, 'devices', no_devices)
  said = distributed.missing_platform()
  assert said.startswith('JAX_PLATFORMS=cuda: no such devices here')
  assert "pip install -e '.[cuda]'" in said
  assert said in '\n'.join(doctor.report([]))


@pytest.mark.parametrize(
  'text, words',
  [
    (None, "--config: cannot read '{}', expected a file, or one of {names}"),
    ('{}', "--config: get_config in '{}' gives no ConfigDict, expected one"),
  ],
)
def test_a_config_that_is_none_is_named(tmp_path, text, words):
  path = tmp_path / 'xyz.py'
  if text is not None:
    path.write_text(f'def get_config():\n  return {text}\n')
  words = words.format(path, names=experiments.names())
  done = command(f'--config={path}', workdir=tmp_path)
  assert done.returncode == 2
  assert done.stderr.strip() == f'rpt_jax: error: {words}'


@pytest.mark.parametrize(
  'error', [KeyError('names'), AssertionError(), ValueError('not ours')]
)
def test_what_nobody_meant_to_say_names_its_kind(error, capsys, tmp_path):
  def elsewhere():
    raise error

  with pytest.raises(type(error)) as raised:
    elsewhere()
  assert main._refuse(raised.value) == 2
  line = capsys.readouterr().err
  kind = type(error).__name__
  assert line.startswith(f'rpt_jax: error: {kind}: ') and line.count('\n') == 1
  path = line.split('the traceback: ')[1].strip()
  text = pathlib.Path(path).read_text()
  assert 'elsewhere' in text and kind in text
  pathlib.Path(path).unlink()


def test_every_variant_of_a_config_has_its_own_workdir():
  assert experiments.title('configs/hubert_units.py') == 'hubert_units'
  variant = experiments.title('configs/hubert_units.py:quicktest,seed=1')
  assert variant == 'hubert_units-quicktest-seed=1'


def test_a_config_is_found_by_its_name_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert set(experiments.names()) == {
    path.stem for path in pathlib.Path(ROOT).glob('configs/*.py')
  }
  path = os.path.join(ROOT, 'configs', 'mae.py')
  assert experiments.resolve('mae:quicktest') == f'{path}:quicktest'
  assert experiments.resolve('mae') == path
  assert experiments.resolve('my/mae.py:mae') == 'my/mae.py:mae'
  argv = ['main', '--config', 'mae:a', '--config=mae', '--workdir=mae', 'mae']
  assert options._with_paths(argv) == [
    *('main', '--config', f'{path}:a', f'--config={path}'),
    *('--workdir=mae', 'mae'),
  ]
  (tmp_path / 'mae').write_text('')  # A file of the user's comes first.
  assert experiments.resolve('mae') == 'mae'


@pytest.mark.parametrize('spec', ['hubert_unit', 'configs/hubert-units.py:x'])
def test_a_config_that_is_none_has_one_like_it(spec):
  with pytest.raises(ValueError, match="expected .*; perhaps 'hubert_units'"):
    experiments.load(spec)


def test_a_variant_that_is_none_has_one_like_it():
  with pytest.raises(ValueError, match="'quicktst'.*; perhaps 'quicktest'"):
    experiments.load('hubert_units:quicktst')


def test_a_config_is_loaded_as_a_flag_would():
  config = experiments.load('hubert_units:quicktest')
  same = experiments.load(f'{ROOT}/configs/hubert_units.py:quicktest')
  assert config.to_dict() == same.to_dict()
  settings.read(settings.Experiment, config)
  with pytest.raises(ValueError, match="no such file 'nobody', .*'mae'"):
    experiments.load('nobody')


@pytest.mark.parametrize('name', experiments.names())
def test_every_variant_of_a_config_is_listed(name, monkeypatch):
  """Those that its `get_config` says it takes are those that it takes."""
  about, accepted = experiments.about(name), set()
  assert about.purpose.endswith(('.', '?'))

  def argument(arg, expected, real=settings.argument):
    accepted.update(expected)
    return real(arg, expected)

  monkeypatch.setattr(settings, 'argument', argument)
  for variant in about.variants:
    experiments.load(f'{name}:{variant}')
  if name != 'scale':  # Which has those of `rpt`, and sizes of its own.
    assert accepted == set(about.variants)


def test_help_has_every_flag_and_config():
  text = options.usage()
  for flag in flags.FLAGS.flags_by_module_dict()['rpt_jax.options']:
    assert f'\n  --{flag.name}' in text
  assert all(f'\n  {name} ' in text for name in experiments.names())
  assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
  'argument, words',
  [
    (
      'mae:quicktest',
      "found 'mae:quicktest', expected a flag: --config=mae:qui",
    ),
    ('configs/new.py', 'expected a flag: --config=configs/new.py'),
    ('runs/one', 'use --flag=value, as in --config='),
  ],
)
def test_what_is_no_flag_gets_the_flag_to_use(argument, words):
  with flagsaver.flagsaver(), pytest.raises(ValueError, match=words):
    options.parse(['main', argument])


@pytest.mark.slow
def test_kinds_of_ones_own_are_those_of_the_config_beside(tmp_path):
  """A workdir imports nothing by itself; the config that is given does."""
  (tmp_path / 'mylab').mkdir()
  (tmp_path / 'mylab' / 'own.py').write_text(
    'import dataclasses\n\n\n@dataclasses.dataclass(frozen=True)\n'
    'class Settings:\n  """None."""\n\n\n'
    'def domains(name, settings, seed):\n  return ()\n'
  )
  (tmp_path / 'own.py').write_text(
    'from rpt_jax import settings\n\n\ndef get_config():\n'
    "  config = settings.base(title='x')\n"
    "  config.domains.a = settings.plugin('domains', 'mylab.own')\n"
    '  return config\n'
  )
  (tmp_path / 'work').mkdir()
  saved = tmp_path / 'work' / 'config.json'
  saved.write_text('{"domains": {"a": {"kind": "mylab.own"}}}')
  origin = provenance.provenance()
  files.write_json(tmp_path / 'work' / 'run.json', origin)
  with pytest.raises(ValueError, match='give the --config that names it'):
    settings.saved(settings.Experiment, saved)
  command = [sys.executable, '-c', 'from rpt_jax import main; main.command()']
  done = subprocess.run(
    [*command, '--report=work', '--config=own.py'],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': ROOT},
    capture_output=True,
    text=True,
  )
  assert 'is not finished (stages without an artifact: ' in done.stderr
  assert done.returncode == 2
