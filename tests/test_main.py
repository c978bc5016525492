"""The command line; what it answers to mistakes: tests/faults."""

import os
import subprocess
import sys

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


def test_every_variant_of_a_config_has_its_own_workdir():
  assert main.experiment('configs/hubert_units.py') == 'hubert_units'
  variant = main.experiment('configs/hubert_units.py:quicktest,seed=1')
  assert variant == 'hubert_units-quicktest-seed=1'
