"""Fault 37: two jobs where there are no locks, or locks end at their host."""

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from rpt_jax.stages import owned


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
  """(process, when it began) of one that lives for as long."""
  with subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1) as process:
    yield process.pid, owned._began(process.pid)
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

  here = socket.gethostname()
  with another_process() as (pid, began):
    owner(tmp_path, host=here, pid=pid, began=began)
    refused(tmp_path)
    owner(tmp_path, host=here, pid=pid, began='another boot 1')
    with owned.held(tmp_path):  # Its number was given to another process.
      pass
  owner(tmp_path, host=here, pid=pid, began=began)
  with owned.held(tmp_path):
    pass

  owner(tmp_path, host='elsewhere', pid=1, began='x')
  refused(tmp_path)
  long_ago = 10**9
  os.utime(tmp_path / owned._OWNER, (long_ago, long_ago))
  with owned.held(tmp_path):
    assert (
      json.loads((tmp_path / owned._OWNER).read_text())['pid'] == os.getpid()
    )


def test_with_locks_another_host_is_asked_too(tmp_path):
  owner(tmp_path, host='elsewhere', pid=1, began='x')
  refused(tmp_path)


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
