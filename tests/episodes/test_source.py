"""What all readers share: extras, unknown fields, and which reader is taken."""

import sys

import numpy as np
import pytest

from rpt_jax import episodes
from rpt_jax.episodes import parquet
from tests.episodes.test_survey import clean


@pytest.mark.parametrize(
  'package, name, extra',
  [
    ('av', 'a.mp4', 'video'),
    ('h5py', 'a.hdf5', 'hdf5'),
  ],
)
def test_a_missing_package_says_which_extra(
  tmp_path, monkeypatch, package, name, extra
):
  (tmp_path / name).write_bytes(b'')
  monkeypatch.setitem(sys.modules, package, None)
  words = rf"needs {package}: pip install -e '\.\[{extra}\]'"
  with pytest.raises(ValueError, match=words):
    episodes.open(tmp_path / name)


def test_lerobot_needs_pyarrow(monkeypatch):
  parquet.library.cache_clear()
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  with pytest.raises(ValueError, match=r'needs pyarrow: .*\[video\]'):
    parquet.library()


@pytest.fixture
def source(tmp_path):
  for i in range(3):
    np.savez(tmp_path / f'{i}.npz', **clean(i))
  return episodes.open(tmp_path)


def test_only_known_fields_and_episodes(source):
  with pytest.raises(ValueError, match="'depth' not found; it has"):
    source.read(0, ['depth'])
  for index in (-1, 3):
    with pytest.raises(IndexError, match='of 3'):
      source[index]


def test_ends_cannot_be_mapped(tmp_path, source):
  with pytest.raises(ValueError, match='is_last cannot be mapped'):
    episodes.open(tmp_path, is_last='action')


def test_discount_follows_what_is_terminal(tmp_path, source):
  done = np.array([0, 0, 1])
  folder = tmp_path / 'other'
  folder.mkdir()
  np.savez(folder / 'a.npz', state=np.ones((3, 1)), is_terminal=done)
  found = episodes.open(folder).read(0, ['discount', 'is_last'])
  assert found['discount'].tolist() == [1, 1, 0]
  assert list(found) == ['discount', 'is_last']
  assert found['is_last'].tolist() == [False, False, True]


def test_options_of_videos_are_refused_elsewhere(tmp_path, source):
  with pytest.raises(ValueError, match='fps.*its format does not take'):
    episodes.open(tmp_path, fps=10)
