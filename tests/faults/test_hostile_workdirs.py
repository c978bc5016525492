"""Faults 43 and 44: what runs, policies and tools of others leave."""

import json
import os
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import files, main, notebook
from rpt_jax.domains import documents
from rpt_jax.domains.playing import Played
from rpt_jax.envs.dm_control import experts
from rpt_jax.models import words
from rpt_jax.tools import compare, inspect, rrd
from rpt_jax.training import live
from rpt_jax.vision import sentences
from tests.episodes.test_survey import clean
from tests.faults.test_hostile_files import refused
from tests.tools.test_compare import finished

KEPT = 'a week of work'


def dataset(folder):
  folder.mkdir()
  np.savez(folder / '0.npz', **clean(0))
  return folder


def test_43_pages_and_recordings_in_the_place_of_others(tmp_path):
  """a page or a recording that is to be written where another file lies ->
  refused by name before any work, the file is kept"""
  data = dataset(tmp_path / 'data')
  runs = [finished(tmp_path / name) for name in ('one', 'two')]
  mine = {name: tmp_path / name for name in ('compare.html', 'dataset.html')}
  for path in mine.values():
    path.write_text(KEPT)
  refused(lambda: compare.run([*map(str, runs)], tmp_path), 'compare.html')
  refused(lambda: inspect.run(str(data), tmp_path), 'dataset.html')
  with pytest.raises(ValueError, match='0.npz: found another file'):
    with rrd._recording(data / '0.npz', 'a'):
      pass
  assert {path.read_text() for path in mine.values()} == {KEPT}
  for path in mine.values():
    path.unlink()
  for _ in range(2):  # One of its own is replaced.
    compare.run([*map(str, runs)], tmp_path)
    inspect.run(str(data), tmp_path)


@pytest.mark.parametrize(
  'film', (np.zeros((2, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8))
)
def test_films_that_are_none(film, tmp_path):
  path = tmp_path / 'evaluate/env/a.npz'
  path.parent.mkdir(parents=True)
  np.savez(path, outcome=np.zeros((1, 1)), film=film)
  refused(lambda: notebook.rollouts(tmp_path), 'a.npz', 'film: found uint8')


def test_arrays_that_unpack_to_far_more(tmp_path):
  path, count = tmp_path / 'a.npz', (1 << 30) + 1
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('x.npy', b'a')
    archive.getinfo('x.npy').file_size = count  # In its directory alone.
  refused(lambda: files.read_arrays(path), 'a.npz', f'declares {count} bytes')


def damage(path, kind):
  """What lies at `path` instead of arrays."""
  path.unlink()
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'device':
    path.symlink_to('/dev/zero')
  elif kind == 'array':
    with open(path, 'wb') as file:
      np.save(file, np.zeros(3))
  elif kind == 'code':
    np.savez(path, film=np.array([print]), **{'a/b': np.array([print])})


@pytest.mark.parametrize('kind', ('pipe', 'device', 'array', 'code', 'gone'))
def test_44_arrays_of_other_runs(kind, tmp_path):
  """scores or films of a run that are a pipe, a device, code or something else
  -> refused by name, nothing waits for them and nothing of them is run"""
  runs = [finished(tmp_path / name) for name in ('one', 'two')]
  film = tmp_path / 'two/evaluate/env/a.npz'
  film.parent.mkdir(parents=True)
  Played(np.zeros((1, 1)), film=np.zeros((2, 8, 8, 3), np.uint8)).save(film)
  notebook.rollouts(tmp_path / 'two')
  damage(film, kind)
  if kind != 'gone':
    refused(lambda: notebook.rollouts(tmp_path / 'two'), str(film))
  damage(tmp_path / 'two/pipeline_1/evaluate/scores.npz', kind)
  if kind == 'code':  # Of no cell of this run: nobody looks.
    return
  refused(lambda: compare.run([*map(str, runs)], tmp_path), 'scores.npz')


def test_nothing_of_a_file_moves_the_cursor(tmp_path, capsys):
  data = dataset(tmp_path / 'a\x1b[2Jb')
  said = {'instruction': np.array('push\x1b]0;owned\x07\x9b31m')}
  np.savez(data / '1.npz', **clean(1) | said)
  inspect.run(str(data), tmp_path / 'out')
  main._refuse(ValueError('\x1b[2Jname: found none'))
  written = ''.join(capsys.readouterr())
  assert 'push' in written and 'found none' in written
  assert written.replace('\n', '').isprintable()
  assert live.plain('é — 打开\n') == 'é — 打开\n'


def test_documents_lie_in_their_folder(tmp_path):
  """And two of one name are two."""
  root = tmp_path / 'texts'
  (root / 'b').mkdir(parents=True)
  for name in ('a.md', 'a.txt', 'b/a.md', 'c.md'):
    (root / name).write_text(f'this is {name}')
  (domain,) = documents.domains('d', documents.Settings(path=str(root)), 0)
  assert set(domain.texts()) == {'a.md', 'a.txt', 'b/a', 'c'}
  (root / 'd.txt').symlink_to('/etc/hostname')
  refused(domain.texts, 'leads out', 'd.txt')


def test_a_text_tower_lies_in_its_model(tmp_path):
  (tmp_path / 'model').mkdir()
  (tmp_path / 'model/text_encoder').symlink_to(dataset(tmp_path / 'away'))
  refused(lambda: sentences.load(tmp_path / 'model'), 'leads out')


@pytest.mark.parametrize(
  ('name', 'value'),
  (
    ('w0', np.full((4, 4), np.nan)),
    ('w1', np.ones((7, 9))),
    ('w0', np.ones(4)),
    ('b2', np.ones(())),
    ('obs_mean', np.zeros(4)),
    ('pipe', None),
  ),
)
def test_experts_that_are_none(name, value, tmp_path):
  weights = {f'w{i}': np.eye(4) for i in range(3)}
  weights |= {f'b{i}': np.zeros(4) for i in range(3)}
  path = tmp_path / 'a.safetensors'
  safetensors.save_file(weights, path)
  assert experts.load('a', str(tmp_path))(np.zeros(4)).shape == (4,)
  if name == 'pipe':
    path.unlink()
    os.mkfifo(path)
  else:
    safetensors.save_file(weights | {name: value}, path)
  refused(lambda: experts.load('a', str(tmp_path)), 'a.safetensors')


@pytest.mark.parametrize(
  ('part', 'value'),
  (
    ('normalizer', {'type': 'Replace', 'pattern': {'String': 'a'}}),
    ('truncation', {'max_length': 1, 'stride': 0}),
    ('model', {'dropout': 0.9}),
    ('vocab', {'a': 7}),
    ('vocab', None),
  ),
)
def test_tokenizers_that_say_another_thing(part, value, tmp_path):
  """One that makes a text longer might take all memory for a sentence."""
  trained = words.train(['open the drawer'] * 2, 300)
  parts = json.loads(trained.json)
  if part == 'normalizer':
    value |= {'content': 'aa' * 99}
  if part == 'truncation':
    value |= {'strategy': 'LongestFirst', 'direction': 'Right'}
  model = parts['model']
  if part == 'model':
    model |= value
  elif part == 'vocab':
    model['merges'] = []
    own = model['vocab'] if value else {f'x{i}': i for i in range(300)}
    model['vocab'] = {k: v * (7 if value else 1) for k, v in own.items()}
  else:
    parts[part] = value
  (tmp_path / words.FILE).write_text(json.dumps(parts))
  refused(lambda: words.load(tmp_path), words.FILE, 'found')
