"""What the command line imports before there is work to do."""

import subprocess
import sys

import pytest

from rpt_jax import __version__
from tests.test_main import CONFIG, ROOT

HEAVY = (
  'array_record',
  'clu',
  'dm_control',
  'flax',
  'grain',
  'gymnax',
  'matplotlib',
  'metaworld',
  'mujoco',
  'optax',
  'orbax',
  'pyarrow',
  'scipy',
  'tensorboardX',
  'tensorflow',
  'tensorflow_datasets',
  'torch',
)
_CODE = """
import sys
from rpt_jax import main
if len(sys.argv) > 1:
  code = main.main(sys.argv[1:])
  print('exit code', code)
print(*sorted({name.split('.')[0] for name in sys.modules}))
"""


def loaded(*command):
  """(what is said, exit code or '', packages imported) of a command line."""
  result = subprocess.run(
    [sys.executable, '-c', _CODE, *command],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  *said, packages = result.stdout.splitlines()
  return '\n'.join(said) + result.stderr, set(packages.split())


def test_the_command_line_imports_nothing_heavy():
  _, packages = loaded()
  assert 'ml_collections' in packages and not packages & {'jax', *HEAVY}


@pytest.mark.parametrize(
  'arguments, code, words',
  [
    (['--help'], 0, '--workdir=<folder>\n'),
    (['-h'], 0, '--config=<name>[:<variant>]\n'),
    ([], 2, ' :tune :quicktest\n'),  # Nothing was asked for, nothing is done.
    (['--version'], 0, f'rpt_jax {__version__}\n'),
  ],
)
def test_what_there_is_is_told_at_once(arguments, code, words):
  said, packages = loaded('rpt_jax.main', *arguments)
  assert words in said and f'exit code {code}' in said
  assert not packages & {'jax', *HEAVY}


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
  said, packages = loaded('rpt_jax.main', *arguments)
  assert words in said and 'exit code 2' in said
  assert 'Traceback' not in said
  assert packages & set(HEAVY) <= needed
