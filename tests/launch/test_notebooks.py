"""The notebooks of launch/colab: as they are stored, and run to their end.

A cell tagged `parameters` is replaced by quick settings and by folders made
here; cells tagged `network` are left out.
"""

import ast
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.commands import QUICKLY
from tests.episodes.formats.test_video import write_video
from tests.vision import families

nbclient = pytest.importorskip('nbclient')
nbformat = pytest.importorskip('nbformat')
ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / 'launch' / 'colab'
_URL = re.compile(r"  url='https://github.com/(\S+)'")
REPOSITORY = _URL.search((ROOT / 'setup.py').read_text())[1]
NAMES = ('hubert_units', 'rpt_robot', 'tpu', 'your_data')
TAGS = {'network', 'parameters'}
# What a notebook may import of the package, and of nothing else in it.
PUBLIC = {
  'rpt_jax',
  'rpt_jax.episodes',
  'rpt_jax.experiments',
  'rpt_jax.main',
  'rpt_jax.notebook',
  'rpt_jax.policy',
  'rpt_jax.serve.client',
  'rpt_jax.units.kmeans',
  'rpt_jax.units.quality',
  'rpt_jax.units.transforms',
  'rpt_jax.vision',
}
every_notebook = pytest.mark.parametrize('name', NAMES)


def load(name):
  return nbformat.read(FOLDER / f'{name}.ipynb', as_version=4)


def tags(cell):
  return set(cell.metadata.get('tags', ()))


def code(notebook):
  return [cell for cell in notebook.cells if cell.cell_type == 'code']


def test_there_are_these_notebooks():
  assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(NAMES)


@every_notebook
def test_it_is_stored_without_outputs(name):
  notebook = load(name)
  nbformat.validate(notebook)
  assert notebook.nbformat == 4
  ids = [cell.id for cell in notebook.cells]
  assert len(set(ids)) == len(ids)
  for cell in code(notebook):
    assert cell.outputs == [] and cell.execution_count is None
    assert len(cell.source.splitlines()) <= 25, cell.source


@every_notebook
def test_it_begins_with_a_badge_and_installs_from_git(name):
  first, second, *_ = load(name).cells
  assert first.cell_type == 'markdown' and 'network' in tags(second)
  address = f'github/{REPOSITORY}/blob/main/launch/colab/{name}.ipynb'
  badge, link = re.match(
    r'\[!\[Open in Colab\]\((\S+)\)\]\((\S+)\)', first.source
  ).groups()
  assert badge == 'https://colab.research.google.com/assets/colab-badge.svg'
  assert link == f'https://colab.research.google.com/{address}'
  (requirement,) = re.findall(r'"(rpt_jax\S* @ .*)"', second.source)
  assert requirement.endswith(f' @ git+https://github.com/{REPOSITORY}')


def test_one_command_writes_another_address_of_the_repository(tmp_path):
  readme = ROOT / 'launch/README.md'
  for path in (ROOT / 'setup.py', readme, *FOLDER.iterdir()):
    copy = tmp_path / path.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(path.read_text())
  command = re.search(r'(?m)^    (sed -i .*)$', readme.read_text())[1]
  assert f'#{REPOSITORY}#me/my_fork#' in command
  subprocess.run(['bash', '-c', command], cwd=tmp_path, check=True)
  copies = [path for path in tmp_path.rglob('*') if path.is_file()]
  assert len(copies) == 2 + len(NAMES)
  for copy in copies:
    assert REPOSITORY not in copy.read_text()
    assert 'me/my_fork' in copy.read_text()


def test_nothing_else_names_the_address_of_the_repository():
  listed = subprocess.run(
    ['git', '-C', ROOT, 'grep', '-lE', f'github(.com)?/{REPOSITORY}'],
    capture_output=True,
    text=True,
  )
  if listed.returncode:
    pytest.skip('no clone')
  notebooks = {f'launch/colab/{name}.ipynb' for name in NAMES}
  assert set(listed.stdout.split()) == {'setup.py'} | notebooks


@every_notebook
def test_tags_are_those_the_test_knows(name):
  notebook = load(name)
  assert sum('parameters' in tags(c) for c in notebook.cells) == 1
  for cell in notebook.cells:
    assert tags(cell) <= TAGS
    if 'network' in tags(cell):
      first = cell.source.splitlines()[0]
      assert re.match(r'# .*(left out|leaves)', first), first


@every_notebook
def test_it_imports_what_is_public_alone(name):
  for cell in code(load(name)):
    text = re.sub(r'(?m)^\s*[%!].*$', 'pass', cell.source)
    for node in ast.walk(ast.parse(text)):
      imported = []
      if isinstance(node, ast.Import):
        imported = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        module = node.module
        whole = [f'{module}.{alias.name}' for alias in node.names]
        imported = [x if x in PUBLIC else module for x in whole]
      for each in imported:
        assert not each.startswith('rpt_jax') or each in PUBLIC, each


def run(name, folder, parameters, devices=1):
  """The cells' outputs, texts and HTML; raises where a cell does."""
  notebook = load(name)
  own = {k: v for k, v in os.environ.items() if k != 'COVERAGE_PROCESS_START'}
  flag = f'--xla_force_host_platform_device_count={devices}'
  python = pathlib.Path(sys.executable).parent
  environment = own | {
    'PATH': f'{python}:{own["PATH"]}',
    'PYTHONPATH': str(ROOT),
    'XLA_FLAGS': f'{QUICKLY} {flag}',
  }
  cells = [c for c in notebook.cells if 'network' not in tags(c)]
  for cell in cells:
    if 'parameters' in tags(cell):
      names = set(re.findall(r'(?m)^(\w+) = ', cell.source))
      assert set(parameters) <= names, names
      cell.source += ''.join(f'\n{k} = {v!r}' for k, v in parameters.items())
  notebook.cells = cells
  where = {'metadata': {'path': str(folder)}}
  client = nbclient.NotebookClient(notebook, timeout=600, resources=where)
  try:
    client.execute(env=environment)
  finally:
    nbformat.write(notebook, folder / f'{name}.ipynb')
  return outputs(notebook)


def outputs(notebook):
  """(all that was printed, all HTML that was shown)."""
  said, shown = [], []
  for output in sum((c.outputs for c in code(notebook)), []):
    said.append(output.get('text', ''))
    shown.append(output.get('data', {}).get('text/html', ''))
  return ''.join(said), ''.join(map(''.join, shown))


def test_hubert_units(tmp_path):
  said, shown = run(
    'hubert_units',
    tmp_path,
    {
      'CONFIG': 'hubert_units:quicktest',
      'ENV': 'CartPole-v1',
      'CLUSTERS': 8,
      'WORKDIR': 'run',
    },
  )
  assert 'report: done' in said
  assert shown.count('<div class="clip">') == 9  # Three clips, thrice.
  assert 'trained, clip mean, change' in shown and 'image/webp' in shown
  assert '<iframe sandbox="allow-scripts" srcdoc=' in shown


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
  """A small CLIP in the place of a published one."""
  folder = tmp_path_factory.mktemp('models') / 'clip'
  folder.mkdir()
  return families.save(families.build('clip'), folder)


def test_your_data(tmp_path, clip):
  (tmp_path / 'videos').mkdir()
  for i in range(3):
    write_video(tmp_path / f'videos/{i}.mp4', 20, first=8 * i)
  said, shown = run(
    'your_data',
    tmp_path,
    {
      'DATA': 'videos',
      'OPTIONS': {'clip_steps': 10, 'size': (24, 32)},
      'MODEL': str(clip),
      'CLUSTERS': 4,
    },
  )
  assert '6 episodes, 60 steps' in said
  assert shown.count('image/webp') == 2 and 'Frames nearest to unit' in shown


def robot(folder, cameras, joints):
  """Episodes of one robot, whose actions are what its state does next."""
  folder.mkdir()
  rng = np.random.default_rng(joints)
  for i in range(4):
    state_TP = rng.normal(size=(13, joints)).cumsum(0).astype(np.float32)
    seen = {c: rng.integers(0, 256, (12, 24, 32, 3), np.uint8) for c in cameras}
    action_TA = np.diff(state_TP, axis=0)
    np.savez(folder / f'{i}.npz', state=state_TP[:-1], action=action_TA, **seen)
  mapping = {name: name for name in (*cameras, 'state', 'action')}
  return {'path': folder.name, 'cameras': cameras, 'mapping': mapping}


def test_rpt_robot(tmp_path, clip):
  said, shown = run(
    'rpt_robot',
    tmp_path,
    {
      'FIRST': robot(tmp_path / 'one', ('image',), 2),
      'SECOND': robot(tmp_path / 'two', ('image', 'side'), 3),
      'ENCODER': str(clip),
      'IMAGE_SIZE': 0,
      'WIDTH': 32,
      'STEPS': 4,
      'POLICY_STEPS': 4,
      'DEMOS': (1,),
    },
  )
  assert 'loaded 18 ' in said and 'new 17: head_action' in said
  assert (tmp_path / 'my_policy/config.json').exists()


def test_tpu(tmp_path):
  """On eight devices of a CPU, and compiled for eight chips."""
  said, shown = run(
    'tpu',
    tmp_path,
    {
      'CONFIG': 'hubert_units:quicktest',
      'ENV': 'CartPole-v1',
      'STAGES': ('collect', 'frames', 'see'),
      'WORKDIR': 'run',
      'POD_CONFIG': 'hubert_units:quicktest',
      'POD': 'v5e:2x4',
    },
    devices=8,
  )
  assert 'run/see/profile/' in said and '.trace.json.gz' in said
  assert 'HBM' in said and '8x1x1' in said
