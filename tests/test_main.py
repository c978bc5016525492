"""The command line: what a typo, a bad value or a wrong flag answers."""

import os
import subprocess
import sys

import pytest

from rpt_jax import main

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


@pytest.mark.parametrize(
  'arguments, words',
  [
    ((), '--config='),
    (('--config=configs/nope.py',), 'nope.py'),
    (('--config=configs/hubert_units.py:fast',), 'quicktest'),
    ((CONFIG, '--config.pretrian.steps=3'), 'pretrian'),
    ((CONFIG, '--config.mae.steps=1e3'), 'mae.steps'),
    ((CONFIG, '--config.mae.learning_rate=nan'), 'mae.learning_rate'),
    ((CONFIG, '--config.mae.steps=-1'), 'mae.steps'),
    ((CONFIG, 'extra'), 'extra'),
    ((CONFIG, '--stages=enocde'), 'enocde'),
    ((CONFIG, '--stages=encode'), 'collect'),
    ((CONFIG, '--nosuchflag=1'), 'nosuchflag'),
    ((CONFIG, '--config.envs=("Pong",)'), 'Pong'),
    ((CONFIG, '--config.encoder=alexnet'), 'alexnet'),
  ],
  ids=lambda value: str(value)[-30:],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, words, tmp_path):
  result = command(*arguments, workdir=tmp_path / 'work')
  assert result.returncode == 2, result.stderr
  lines = result.stderr.strip().splitlines()
  assert len(lines) == 1 and lines[0].startswith('rpt_jax: error:')
  assert words in lines[0]


def test_every_variant_of_a_config_has_its_own_workdir():
  assert main.experiment('configs/hubert_units.py') == 'hubert_units'
  variant = main.experiment('configs/hubert_units.py:quicktest,seed=1')
  assert variant == 'hubert_units-quicktest-seed=1'
