"""What the command line imports before there is work to do."""

import subprocess
import sys

import pytest

from tests.test_main import CONFIG, ROOT

HEAVY = (
  'array_record',
  'clu',
  'flax',
  'grain',
  'gymnax',
  'matplotlib',
  'metaworld',
  'mujoco',
  'optax',
  'orbax',
  'pyarrow',
  'tensorboardX',
  'tensorflow',
  'tensorflow_datasets',
  'torch',
)
_CODE = """
import sys
from rpt_jax import main
if len(sys.argv) > 1:
  code = main.main(sys.argv)
  print('exit code', code)
print(*sorted({name.split('.')[0] for name in sys.modules}))
"""


def loaded(*arguments):
  """(what is said, exit code or '', packages imported) of a command line."""
  result = subprocess.run(
    [sys.executable, '-c', _CODE, *arguments],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  *said, packages = result.stdout.splitlines()
  return '\n'.join(said) + result.stderr, set(packages.split())


def test_the_command_line_imports_nothing_heavy():
  _, packages = loaded()
  assert 'jax' in packages and not packages & set(HEAVY)


def test_help_imports_nothing_heavy():
  said, packages = loaded('--help')
  assert '--workdir: ' in said and 'exit code 0' in said
  assert not packages & set(HEAVY)


@pytest.mark.parametrize(
  ('arguments', 'words', 'needed'),
  [
    (['--config=configs/nope.py'], 'nope.py', set()),
    (['--config=configs/hubert_units.py:nope'], "'nope'", set()),
    # Objectives, for their settings, are on flax's modules.
    ([CONFIG, '--config.finetune.seeds=a'], 'finetune.seeds', {'flax'}),
    ([CONFIG, '--config.finetune.sedes=2'], 'finetune.sedes', {'flax'}),
  ],
)
def test_a_mistake_is_told_before_anything_heavy(arguments, words, needed):
  said, packages = loaded(*arguments)
  assert words in said and 'exit code 2' in said
  assert 'Traceback' not in said
  assert packages & set(HEAVY) <= needed
