"""Fault 37: two jobs where there are no locks, or locks end at their host."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading

import pytest

from rpt_jax.training import owned


def without_locks(monkeypatch):
  def flock(*_):
    raise OSError(95, 'Operation not supported')

  monkeypatch.setattr(fcntl, 'flock', flock)


def owner(folder, **about):
  (folder / owned._OWNER).write_text(json.dumps(about))


def refused(folder):
  with pytest.raises(ValueError, match='is in use by another job'):
    with owned.held(folder):
      pass


@contextlib.contextmanager
def another_process():
  """What another process that lives for as long says it is."""
  with subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1) as process:
    began = owned._began(process.pid)
    yield owned._me() | {'pid': process.pid, 'began': began}
    process.communicate(b'\n')


def test_37_two_jobs_without_locks(tmp_path, monkeypatch):
  """two jobs in one workdir where there are no locks (NFS, Lustre), or on two
  hosts (a bucket) -> the second is refused by `owner.json`; one whose process
  is gone, or was silent for 90 s on another host, is taken over"""
  without_locks(monkeypatch)
  with owned.held(tmp_path):
    refused(tmp_path)
    threads = threading.active_count()
  assert not (tmp_path / owned._OWNER).exists()
  assert threading.active_count() < threads  # Its heart has stopped.

  with another_process() as other:
    owner(tmp_path, **other)
    refused(tmp_path)
    owner(tmp_path, **other | {'began': '1'})
    with owned.held(tmp_path):  # Its number was given to another process.
      pass
  owner(tmp_path, **other)
  with owned.held(tmp_path):
    pass

  # Of another boot, or in a container: only its heart is heard of.
  owner(tmp_path, **owned._me() | {'place': 'elsewhere'})
  refused(tmp_path)
  long_ago = 10**9
  os.utime(tmp_path / owned._OWNER, (long_ago, long_ago))
  with owned.held(tmp_path):
    assert (
      json.loads((tmp_path / owned._OWNER).read_text())['pid'] == os.getpid()
    )


def test_with_locks_another_host_is_asked_too(tmp_path):
  owner(tmp_path, place='elsewhere', pid=1, began='x')
  refused(tmp_path)


def test_who_came_meanwhile_is_not_removed(tmp_path):
  path, stale = tmp_path / owned._OWNER, {'pid': 1}
  owner(tmp_path, pid=2)
  with pytest.raises(ValueError, match='process 2'):
    owned._remove_stale(path, stale, tmp_path)
  assert json.loads(path.read_text()) == {'pid': 2}
  owned._remove_stale(path, {'pid': 2}, tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name', ('lock', owned._OWNER))
def test_a_lock_that_is_a_pipe_or_a_link_is_refused(name, tmp_path):
  os.mkfifo(tmp_path / name)
  with pytest.raises(ValueError, match=name):
    with owned.held(tmp_path):
      pass
  (tmp_path / name).unlink()
  (tmp_path / name).symlink_to('nowhere')
  with pytest.raises(ValueError, match=name):
    with owned.held(tmp_path):
      pass


@pytest.mark.parametrize('locks', (True, False))
def test_killed_while_it_wrote_who_it_is(locks, tmp_path, monkeypatch):
  if not locks:
    without_locks(monkeypatch)
  (tmp_path / owned._OWNER).write_text('')
  if not locks:
    refused(tmp_path)
    os.utime(tmp_path / owned._OWNER, (1, 1))
  with owned.held(tmp_path):
    pass


def test_it_goes_on_telling(tmp_path, monkeypatch):
  monkeypatch.setattr(owned, '_BEAT', 0.01)
  with owned.held(tmp_path):
    os.utime(tmp_path / owned._OWNER, (1, 1))
    for _ in range(200):
      if (tmp_path / owned._OWNER).stat().st_mtime > 1:
        break
      threading.Event().wait(0.01)
    assert owned._beats(tmp_path / owned._OWNER)
