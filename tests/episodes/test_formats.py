"""The door of formats: who reads what, and readers of one's own."""

import importlib
import inspect
import pathlib
import pickle
import sys
import textwrap
import types

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.domains import recorded
from rpt_jax.episodes import formats
from rpt_jax.episodes.errors import needs

README = pathlib.Path(__file__).parents[2] / 'configs/README.md'
NAMES = sorted(formats._own())
OWN = '''
  """A lab's own log: a text of numbers, a step a line."""

  import numpy as np

  from rpt_jax.episodes.columns import Column
  from rpt_jax.episodes.source import reopen

  MARK = 'a file that ends in .lablog'

  def sniff(path):
    return float(path.suffix == '.lablog')

  def open(path, split, size=None):
    return Log(str(path), split)

  class Log:
    fps = 5.0
    defaults = {'state': 'numbers', 'action': 'numbers'}

    def __init__(self, path, split):
      if split != 'all':
        raise ValueError(f'{path}: no split {split!r}')
      self.name, self.path = 'log', path
      self._rows = np.loadtxt(path, ndmin=2)
      shape = self._rows.shape[1:]
      self.columns = {'numbers': Column('values', shape, np.dtype(float))}
      self.lengths = np.array([len(self._rows)])

    def __reduce__(self):
      return reopen, (Log, self.path, 'all')

    def read(self, index, columns):
      return {column: self._rows for column in columns}

    def metadata(self, index):
      return {'instruction': 'log'}
'''


@pytest.fixture
def log(tmp_path, monkeypatch):
  """(a file in a format of one's own, the module that reads it)."""
  (tmp_path / 'lab').mkdir()
  (tmp_path / 'lab/__init__.py').write_text('')
  (tmp_path / 'lab/logs.py').write_text(textwrap.dedent(OWN))
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setattr(formats, '_registered', [])
  path = tmp_path / 'run.lablog'
  path.write_text('1 2 3\n4 5 6\n')
  yield path, importlib.import_module('lab.logs')
  for name in ('lab.logs', 'lab'):
    sys.modules.pop(name, None)


@pytest.mark.parametrize('name', NAMES)
def test_a_file_of_the_folder_keeps_the_protocol(name, tmp_path):
  reader = formats._own()[name]
  assert reader.__doc__ and isinstance(reader.MARK, str) and reader.MARK
  parameters = list(inspect.signature(reader.open).parameters)
  assert parameters[:3] == ['path', 'split', 'size']
  (tmp_path / 'empty').mkdir()
  for path in ('empty', 'nothing'):
    assert reader.sniff(tmp_path / path) == 0.0
  assert f'| `{name}` |' in README.read_text('utf-8')


def test_nobody_heavy_is_imported_to_tell_a_format():
  """What reads a format is imported when it is there to be read."""
  lines = (
    'import sys, pathlib',
    'from rpt_jax.episodes import formats',
    '[r.sniff(pathlib.Path("/nowhere")) for r in formats._own().values()]',
    'heavy = {"h5py", "pyarrow", "av", "tensorflow_datasets", "tensorstore",',
    '  "zarr", "rosbags", "mcap"}',
    'print(sorted(heavy & set(sys.modules)))',
  )
  import subprocess

  done = subprocess.run(
    [sys.executable, '-c', '\n'.join(lines)],
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.strip() == '[]'


def check(source):
  np.testing.assert_array_equal(source[0].action, [[1, 2, 3], [4, 5, 6]])
  assert source.fps == 5.0 and source.metadata(0)['instruction'] == 'log'
  again = pickle.loads(pickle.dumps(source))
  assert again.lengths.tolist() == [2]


def test_a_reader_of_ones_own_is_registered(log):
  path, reader = log
  with pytest.raises(ValueError, match='no dataset found; expected one of'):
    episodes.open(path)
  episodes.register(reader)
  episodes.register(reader)
  assert len(formats._registered) == 1
  check(episodes.open(path))


def test_a_reader_is_named_by_module(log):
  path, _ = log
  check(episodes.open(path, format='lab.logs'))


def test_a_config_names_a_reader(log):
  path, _ = log
  mapping = {'state': 'numbers', 'action': 'numbers'}
  settings = recorded.Settings(
    path=str(path), format='lab.logs', cameras=(), mapping=mapping
  )
  assert recorded.Recorded('log', settings).widths == {
    'proprio': 3,
    'action': 3,
  }


def test_readers_that_are_none_are_refused(log):
  path, _ = log
  with pytest.raises(ValueError, match='found no sniff, expected it'):
    episodes.register(types.SimpleNamespace(MARK='nothing'))
  for kind, said in (
    ('nowhere', "format: found 'nowhere', expected one of"),
    ('no.such.module', "'no.such.module' cannot be imported"),
    ('lab', "format: found 'lab'"),
    ('os; x', "format: found 'os; x'"),
    ('json.decoder', 'found no MARK'),
  ):
    with pytest.raises(ValueError, match=said):
      episodes.open(path, format=kind)


def test_who_is_as_sure_as_another_asks(log):
  path, reader = log
  other = types.SimpleNamespace(
    __name__='other', MARK='any', sniff=lambda path: 1.0, open=reader.open
  )
  episodes.register(reader)
  episodes.register(other)
  with pytest.raises(ValueError, match="could be any of.*format='"):
    episodes.open(path)
  check(episodes.open(path, format='lab.logs'))


def test_a_missing_package_is_not_said_to_be_a_broken_file(log, monkeypatch):
  path, reader = log
  episodes.register(reader)

  def needing(*arguments):
    try:
      import nobody_has_this
    except ImportError as error:
      raise needs('nobody_has_this', 'lab') from error
    return nobody_has_this

  monkeypatch.setattr(reader, 'open', needing)
  with pytest.raises(ValueError) as error:
    episodes.open(path)
  assert 'nobody_has_this' in str(error.value)
  assert 'copy it again' not in str(error.value)
