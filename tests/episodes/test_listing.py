"""What is known of a dataset is kept until one of its files changes."""

import json
import os

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import listing, statistics
from rpt_jax.episodes.formats import npz


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(listing, 'CACHE', tmp_path / 'cache')
  root = tmp_path / 'toy'
  (root / 'a').mkdir(parents=True)
  for i in range(3):
    x = {'state': np.ones((4 + i, 2)), 'action': np.ones((4 + i, 1))}
    np.savez(root / 'a' / f'{i}.npz', **x)
  return root


def counted(folder):
  """(value of `kept`, how often it had to be made)."""
  made = []
  value = listing.kept(folder, 'x', lambda: made.append(1) or [1, 'two'])
  return value, len(made)


def added(folder):
  (folder / 'more').write_bytes(b'')


def removed(folder):
  (folder / 'a/1.npz').unlink()


def renamed(folder):
  (folder / 'a/1.npz').rename(folder / 'a/9.npz')


def changed(folder):
  """In place, of the same size."""
  path = folder / 'a/1.npz'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(bytes(content))


@pytest.mark.parametrize('change', [added, removed, renamed, changed])
def test_it_is_made_again_where_a_file_changed_and_only_there(folder, change):
  assert counted(folder) == ([1, 'two'], 1)
  assert counted(folder) == ([1, 'two'], 0)
  change(folder)
  assert counted(folder) == ([1, 'two'], 1)
  assert counted(folder) == ([1, 'two'], 0)


@pytest.mark.parametrize('content', [b'', b'{', b'[]', b'{"of": 1}'])
def test_a_cache_that_is_none_is_not_believed(folder, content):
  counted(folder)
  (path,) = listing.CACHE.iterdir()
  path.write_bytes(content)
  assert counted(folder) == ([1, 'two'], 1)
  assert counted(folder) == ([1, 'two'], 0)


def test_of_another_dataset_or_word_nothing_is_taken(folder, tmp_path):
  counted(folder)
  (path,) = listing.CACHE.iterdir()
  about = json.loads(path.read_text())
  path.write_text(json.dumps(about | {'of': ['elsewhere', 'x']}))
  assert counted(folder)[1] == 1
  assert listing.kept(folder, 'y', lambda: 'other') == 'other'


def test_a_home_that_cannot_be_written_to_is_no_fault(folder, monkeypatch):
  (folder.parent / 'cache').write_text('a file')
  assert counted(folder) == ([1, 'two'], 1)


def test_no_episode_is_opened_at_the_second_start(folder, monkeypatch):
  first = episodes.open(folder)
  content = statistics.content_hash(folder)
  opened = []
  headers = npz._headers
  monkeypatch.setattr(npz, '_headers', lambda f: opened.append(f))
  monkeypatch.setattr(statistics, '_ends', lambda f: opened.append(f))
  again = episodes.open(folder)
  assert again.lengths.tolist() == first.lengths.tolist() == [4, 5, 6]
  assert again.streams == first.streams
  assert statistics.content_hash(folder) == content
  assert not opened
  monkeypatch.setattr(npz, '_headers', headers)
  np.savez(folder / 'a/3.npz', state=np.ones((9, 2)), action=np.ones((9, 1)))
  assert episodes.open(folder).lengths.tolist() == [4, 5, 6, 9]


def test_a_copy_elsewhere_has_the_same_content(folder, tmp_path):
  content = statistics.content_hash(folder)
  os.rename(folder, tmp_path / 'moved')
  assert statistics.content_hash(tmp_path / 'moved') == content
