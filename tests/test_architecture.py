"""The boundaries of the house: tools, verbs, learning, domains, nouns, types.

Each imports those after it, and nothing goes round in a circle. What a function
may be told: sections of a config, and not all of it. What a file behind a door
has: its protocol, and a row in the README.
"""

import ast
import dataclasses
import importlib
import pathlib
import re
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'rpt_jax'
# Nothing imports what stands above it here.
FLOORS = (
  ('main', 'serve'),
  ('tools',),
  ('stages',),
  ('learning',),
  ('domains',),
  ('pretrained',),
  ('policy', 'reporting', 'evals'),
  ('objectives', 'units', 'sharing'),
  ('vision', 'models'),
  ('episodes', 'envs', 'training'),
  ('settings', 'results', 'provenance', 'artifacts'),
  ('files', 'precision', 'target', 'types'),
)
NOUNS = (
  'envs',
  'episodes',
  'evals',
  'models',
  'objectives',
  'policy',
  'reporting',
  'sharing',
  'training',
  'units',
  'vision',
)
OPEN = {
  'files',
  'precision',
  'target',
  'types',
}  # In no room, open to all.
ABOVE = {*NOUNS, *OPEN, 'artifacts', 'provenance', 'results', 'settings'}
# What a room may import beside itself and those: a room, or a file of it.
ALLOWED = {
  'settings': set(),
  'envs': set(),
  'episodes': set(),
  'evals': set(),
  'models': {'settings'},
  'objectives': {'models', 'settings'},
  'policy': {
    'episodes.decode',
    'episodes.scales',
    'models',
    'objectives',
    'settings',
    'sharing',
    'training',
    'vision',
  },
  'reporting': {'results'},
  'serve': {'policy', 'pretrained'},
  'sharing': {'models', 'settings', 'training', 'vision'},
  'training': {'settings'},
  'units': {'episodes', 'models', 'settings', 'training'},
  'vision': {'episodes', 'models', 'settings'},
  'domains': ABOVE,
  'learning': {*ABOVE, 'domains'},
  'stages': {*ABOVE, 'domains', 'learning'},
  'tools': {*ABOVE, 'domains', 'learning', 'stages.plan'},
}
# Of the files that lie in no room: what they may import, rooms and files.
FILES = {
  '__init__': {'pretrained'},
  'artifacts': {'files', 'provenance', 'results'},
  'experiments': {'settings'},
  'files': set(),
  'main': {
    '__version__',
    'learning',
    'options',
    'settings',
    'stages',
    'target',
    'tools',
    'training',
  },
  'notebook': {
    'domains',
    'episodes',
    'files',
    'reporting',
    'results',
    'types',
    'vision',
  },
  'options': {'__version__', 'experiments', 'settings'},
  'precision': {'target'},
  'pretrained': {
    'episodes.scales',
    'models',
    'policy',
    'sharing',
    'types',
    'vision',
  },
  'provenance': {'target'},
  'results': set(),
  'target': set(),
  'types': set(),
}
# A stage knows of no other; what plans and runs them does. Nor does a tool,
# but for the compiled steps that two of them describe.
BESIDE = {
  'stages/pipeline': {'owned', 'plan'},
  'tools/aot': {'steps'},
  'tools/compare': {'workdirs'},
  'tools/dry_run': {'steps'},
  'tools/inspect': {'rrd'},
}
MOST_STAGES = 17  # Files of the verbs, `plan` and `pipeline` included.
# Files whose functions may take the whole config, beside the verbs' `run`.
WHOLE = (
  'main.py',
  'options.py',
  'settings/',
  'learning/checks',
  'stages/pipeline.py',
  'stages/plan.py',
  'tools/',
)
# Rooms that read the config.json of models, others' or saved ones.
OF_MODELS = ('sharing/', 'vision/')
# Who may import what: one owner each.
OWNERS = {
  'array_record': ('episodes/rlds/records.py',),
  'av': ('episodes/videos.py',),
  'datasets': (),
  'flax': ('models/', 'vision/'),
  'grain': ('episodes/loader.py', 'training/ahead.py'),
  'gymnax': ('envs/gymnax/',),
  'h5py': ('episodes/hdf5.py',),
  'huggingface_hub': ('vision/hub.py',),
  'imagecodecs': ('episodes/zarr.py',),
  'lz4': ('episodes/ros/packed.py',),
  'matplotlib': ('reporting/',),
  'mcap': ('episodes/ros/',),
  'dm_control': ('envs/dm_control/',),
  'metaworld': ('envs/metaworld/',),
  'msgpack': ('serve/messages.py',),
  'mujoco': (
    'envs/canvas.py',
    'envs/dm_control/',
    'envs/metaworld/',
    'envs/arrangements.py',
  ),
  'orbax': ('training/checkpoint.py',),
  'pyarrow': ('episodes/parquet.py',),
  'tensorboardX': ('training/metrics.py',),
  'tensorflow': (),
  'tensorstore': ('episodes/zarr.py',),
  'tensorflow_datasets': ('episodes/rlds/', 'tools/convert.py'),
  'tokenizers': ('models/words.py', 'vision/tokens.py'),
  'torch': (),
  'transformers': (),
  'websockets': ('serve/',),
  'zarr': (),
  'zstandard': ('episodes/ros/packed.py',),
}


def _files():
  return sorted(PACKAGE.rglob('*.py'))


def _imports(path):
  """Dotted names of everything a file imports, lazily or not."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
      yield from (f'{node.module}.{alias.name}' for alias in node.names)


def _name(path):
  return path.relative_to(PACKAGE).as_posix()


def _nodes(path, *kinds):
  tree = ast.parse(path.read_text())
  return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _functions(path):
  return _nodes(path, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


every_file = pytest.mark.parametrize('path', _files(), ids=_name)


@every_file
def test_packages_have_owners(path):
  name = _name(path)
  for imported in _imports(path):
    package = imported.split('.')[0]
    if package in OWNERS:
      owners = OWNERS[package]
      assert any(name.startswith(o) for o in owners), (name, imported)


@every_file
def test_imports_follow_the_data(path):
  name = _name(path)
  room = name.split('/')[0].removesuffix('.py')
  allowed = ALLOWED[room] | {room} | OPEN if '/' in name else FILES[room]
  for imported in _imports(path):
    package, _, rest = imported.partition('.')
    if package != 'rpt_jax':
      continue
    parts = rest.split('.')
    named = {parts[0], '.'.join(parts[:2])}
    assert named & allowed, (name, imported)


@every_file
def test_a_stage_and_a_tool_import_no_other(path):
  name = _name(path)
  room = name.split('/')[0]
  if room not in ('stages', 'tools'):
    return
  allowed = BESIDE.get(name.removesuffix('.py'), set())
  for imported in _imports(path):
    if imported.startswith(f'rpt_jax.{room}.'):
      assert imported.split('.')[2] in allowed, (name, imported)


def test_there_are_few_stages():
  assert len(list((PACKAGE / 'stages').glob('*.py'))) <= MOST_STAGES


def test_what_is_allowed_never_points_upwards():
  floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
  for room, allowed in ALLOWED.items():
    for other in {a.split('.')[0] for a in allowed} - {'stages'} | OPEN:
      assert floor[room] <= floor[other], f'{room} imports {other}'
  assert {a for a in ALLOWED['tools'] if 'stages' in a} == {'stages.plan'}


def test_no_imports_go_round_in_a_circle():
  """Those of functions count, too: who needs them has the wrong place."""
  modules = {_module(path): path for path in _files()}
  edges = {
    name: {_resolved(i, modules) for i in _imports(path)} - {None, name}
    for name, path in modules.items()
  }
  size = None
  while size != len(edges):  # Without what nobody imports, or imports nobody.
    size, imported = len(edges), set().union(*edges.values())
    edges = {n: to & set(edges) for n, to in edges.items() if n in imported}
    edges = {n: to for n, to in edges.items() if to}
  assert not edges, edges


def _module(path):
  name = _name(path).removesuffix('.py').removesuffix('__init__').strip('/')
  return f'rpt_jax.{name}'.replace('/', '.').strip('.')


def _resolved(imported, modules):
  """The file that a dotted name is of: a module, or what holds the name."""
  if imported in modules:
    return imported
  holder = imported.rpartition('.')[0]
  return holder if holder in modules else None


@every_file
def test_nothing_is_called_wanted(path):
  """Sections say what is asked for; nobody asks a config whether it is."""
  names = {getattr(f, 'name', '').strip('_') for f in _functions(path)}
  assert 'wanted' not in names


@every_file
def test_keys_have_their_defaults_in_settings_alone(path):
  name = _name(path)
  if name.startswith(('settings/', *OF_MODELS)):
    return
  for call in _nodes(path, ast.Call):
    if isinstance(call.func, ast.Attribute) and call.func.attr == 'get':
      asked = {*re.findall(r'\w+', ast.unparse(call.func.value))}
      assert not asked & {'c', 'config', 'experiment', 'settings'}, (
        f'{name}:{call.lineno}: {ast.unparse(call)}'
      )


def _takes_the_whole(function):
  """Has it a parameter that is the whole config?"""
  a = function.args
  for each in (*a.posonlyargs, *a.args, *a.kwonlyargs):
    annotation = ast.unparse(each.annotation) if each.annotation else ''
    if each.arg in ('config', 'experiment') or 'Experiment' in annotation:
      return True
  return False


@every_file
def test_few_functions_take_the_whole_config(path):
  """All others say by their parameters which sections they depend on."""
  name = _name(path)
  if name.startswith((*WHOLE, *OF_MODELS)):
    return
  if name.startswith('stages/'):
    may = {'run'}
  else:
    may = {'of'} if name.startswith('domains/') else set()
  tree = ast.parse(path.read_text())
  top = {f.name for f in tree.body if isinstance(f, ast.FunctionDef)}
  for function in _functions(path):
    if _takes_the_whole(function):
      label = getattr(function, 'name', 'lambda')
      assert label in may & top, f'{name}:{function.lineno}: {label}'


@every_file
def test_nothing_holds_the_whole_config(path):
  """But a stage that is planned, whose other sections are None."""
  if _name(path) == 'stages/plan.py':
    return
  for node in _nodes(path, ast.ClassDef):
    fields = [f for f in node.body if isinstance(f, ast.AnnAssign)]
    for field in fields:
      assert 'Experiment' not in ast.unparse(field.annotation), node.name
  for node in _nodes(path, ast.Assign):
    for target in node.targets:
      assert not re.fullmatch(
        r'self\._?(config|experiment)', ast.unparse(target)
      ), f'{_name(path)}:{node.lineno}'


@every_file
def test_kinds_of_domains_are_named_in_their_room_alone(path):
  """Nothing else decides by them: a new one is a file of that room."""
  name = _name(path)
  if name.startswith(('domains/', 'envs/')):
    return
  kinds = {'dm_control', 'documents', 'drawings', 'gymnax', 'metaworld'}
  kinds |= {'arrangements', 'recorded', 'tabletop'}
  for node in _nodes(path, ast.Compare):
    texts = {
      leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)
    }
    assert not kinds & texts, f'{name}:{node.lineno}: {ast.unparse(node)}'
  for imported in _imports(path):
    assert not re.fullmatch(
      rf'rpt_jax\.domains\.({"|".join(sorted(kinds))})(\..*)?', imported
    ), (name, imported)


def test_every_file_says_what_it_is():
  for path in _files():
    assert ast.get_docstring(ast.parse(path.read_text())), path


class Door(NamedTuple):
  """A folder of which every file is a kind, found by its name."""

  protocol: tuple[str, ...]  # What a file has beside `Settings`.
  beside: tuple[str, ...] = ()  # Files that are no kinds.


DOORS = {
  'domains': Door(
    ('domains',),
    ('backgrounds', 'measures', 'open_loop', 'playing', 'unacted'),
  ),
  'models/heads': Door(('KINDS', 'Head', 'loss', 'sample')),
  'models/trunks': Door(('VISIBILITIES', 'SHARDING', 'Trunk', 'check')),
  'objectives': Door(
    ('VISIBILITY', 'heads', 'loss'),
    ('behaviour_cloning', 'cal_ql', 'guesses', 'targets', 'tokens'),
  ),
  'policy/monitors': Door(('check', 'start', 'update')),
  'units/makers': Door(('NEEDS', 'sizes', 'lookahead', 'fit', 'apply')),
  'vision/pretraining': Door(
    (
      'NEEDS',
      'CAPTION',
      'SHARDING',
      'model',
      'batch_at',
      'loss',
      'judge',
      'pictures',
      'save',
      'untrained',
    )
  ),
}
every_door = pytest.mark.parametrize('folder', DOORS)


def _behind(folder):
  """{name: module} of the files of a door, without those beside it."""
  stems = {p.stem for p in (PACKAGE / folder).glob('*.py')}
  stems -= {'__init__', *DOORS[folder].beside}
  room = f'rpt_jax.{folder.replace("/", ".")}'
  modules = {s: importlib.import_module(f'{room}.{s}') for s in sorted(stems)}
  return modules


@every_door
def test_a_file_behind_a_door_has_its_protocol(folder):
  for name, module in _behind(folder).items():
    for part in ('Settings', *DOORS[folder].protocol):
      assert hasattr(module, part), f'{folder}/{name}.py lacks {part}'
    assert module.__doc__, name
    assert module.Settings.__doc__, name
    assert module.Settings.__dataclass_params__.frozen, name
    for field in dataclasses.fields(module.Settings):
      assert field.metadata, f'{folder}/{name}.py: {field.name} is no key'


@every_door
def test_what_stands_beside_a_door_is_no_kind(folder):
  for name in DOORS[folder].beside:
    if (PACKAGE / folder / f'{name}.py').exists():
      room = f'rpt_jax.{folder.replace("/", ".")}'
      assert not hasattr(importlib.import_module(f'{room}.{name}'), 'Settings')


@every_door
def test_the_readme_has_a_row_for_every_file_behind_a_door(folder):
  text = (ROOT / 'README.md').read_text()
  heading = rf'(?m)^#+ .*`rpt_jax/{folder}/`.*$'
  assert re.search(heading, text), f'README.md: no table of {folder}'
  table = re.split(r'(?m)^#', re.split(heading, text)[1])[0]
  rows = set(re.findall(r'(?m)^\| `(\w+)` \|', table))
  assert rows == set(_behind(folder)), folder
