"""The import boundaries of the house: verbs -> nouns -> types."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / 'rpt_jax'
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
ALLOWED = {
  'episodes': {'envs'},
  'evals': {'envs'},
  'objectives': {'models'},
  'policy': {'models', 'objectives', 'sharing', 'training', 'vision'},
  'sharing': {'models', 'training', 'vision'},
  'vision': {'models'},
}
# Who may import what: one owner each.
OWNERS = {
  'array_record': (
    'episodes/rlds',
    'episodes/streams.py',
    'episodes/tfrecord.py',
  ),
  'av': ('episodes/decode.py',),
  'flax': ('models/', 'vision/'),
  'grain': ('episodes/loader.py',),
  'gymnax': ('envs/',),
  'h5py': ('episodes/hdf5.py',),
  'huggingface_hub': ('vision/hub.py',),
  'matplotlib': ('reporting/',),
  'metaworld': ('envs/metaworld.py',),
  'mujoco': ('envs/metaworld',),
  'orbax': ('training/checkpoint.py',),
  'pyarrow': ('episodes/lerobot.py',),
  'tensorboardX': ('training/metrics.py',),
  'tensorflow': (),
  'tensorflow_datasets': ('episodes/rlds', 'episodes/tfrecord.py'),
  'tokenizers': ('vision/tokens.py',),
  'torch': (),
  'transformers': (),
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


@pytest.mark.parametrize('path', _files(), ids=str)
def test_imports_follow_the_data(path):
  name = path.relative_to(PACKAGE).as_posix()
  room = name.split('/')[0]
  for imported in _imports(path):
    parts = imported.split('.')
    for owned, owners in OWNERS.items():
      if parts[0] == owned:
        assert any(name.startswith(o) for o in owners), (name, imported)
    if parts[0] != 'rpt_jax' or room not in NOUNS or len(parts) < 2:
      continue
    assert parts[1] not in ('stages', 'main'), (name, imported)
    if parts[1] in NOUNS:
      assert parts[1] in {room, *ALLOWED.get(room, ())}, (name, imported)


def test_every_file_says_what_it_is():
  for path in _files():
    assert ast.get_docstring(ast.parse(path.read_text())), path
