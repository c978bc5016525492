"""What `pip install .` leaves on a machine: whole, and importable."""

import email
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

import rpt_jax
from rpt_jax import experiments

ROOT = pathlib.Path(__file__).parents[1]
BUILD = """
import sys
from setuptools import build_meta
print(build_meta.build_wheel(sys.argv[1]))
"""
# Modules to import on stdin; {module: where it lies, or why it cannot be}.
IMPORT = """
import importlib, json, sys
outcomes = {}
for name in json.load(sys.stdin):
  try:
    module = importlib.import_module(name)
    outcomes[name] = [module.__file__, '']
  except ModuleNotFoundError as error:
    outcomes[name] = ['', error.name or str(error)]
  except Exception as error:
    outcomes[name] = ['', repr(error)]
print(json.dumps(outcomes))
"""
# Of extras; what a machine without them may not import.
EXTRAS = {'av', 'dm_control', 'h5py', 'huggingface_hub', 'metaworld', 'mujoco'}
EXTRAS |= {'msgpack', 'pyarrow', 'tokenizers', 'torch', 'transformers'}
EXTRAS |= {'websockets'}


def python(code, *arguments, **options):
  result = subprocess.run(
    [sys.executable, '-c', code, *map(str, arguments)],
    capture_output=True,
    text=True,
    **options,
  )
  assert result.returncode == 0, result.stderr[-3000:]
  return result.stdout


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """The unpacked wheel of a copy, as a build leaves files where it runs."""
  copy = tmp_path_factory.mktemp('copy') / 'source'
  ignored = shutil.ignore_patterns('__pycache__', '*.egg-info')
  for name in ('rpt_jax', 'configs'):
    shutil.copytree(ROOT / name, copy / name, ignore=ignored)
  for path in ROOT.iterdir():
    if path.is_file() and not path.name.startswith('.'):
      shutil.copy(path, copy)
  output = python(BUILD, copy.parent, cwd=copy)
  wheel = copy.parent / output.splitlines()[-1]
  folder = tmp_path_factory.mktemp('installed')
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder)
  return folder


def modules(folder):
  """Dotted names of all files below `folder/rpt_jax` but configs."""
  paths = (p.relative_to(folder) for p in (folder / 'rpt_jax').rglob('*.py'))
  names = ('.'.join(p.with_suffix('').parts) for p in paths)
  names = (name.removesuffix('.__init__') for name in names)
  return sorted(n for n in names if not n.startswith('rpt_jax.configs.'))


def test_a_wheel_holds_every_module(installed):
  assert modules(installed) == modules(ROOT)


def test_a_wheel_holds_what_runs_in_the_page(installed):
  scripts = {
    root: {p.relative_to(root): p.read_text() for p in root.rglob('*.js')}
    for root in (ROOT / 'rpt_jax', installed / 'rpt_jax')
  }
  ours, theirs = scripts.values()
  assert ours == theirs and len(ours) > 1


def test_every_module_can_be_imported_elsewhere(installed, tmp_path):
  environment = os.environ | {'PYTHONPATH': str(installed), 'XLA_FLAGS': ''}
  names = modules(ROOT)
  output = python(
    IMPORT, cwd=tmp_path, env=environment, input=json.dumps(names)
  )
  outcomes = json.loads(output.splitlines()[-1])
  assert list(outcomes) == names
  for name, (file, missing) in outcomes.items():
    if missing.split('.')[0] in EXTRAS:
      continue
    assert not missing, f'{name}: {missing}'
    assert pathlib.Path(file).is_relative_to(installed), (name, file)


def test_its_configs_are_found_by_name_elsewhere(installed, tmp_path):
  environment = os.environ | {'PYTHONPATH': str(installed), 'XLA_FLAGS': ''}
  code = """
import pathlib, sys
from rpt_jax import experiments, main
for name in experiments.names():
  assert pathlib.Path(experiments.resolve(name)).is_relative_to(sys.argv[1])
print(*experiments.names())
main.main(['rpt-jax', '--config=mae:nope'])
"""
  result = subprocess.run(
    [sys.executable, '-c', code, installed],
    cwd=tmp_path,
    env=environment,
    capture_output=True,
    text=True,
  )
  assert result.stdout.split() == experiments.names(), result.stderr
  assert "argument 'nope'" in result.stderr
  scripts = next(installed.glob('rpt_jax-*.dist-info')) / 'entry_points.txt'
  assert 'rpt-jax = rpt_jax.main:command' in scripts.read_text()


def test_licence_and_citation_agree_with_the_package(installed):
  folder = next(installed.glob('rpt_jax-*.dist-info'))
  package = email.message_from_string((folder / 'METADATA').read_text())
  citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
  assert citation['cff-version'] == '1.2.0' and citation['message']
  assert citation['title'] == package['Name']
  version = rpt_jax.__version__
  assert citation['version'] == package['Version'] == version
  assert citation['abstract'] == package['Summary']
  names = [author['name'] for author in citation['authors']]
  assert names == [package['Author']] == ['the rpt_jax authors']
  licence = package['License-Expression'] or package['License']
  assert citation['license'] == licence == 'Apache-2.0'
  text = (ROOT / 'LICENSE').read_text()
  assert 'Apache License' in text and 'Version 2.0, January 2004' in text
  assert text.count('the rpt_jax authors') == 1 and len(text) > 11_000
  kept = [p for p in folder.rglob('LICENSE') if p.read_text() == text]
  assert len(kept) == 1
  assert package['Description-Content-Type'] == 'text/markdown'
  assert package.get_payload().startswith('# rpt_jax')


def test_every_test_file_has_a_name_of_its_own():
  """Without packages two of one name cannot be collected together."""
  names = sorted(path.name for path in (ROOT / 'tests').rglob('test_*.py'))
  assert names == sorted(set(names))
