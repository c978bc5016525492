"""Runs that lose their machine, on a cloud of two folders."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import cloud
import pytest

HERE = pathlib.Path(__file__).parent
V6E = {'ACCELERATOR': 'v6e-8', 'SPOT': '1'}
TPU7X = {
  'ACCELERATOR': 'tpu7x:2x2x2',
  'IMAGE_FAMILY': 'f',
  'IMAGE_PROJECT': 'p',
}
GKE = {'ACCELERATOR': 'v5p-16', 'BACKEND': 'gke'}
RUNNING = 'RUNNING\nRUNNING'
DONE = 'print("rpt_jax: done")\n'
LEFT = 'rpt-jax is still there and paid for: bash launch/tpu.sh delete\n'


@pytest.fixture
def clouds(tmp_path):
  return cloud.Cloud(tmp_path)


def _verbs(calls):
  names = (
    'create', 'describe', 'list', 'list-instances', 'scp', 'ssh', 'delete'
  )  # fmt: skip
  return [next(w for w in call if w in names) for call in calls]


def test_preempted_deleted_made_again_and_done(clouds):
  clouds.job((HERE / 'psum_job.py').read_text())
  clouds.states(
    'NOT_FOUND', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE',
    'SUSPENDED', 'NOT_FOUND', 'ACTIVE',
  )  # fmt: skip
  job = ('--note=it\'s $HOME "x" `y` \\ *\n é', '--workdir=gs://bucket/a b')
  done = clouds.launch('tpu.sh', 'run', *job, XLA_FLAGS='', DELETE='1', **V6E)
  assert done.returncode == 0, done.stdout + done.stderr
  assert done.stdout.count('sum 3.0') == 1 and 'paid for' not in done.stderr
  assert done.stdout.endswith('rpt_jax: done\n')
  calls = clouds.calls()
  assert _verbs(calls) == [
    'describe', 'create', 'describe', 'describe', 'describe', 'describe',
    'scp', 'ssh', 'describe', 'delete', 'describe', 'create', 'describe',
    'describe', 'scp', 'ssh', 'delete',
  ]  # fmt: skip
  creates = [call for call in calls if 'create' in call]
  assert creates[0] == creates[1] and '--spot' in creates[0]
  assert all('--force' in call for call in calls if 'delete' in call)
  for i in range(2):
    seen = clouds.root / 'buckets' / 'bucket' / 'a b' / f'argv{i}.json'
    given, workdir = json.loads(seen.read_text())
    assert given == job[0]
    assert workdir.endswith(f'rpt-jax-{i}/gcs/bucket/a b')


def test_a_run_that_stopped_in_order_goes_on(clouds):
  """Exit code 0 alone, as after SIGTERM, is not the end of a run."""
  clouds.job(
    'import pathlib\nseen = pathlib.Path.home() / "seen"\n'
    'print("rpt_jax: done" if seen.exists() else "saved step 3")\n'
    'seen.touch()\n'
  )
  clouds.states('NOT_FOUND', 'ACTIVE', 'ACTIVE')
  done = clouds.launch('tpu.sh', 'resume', '--workdir=/shared/a', **V6E)
  assert done.returncode == 0, done.stderr
  assert 'not complete (exit code 0), going on' in done.stderr
  assert _verbs(clouds.calls()).count('ssh') == 2
  assert 'delete' not in _verbs(clouds.calls())


@pytest.mark.parametrize(
  'variables, states, creates',
  [
    (V6E, ['NOT_FOUND', 'ACTIVE', 'UNAVAILABLE', 'ACTIVE'], 1),
    (TPU7X, ['NOT_FOUND', 'UNAVAILABLE', *['NOT_FOUND'] * 2, RUNNING], 3),
    (GKE, ['RUNNING'], 0),
  ],
  ids=['queued', 'compute', 'gke'],
)
def test_a_look_that_failed_changes_nothing(variables, states, creates, clouds):
  """No machine is deleted, none made beside it, and the launcher lives."""
  clouds.job(DONE)
  (clouds.root / 'blip').touch()
  clouds.states('UNAVAILABLE', *states)
  clouds.command('xpk', '#!/bin/sh\necho "$@" >>"$FAKE/xpk"\n')
  clouds.command('kubectl', '#!/bin/sh\necho "rpt_jax: done"\n')
  done = clouds.launch('tpu.sh', 'run', '--workdir=/shared/a', **variables)
  assert done.returncode == 0, done.stdout + done.stderr
  assert '503: try again later' in done.stderr
  verbs = _verbs(clouds.calls())
  assert verbs.count('create') == creates and 'delete' not in verbs
  if variables is GKE:
    assert 'cluster' not in (clouds.root / 'xpk').read_text().split()


def test_a_delete_that_failed_is_tried_again(clouds):
  (clouds.root / 'blip').touch()
  clouds.states('FAILED', 'FAILED', 'NOT_FOUND', 'ACTIVE')
  done = clouds.launch('tpu.sh', 'create', **V6E)
  assert done.returncode == 0, done.stderr
  assert _verbs(clouds.calls()).count('delete') == 2


def test_all_parts_are_deleted(clouds):
  (clouds.root / 'blip').touch()
  assert clouds.launch('tpu.sh', 'delete', **TPU7X).returncode == 1
  assert _verbs(clouds.calls()) == ['delete'] * 3


def test_another_job_on_the_machine_is_left_alone(clouds):
  clouds.job('print("rpt_jax: refused: a runs b")\nraise SystemExit(2)\n')
  clouds.states('NOT_FOUND', 'ACTIVE')
  job = ('run', '--workdir=/shared/a')
  done = clouds.launch('tpu.sh', *job, DELETE='1', **V6E)
  assert done.returncode == 2
  assert done.stderr.endswith('rpt_jax: refused: a runs b\n')
  assert 'delete' not in _verbs(clouds.calls())


def test_a_cluster_of_others_is_neither_made_nor_deleted(clouds):
  clouds.command('xpk', '#!/bin/sh\necho "$@" >>"$FAKE/xpk"\n')
  clouds.states('')
  theirs = GKE | {'CLUSTER': 'theirs'}
  done = clouds.launch('tpu.sh', 'create', **theirs)
  assert done.returncode == 2 and 'no cluster CLUSTER=theirs' in done.stderr
  assert clouds.launch('tpu.sh', 'delete', **theirs).returncode == 0
  assert (clouds.root / 'xpk').read_text().startswith('workload delete')
  assert 'cluster delete' not in (clouds.root / 'xpk').read_text()


def test_the_same_error_twice_ends_it(clouds):
  clouds.job('import sys\nprint("rpt_jax: error: x")\nsys.exit(2)\n')
  clouds.states('NOT_FOUND', *['ACTIVE'] * 3)
  done = clouds.launch('tpu.sh', 'run', '--workdir=/shared/a', **V6E)
  assert done.returncode == 2
  assert 'twice: rpt_jax: error: x\n' in done.stderr
  assert done.stderr.endswith(LEFT)
  assert 'delete' not in _verbs(clouds.calls())


def test_two_crashes_in_a_row_make_another_machine(clouds):
  clouds.job('import sys\nsys.exit(134)\n')
  clouds.states('NOT_FOUND', 'ACTIVE', 'ACTIVE', 'NOT_FOUND', 'ACTIVE')
  job = ('run', '--workdir=/shared/a')
  done = clouds.launch('tpu.sh', *job, RETRIES='2', DELETE='1', **V6E)
  assert done.returncode == 1 and 'paid for' not in done.stderr
  assert [v for v in _verbs(clouds.calls()) if v != 'describe'] == [
    'create', *['scp', 'ssh'] * 2, 'delete', 'create', 'scp', 'ssh', 'delete',
  ]  # fmt: skip


def test_retries_are_bounded(clouds):
  clouds.job('import sys\nsys.exit(134)\n')
  clouds.states('NOT_FOUND', *['ACTIVE'] * 3)
  job = ('run', '--workdir=/shared/a')
  done = clouds.launch('tpu.sh', *job, RETRIES='1', **V6E)
  assert done.returncode == 1 and 'given up after 1 retries' in done.stderr
  assert done.stderr.endswith(LEFT)
  clouds.states('NOT_FOUND', *['FAILED', 'NOT_FOUND'] * 3)
  done = clouds.launch('tpu.sh', 'create', RETRIES='2', **V6E)
  assert done.returncode == 1 and 'given up after 2 retries' in done.stderr
  clouds.states(*['WAITING_FOR_RESOURCES'] * 3)
  done = clouds.launch('tpu.sh', 'create', POLLS='3', **V6E)
  assert done.returncode == 1 and 'after 3 looks' in done.stderr
  assert _verbs(clouds.calls())[-1] == 'delete'


def test_what_gcloud_cannot_say_is_no_missing_machine(clouds):
  clouds.command(
    'gcloud', '#!/bin/sh\necho "ERROR: no permission" >&2\nexit 1\n'
  )
  done = clouds.launch('tpu.sh', 'status', **V6E)
  assert done.returncode == 2 and 'no permission' in done.stderr


def test_instances_are_told_who_they_are(clouds):
  clouds.job(
    'import os\nprint(*(os.environ[f"RPT_JAX_{x}"] for x in '
    '("COORDINATOR", "PROCESSES", "PROCESS")), flush=True)\n' + DONE
  )
  clouds.states('NOT_FOUND', 'NOT_FOUND', 'RUNNING\nSTOPPED', 'NOT_FOUND',
                'NOT_FOUND', 'STAGING', 'RUNNING\nRUNNING')  # fmt: skip
  done = clouds.launch('tpu.sh', 'run', '--workdir=gs://b/a', **TPU7X)
  assert done.returncode == 0, done.stdout + done.stderr
  said = sorted(line for line in done.stdout.splitlines() if ':8476' in line)
  assert said == [f'rpt-jax-0:8476 2 {i}' for i in range(2)]
  managed = [c for c in clouds.calls() if 'managed' in c]
  assert [w for c in managed for w in c if w in ('create', 'delete')] == [
    'create', 'delete', 'create',
  ]  # fmt: skip


def _host(clouds):
  """(home of a host, what its job waits for, the command, its pipes)."""
  go = clouds.root / 'go'
  clouds.job(
    'import pathlib, time\nprint("started", flush=True)\n'
    f'while not pathlib.Path({str(go)!r}).exists():\n  time.sleep(0.05)\n'
    + DONE
  )
  clouds.states('NOT_FOUND', 'ACTIVE')
  clouds.launch('tpu.sh', 'create', **V6E)
  home = clouds.root / 'hosts' / 'rpt-jax-0'
  output = f'--output={home / "rpt_jax.tar.gz"}'
  git = ['git', 'archive', '--format=tar.gz', output, 'HEAD']
  subprocess.run(git, cwd=cloud.ROOT, check=True)
  host = ['bash', cloud.ROOT / 'launch' / 'host.sh', 'follow', '--a=b c']
  environment = os.environ | clouds.variables | {'HOME': str(home)}
  pipe = {'stdout': subprocess.PIPE, 'text': True, 'env': environment}
  return home, go, host, pipe


def test_a_job_outlives_its_connection_and_is_followed(clouds):
  """Started once, followed by whoever comes next with the same command."""
  home, go, host, pipe = _host(clouds)
  stale = home / 'rpt_jax' / 'stale.py'
  stale.touch()
  first = subprocess.Popen(host, **pipe)
  assert first.stdout.readline() == 'started\n'
  assert not stale.exists()
  stale.touch()
  first.kill()  # The connection is lost.
  other = subprocess.run([*host[:-1], '--a=c'], **pipe)
  assert other.returncode == 2 and 'runs --a=b\\ c' in other.stdout
  second = subprocess.Popen(host, **pipe)
  assert second.stdout.readline() == 'started\n'
  assert stale.exists()  # What a job runs from is left alone.
  go.touch()
  assert second.communicate()[0] == 'rpt_jax: done\n'
  assert second.returncode == 0


def test_who_comes_while_a_job_is_unpacked_waits_for_it(clouds):
  """And does not take the end of the job before for the end of this one."""
  home, go, host, pipe = _host(clouds)
  before = {
    'pid': '99999999',
    'code': '0',
    'log': DONE,
    'command': '--a=b\\ c ',
  }
  for name, text in before.items():
    (home / 'rpt_jax-job').mkdir(exist_ok=True)
    (home / 'rpt_jax-job' / name).write_text(text)
  begun, on = clouds.root / 'begun', clouds.root / 'on'
  clouds.command(
    'tar',
    f'#!/bin/sh\ntouch {begun}\nwhile [ ! -e {on} ]; do sleep 0.05; done\n'
    f'exec {shutil.which("tar")} "$@"\n',
  )
  followers = [subprocess.Popen(host, **pipe)]
  while not begun.exists():
    time.sleep(0.05)
  followers.append(subprocess.Popen(host, **pipe))
  with pytest.raises(subprocess.TimeoutExpired):
    followers[1].wait(1.0)
  on.touch()
  go.touch()
  for each in followers:
    assert each.communicate()[0] == 'started\nrpt_jax: done\n'
    assert each.returncode == 0


@pytest.mark.parametrize(
  'workers, told',
  [
    ('host-a,host-b', 'host-a:8476 2 1'),
    ('a:1:10.0.0.3,b:2:10.0.0.4', '10.0.0.3:8476 2 1'),
    ('host-a', ''),  # Alone.
    ('', ''),  # No machine of Google's.
  ],
)
def test_hosts_of_a_slice_learn_of_each_other(workers, told, clouds):
  clouds.command(
    'curl',
    f'#!/bin/sh\ncase "$*" in\n*worker-number) echo 1 ;;\n'
    f'*) [ -n "{workers}" ] && echo "{workers}" ;;\nesac\n',
  )
  done = subprocess.run(
    [
      'bash',
      '-c',
      '. launch/host.sh join; echo "${RPT_JAX_COORDINATOR:-}" '
      '${RPT_JAX_PROCESSES:-} ${RPT_JAX_PROCESS:-}',
      'launch/host.sh',
    ],
    cwd=cloud.ROOT,
    env=os.environ | clouds.variables | {'TPU_WORKER_HOSTNAMES': ''},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == told
