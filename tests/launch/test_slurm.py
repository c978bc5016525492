"""The job of launch/slurm.sh, on a cluster that is a folder."""

import os
import shutil
import signal
import subprocess
import sys

import cloud
import pytest

SLOW = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('saved step 3')))
print('started', flush=True)
time.sleep(60)
"""
SRUN = """#!/bin/bash
shift
"$@" &
trap 'kill -KILL "$!"; exit 143' TERM
echo "$!" >"$FAKE/task"
wait "$!"
"""
# Only comes back when the processes are gone, as on a busy node: their exit
# code is then that of the job, not that of the signal.
SCANCEL = """#!/bin/sh
[ "$*" = '--signal=TERM 7' ] && kill -TERM "$(cat "$FAKE/task")"
while kill -0 "$(cat "$FAKE/task")" 2>/dev/null; do sleep 0.1; done
sleep 0.5
"""
PYTHON = '#!/bin/sh\n[ "$2" = pip ] || exec {python} "$FAKE/job.py" "$@"\n'


@pytest.fixture
def cluster(tmp_path):
  made = cloud.Cloud(tmp_path)
  made.command('srun', SRUN)
  made.command('scancel', SCANCEL)
  made.command('scontrol', '#!/bin/sh\necho "$@" >"$FAKE/requeued"\n')
  shutil.copytree(cloud.ROOT / 'launch', tmp_path / 'launch')
  binaries = tmp_path / '.venv' / 'bin'
  binaries.mkdir(parents=True)
  (binaries / 'python').write_text(PYTHON.format(python=sys.executable))
  (binaries / 'python').chmod(0o755)
  (binaries / 'activate').write_text(f'PATH={binaries}:$PATH\n')
  made.variables |= {'SLURM_JOB_ID': '7', 'SLURM_SUBMIT_DIR': str(tmp_path)}
  return made


def _requeued(cluster):
  return (cluster.root / 'requeued').exists()


def test_a_complete_run_is_the_end(cluster):
  cluster.job('import sys\nprint(sys.argv[3:])\nprint("rpt_jax: done")')
  done = cluster.launch('slurm.sh', 'job', '--config=a b', "it's")
  assert done.returncode == 0, done.stderr
  assert done.stdout == "['--config=a b', \"it's\"]\nrpt_jax: done\n"
  assert not _requeued(cluster)


def test_told_to_end_it_saves_and_queues_again(cluster):
  cluster.job(SLOW)
  job = subprocess.Popen(
    ['bash', cloud.ROOT / 'launch' / 'slurm.sh', 'job'],
    env=os.environ | cluster.variables,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert job.stdout.readline() == 'started\n'
  job.send_signal(signal.SIGTERM)
  out, err = job.communicate(timeout=60)
  assert job.returncode == 0 and out == 'saved step 3\n'
  assert 'told to end: not complete (exit code 0)' in err
  assert (cluster.root / 'requeued').read_text() == 'requeue 7\n'


def test_a_crash_is_queued_again_but_not_for_ever(cluster):
  cluster.job('import sys\nsys.exit(134)')
  done = cluster.launch('slurm.sh', 'job', SLURM_RESTART_COUNT='20')
  assert done.returncode == 1 and 'given up after 20' in done.stderr
  assert not _requeued(cluster)
  assert cluster.launch('slurm.sh', 'job').returncode == 0
  assert _requeued(cluster)


def test_the_same_error_twice_ends_it(cluster):
  cluster.job('import sys\nprint("rpt_jax: error: x")\nsys.exit(2)')
  assert cluster.launch('slurm.sh', 'job').returncode == 0
  (cluster.root / 'requeued').unlink()
  done = cluster.launch('slurm.sh', 'job', SLURM_RESTART_COUNT='1')
  assert done.returncode == 2 and 'twice: rpt_jax: error: x' in done.stderr
  assert not _requeued(cluster)
