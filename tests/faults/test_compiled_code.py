"""Fault 36: native code that somebody else may have put there."""

import os
import pathlib
import platform

import jax
import pytest

from rpt_jax.training import compiled


@pytest.fixture(autouse=True)
def unset(monkeypatch, tmp_path):
  """As in a new process, with a cache of its own."""
  before = jax.config.jax_compilation_cache_dir
  jax.config.update('jax_compilation_cache_dir', None)
  monkeypatch.setenv('RPT_JAX_COMPILED', str(tmp_path / 'compiled'))
  yield
  jax.config.update('jax_compilation_cache_dir', before)


def test_36_compiled_code_of_others(tmp_path, monkeypatch, capsys):
  """a compile cache that is another user's, open to others, or a link -> told,
  neither read nor written; the user's own is 0700, one a kind of CPU and
  version of JAX, and in no workdir"""
  folder = compiled.keep()
  assert folder.parent == tmp_path / 'compiled'
  assert jax.config.jax_compilation_cache_dir == str(folder)
  for each in (folder, folder.parent):
    assert each.stat().st_mode & 0o777 == 0o700
  for spoil, words in (
    (lambda: folder.chmod(0o750), 'chmod 700'),
    (lambda: folder.parent.chmod(0o777), 'chmod 700'),
    (lambda: monkeypatch.setattr(os, 'getuid', lambda: 77), 'another user'),
  ):
    spoil()
    jax.config.update('jax_compilation_cache_dir', None)
    assert compiled.keep() is None
    assert jax.config.jax_compilation_cache_dir is None
    assert words in capsys.readouterr().out
    folder.chmod(0o700)
    folder.parent.chmod(0o700)
  monkeypatch.undo()
  (tmp_path / 'own').mkdir(0o700)
  (tmp_path / 'link').symlink_to(tmp_path / 'own')
  monkeypatch.setenv('RPT_JAX_COMPILED', str(tmp_path / 'link'))
  assert compiled.keep() is None
  assert 'no folder of its own' in capsys.readouterr().out


@pytest.mark.parametrize('change', ('jax', 'machine', 'flags'))
def test_another_kind_has_a_folder_of_its_own(change, monkeypatch):
  before = compiled.keep()
  jax.config.update('jax_compilation_cache_dir', None)
  if change == 'jax':
    monkeypatch.setattr(jax, '__version__', '9')
  elif change == 'machine':
    monkeypatch.setattr(platform, 'machine', lambda: 'other')
  else:
    read = pathlib.Path.read_text
    monkeypatch.setattr(
      pathlib.Path,
      'read_text',
      lambda path: read(path).replace(' sse', ' none'),
    )
  assert compiled.keep().parent == before.parent
  assert compiled.keep() != before


def test_what_jax_or_nobody_asks_for(monkeypatch, tmp_path):
  monkeypatch.setenv('RPT_JAX_COMPILED', '')
  assert compiled.keep() is None
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'own'))
  assert compiled.keep() == tmp_path / 'own'
  assert not (tmp_path / 'own').exists()


def test_too_much_is_removed_oldest_first(monkeypatch):
  folder = compiled.keep()
  for age, name in ((3, 'old'), (2, 'older'), (1, 'new')):
    (folder / name).write_bytes(bytes(10))
    os.utime(folder / name, (1000 - age, 1000 - age))
  monkeypatch.setattr(compiled, '_MOST', 25)
  jax.config.update('jax_compilation_cache_dir', None)
  compiled.keep()
  assert sorted(p.name for p in folder.iterdir()) == ['new', 'older']
