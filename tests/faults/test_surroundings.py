"""Faults 24 to 30: what a run is told, given, and where it is to write."""

import ast
import json
import logging
import os
import struct
import time

import numpy as np
import pytest
from tensorboardX import event_file_writer

from rpt_jax import episodes
from rpt_jax.episodes.rlds import writer
from rpt_jax.tools import convert
from rpt_jax.training import checkpoint, metrics, owned, sharding
from tests.faults import job
from tests.faults.test_broken_data import make_episode
from tests.test_main import CONFIG, command
from tests.training import tiny

PACKAGE = job.ROOT / 'rpt_jax'


def refused(result, words):
  """Exit code 2 and one line, which has these words."""
  assert result.returncode == 2, result.stderr
  lines = result.stderr.strip().splitlines()
  assert len(lines) == 1 and lines[0].startswith('rpt_jax: error:')
  assert words in lines[0]


@pytest.mark.parametrize(
  'arguments, words',
  [
    ((), '--config='),
    (('--config=configs/nope.py',), 'nope.py'),
    (('--config=configs/hubert_units.py:fast',), 'quicktest'),
    ((CONFIG, '--config.pretrian.steps=3'), 'pretrian'),
    ((CONFIG, '--config.image_model.steps=1e3'), 'image_model.steps'),
    (
      (CONFIG, '--config.image_model.learning_rate=nan'),
      'image_model.learning_rate',
    ),
    ((CONFIG, '--config.image_model.steps=-1'), 'image_model.steps'),
    ((CONFIG, 'extra'), 'extra'),
    ((CONFIG, '--stages=enocde'), 'enocde'),
    ((CONFIG, '--stages=encode'), 'collect'),
    ((CONFIG, '--nosuchflag=1'), 'nosuchflag'),
    ((CONFIG, '--config.domains.gymnax.envs=("Pong",)'), 'Pong'),
    ((CONFIG, '--config.encoder=alexnet'), 'alexnet'),
  ],
  ids=lambda value: str(value)[-30:],
)
def test_24_config_typos(arguments, words, tmp_path):
  """a typo in a flag or setting, NaN or negative numbers, positional arguments
  -> one line that names it and exit code 2"""
  refused(command(*arguments, workdir=tmp_path / 'work'), words)


class Evil:
  """What, unpickled, makes a file."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return open, (self.path, 'w')


def header(**tensors):
  content = json.dumps(tensors).encode()
  return struct.pack('<Q', len(content)) + content


GARBAGE = {
  'noise': b'\x80\x04\x95' * 40,
  'endless header': struct.pack('<Q', 1 << 60) + b'{}',
  'beyond its end': header(
    a={'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 1 << 40]}
  ),
}


def test_25_malicious_files(tmp_path):
  """a file made to run code or to read beyond its end -> refused by name: no
  pickle is ever read, weights are safetensors alone"""
  data = tmp_path / 'data'
  data.mkdir()
  good, state = np.zeros((4, 2)), np.zeros((4, 3))
  evil = np.array([Evil(tmp_path / 'owned')] * 4, object)
  np.savez(data / 'a.npz', state=state, action=good)
  (data / 'b.npz').write_bytes((data / 'a.npz').read_bytes()[:300])
  np.savez(data / 'c.npz', state=state, action=evil)
  source = episodes.open(data)
  assert source[0].length == 4
  for index, words in ((1, 'b.npz'), (2, 'c.npz.*pickle')):
    with pytest.raises(episodes.CorruptEpisode, match=words):
      source[index]
  assert not (tmp_path / 'owned').exists()
  for content in GARBAGE.values():
    (tmp_path / 'model.safetensors').write_bytes(content)
    with pytest.raises(ValueError, match='model.safetensors: not a whole'):
      checkpoint.load_params(tmp_path / 'model.safetensors')
  loads = {'pickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve'}
  assert not (loads | {'yaml', 'torch'}) & imports()
  assert 'allow_pickle' not in called()


def trees():
  return [ast.parse(path.read_text()) for path in PACKAGE.rglob('*.py')]


def imports():
  """Top-level names of all that the package imports."""
  nodes = [node for tree in trees() for node in ast.walk(tree)]
  names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
  names += [n.module or '' for n in nodes if isinstance(n, ast.ImportFrom)]
  return {name.split('.')[0] for name in names}


def called():
  """Names of all functions that the package calls, and of their keywords."""
  calls = [
    node for tree in trees() for node in ast.walk(tree)
    if isinstance(node, ast.Call)
  ]  # fmt: skip
  names = {getattr(c.func, 'attr', getattr(c.func, 'id', '')) for c in calls}
  return names | {k.arg for c in calls for k in c.keywords}


def test_26_archive_traversal(tmp_path):
  """an archive or dataset whose file names lead out of its folder -> no archive
  is ever unpacked; shards of a conversion must be names of files"""
  assert 'tarfile' not in imports()
  assert not {'extract', 'extractall', 'unpack_archive'} & called()
  folder = tmp_path / 'toy'
  writer.write(folder, 'toy', {'train': [make_episode(0, 3)]})
  info = json.loads((folder / 'dataset_info.json').read_text())
  info['fileFormat'] = 'tfrecord'
  info['splits'][0]['filepathTemplate'] = '../../{SPLIT}.{FILEFORMAT}'
  (folder / 'dataset_info.json').write_text(json.dumps(info))
  with pytest.raises(ValueError, match=r"called '../../train.array_record'"):
    convert.run(folder, tmp_path / 'new')
  assert [path.name for path in tmp_path.iterdir()] == ['toy']


def test_27_two_jobs_in_one_workdir(tmp_path):
  """two jobs in one workdir -> the second is refused with one line; the lock
  goes when its job does, however that ends"""
  with owned.held(tmp_path):
    second = command(CONFIG, '--stages=encode', workdir=tmp_path)
    refused(second, f'in use by another job (process {os.getpid()} on')
  assert not list(tmp_path.glob('*/wanted.json'))
  with owned.held(tmp_path):
    pass


@pytest.mark.parametrize('where', ['below a file', '/proc/runs', 'gs://a/b'])
def test_28_workdir_that_cannot_be(tmp_path, where):
  """a workdir that cannot be written (below a file, in /proc), or a URL -> one
  line naming it before any work"""
  if where == 'below a file':
    (tmp_path / 'file').write_text('')
    where = tmp_path / 'file' / 'runs'
  refused(command(CONFIG, workdir=where), str(where))
  assert not (job.ROOT / 'gs:').exists()


def test_29_clock_and_seed(tmp_path, monkeypatch):
  """resumed on another day -> the same bits; only another seed gives others"""
  mesh = sharding.make_mesh(job.EVERYWHERE)

  def kernel(name, **settings):
    state, _ = job.train(tmp_path / name, mesh, **settings)
    return np.asarray(state.params['layer']['kernel'])

  expected, now = kernel('a'), time.time
  assert (kernel('b', seed=1) != expected).any()
  kernel('c', stop=8)
  monkeypatch.setattr(time, 'time', lambda: now() + 1e8)
  np.testing.assert_array_equal(kernel('c'), expected)


def test_30_metrics_writer_fails(tmp_path, monkeypatch, caplog):
  """metrics cannot be written -> told once, training goes on; the lines that
  are missing are written when they can be"""

  def broken(*_):
    raise OSError('no room')

  blocked = tmp_path / 'metrics.partial'
  blocked.mkdir(parents=True)
  monkeypatch.setattr(
    event_file_writer.EventsWriter, '_write_serialized_event', broken
  )
  seen = []

  def batches(index):
    if index == 7:
      seen.append(metrics.read(tmp_path / 'metrics.jsonl'))
      blocked.rmdir()
    return tiny.batch_at(index)

  with caplog.at_level(logging.WARNING):
    _, rows = tiny.train(tmp_path, batches=batches)
  assert seen == [[]]
  assert [row['step'] for row in rows] == [2, 4, 6, 8, 10, 12]
  assert metrics.read(tmp_path / 'metrics.jsonl') == rows
  assert caplog.text.count('metrics are not written') == 1
