"""A gcloud that has no cloud: its hosts are folders of this machine.

Everything it is asked is appended to `$FAKE/calls.jsonl`. `describe` answers
with the states of `$FAKE/states.json`, one after the other (UNAVAILABLE: it
cannot say); a node is READY. `$FAKE/blip` makes this or delete fail once.
create makes the folders `$FAKE/hosts/*`, delete removes them; scp copies
there; ssh runs the command there, on all of them at once with --worker=all.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

ROOT = pathlib.Path(os.environ['FAKE'])
HOSTS = [ROOT / 'hosts' / name for name in ('rpt-jax-0', 'rpt-jax-1')]
# Stands for the environment that launch/environment.sh would install.
PYTHON = """#!/usr/bin/env bash
case "$2" in
  pip) ;;
  rpt_jax.main) exec {python} "$FAKE/job.py" "${{@:3}}" ;;
  *) exec {python} "$@" ;;
esac
"""


def main(argv):
  """Answers one call; returns its exit code."""
  with open(ROOT / 'calls.jsonl', 'a') as file:
    file.write(json.dumps(argv) + '\n')
  words = [a for a in argv if not a.startswith('-')]
  if 'scp' in words:
    source, target = words[-2:]
    name, target = target.split(':')
    for host in _hosts(argv, name):
      shutil.copy(source, host / target)
    return 0
  if 'ssh' in words:
    (command,) = (a[10:] for a in argv if a.startswith('--command='))
    return _run(_hosts(argv, words[-1]), command)
  if 'create' in words and {'queued-resources', 'managed'} & set(words):
    _create()
  elif 'delete' in words:
    if (ROOT / 'blip').exists():
      return _blip()
    shutil.rmtree(ROOT / 'hosts', ignore_errors=True)
  elif 'tpu-vm' in words:
    return _node()
  elif '--format=value(instance.basename())' in argv:
    print('\n'.join(reversed([host.name for host in HOSTS])))
  elif {'describe', 'list-instances', 'list'} & set(words):
    return _describe(words)
  return 0


def _hosts(argv, name):
  return HOSTS if '--worker=all' in argv else [ROOT / 'hosts' / name]


def _blip():
  (ROOT / 'blip').unlink()
  return _unavailable()


def _node():
  if (ROOT / 'blip').exists():
    return _blip()
  print('READY')
  return 0


def _unavailable():
  print('ERROR: (gcloud) 503: try again later', file=sys.stderr)
  return 1


def _describe(words):
  if {'instance-templates', 'resource-policies'} & set(words):
    state = 'NOT_FOUND'
  else:
    states = json.loads((ROOT / 'states.json').read_text())
    state = states.pop(0)
    (ROOT / 'states.json').write_text(json.dumps(states))
  if state == 'NOT_FOUND':
    print('ERROR: (gcloud) NOT_FOUND: no such resource', file=sys.stderr)
    return 1
  if state == 'UNAVAILABLE':
    return _unavailable()
  print(state)
  return 0


def _create():
  for host in HOSTS:
    binaries = host / 'rpt_jax' / '.venv' / 'bin'
    binaries.mkdir(parents=True)
    (binaries / 'python').write_text(PYTHON.format(python=sys.executable))
    (binaries / 'python').chmod(0o755)
    (binaries / 'activate').write_text(f'PATH={binaries}:$PATH\n')


def _run(hosts, command):
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    address = f'localhost:{probe.getsockname()[1]}'
  running = []
  for i, host in enumerate(hosts):
    mine = {'HOME': str(host)}
    if len(hosts) > 1:
      mine['RPT_JAX_COORDINATOR'] = address
      mine |= {'RPT_JAX_PROCESSES': str(len(hosts)), 'RPT_JAX_PROCESS': str(i)}
    running.append(
      subprocess.Popen(['bash', '-c', command], env=os.environ | mine, cwd=host)
    )
  codes = [process.wait() for process in running]
  return next((code for code in codes if code), 0)


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
