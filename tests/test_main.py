"""The command line; what it answers to mistakes: tests/faults."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from rpt_jax import main
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
    (None, "--config: cannot read '{}', expected configs/<name>.py"),
    ('{}', "--config: get_config in '{}' gives no ConfigDict, expected one"),
  ],
)
def test_a_config_that_is_none_is_named(tmp_path, text, words):
  path = tmp_path / 'none.py'
  if text is not None:
    path.write_text(f'def get_config():\n  return {text}\n')
  done = command(f'--config={path}', workdir=tmp_path)
  assert done.returncode == 2
  assert done.stderr.strip() == f'rpt_jax: error: {words.format(path)}'


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
  assert main.experiment('configs/hubert_units.py') == 'hubert_units'
  variant = main.experiment('configs/hubert_units.py:quicktest,seed=1')
  assert variant == 'hubert_units-quicktest-seed=1'
