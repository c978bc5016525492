"""The launch scripts: read by shellcheck, and what a dry run of them prints."""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import cloud
import pytest

SCRIPTS = sorted((cloud.ROOT / 'launch').rglob('*.sh'))
GOLDEN = pathlib.Path(__file__).parent / 'golden'
JOB = (
  '--config=configs/rpt.py',
  '--workdir=gs://bucket/a run',
  '--config.note=it\'s $HOME "x" `y` *',
)
QUEUED = {'ACCELERATOR': 'v6e-16', 'SPOT': '1', 'PROJECT': 'lab'}
COMPUTE = {
  'ACCELERATOR': 'tpu7x:2x2x2',
  'SPOT': '1',
  'PROJECT': 'lab',
  'IMAGE_FAMILY': 'tpu',
  'IMAGE_PROJECT': 'images',
}
GKE = {'ACCELERATOR': 'v5p-16', 'BACKEND': 'gke', 'EXTRA': 'tpu,hub'}


def test_shellcheck_has_nothing_to_say():
  found = subprocess.run(
    ['shellcheck', '-x', *SCRIPTS, cloud.ROOT / 'tests' / 'run.sh'],
    cwd=cloud.ROOT,
    capture_output=True,
    text=True,
  )
  assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
  'name, variables',
  [('queued', QUEUED), ('compute', COMPUTE), ('gke', GKE)],
)
def test_dry_run_of_every_verb(name, variables):
  text = ''
  for verb in ('run', 'create', 'status', 'logs', 'delete'):
    done = cloud.launch(
      'tpu.sh', verb, *(JOB if verb == 'run' else ()),
      DRY_RUN='1', **cloud.ZONE, **variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text += f'# {verb}\n{done.stdout}'
  _same(text, GOLDEN / f'{name}.txt')


def test_dry_run_on_a_cluster():
  done = cloud.launch(
    'slurm.sh', '--partition=gpu', '--', *JOB, NODES='2', GPUS='8', DRY_RUN='1'
  )
  _same(done.stdout, GOLDEN / 'slurm.txt')


def _same(text, path):
  """As in the file; UPDATE_GOLDEN=1 writes it, to be read before a commit."""
  if os.environ.get('UPDATE_GOLDEN'):
    path.write_text(text)
  assert text == path.read_text()


def test_what_a_host_reads_is_what_was_given():
  lines = (GOLDEN / 'queued.txt').read_text().splitlines()
  ssh = next(shlex.split(line) for line in lines if '--command' in line)
  (command,) = (a[10:] for a in ssh if a.startswith('--command='))
  words = shlex.split(command)
  assert words[-3:] == list(JOB)


def test_help_names_every_variable():
  text = cloud.launch('tpu.sh', '--help').stdout
  for name in (*cloud.SETTINGS, 'ZONE', 'RETRIES', 'INTERVAL', 'POLLS'):
    assert name in text or name in ('PYTHON', 'XLA_FLAGS'), name
  assert 'set -euo' not in text


@pytest.mark.parametrize(
  'words, variables, error',
  [
    (['run'], {'ACCELERATOR': 'v6e-8'}, 'no ZONE'),
    (['run'], cloud.ZONE, 'no ACCELERATOR'),
    (['rnu'], cloud.ZONE, 'unknown verb rnu'),
    (['run'], cloud.ZONE | {'ACCELERATOR': 'v9-8'}, 'ACCELERATOR=v9-8'),
    (['run'], cloud.ZONE | {'ACCELERATOR': 'tpu7x:4xx4'}, 'and a topology'),
    (['run'], cloud.ZONE | {'ACCELERATOR': 'tpu7x:4x4x4'}, 'no IMAGE_FAMILY'),
    (['run'], cloud.ZONE | QUEUED | {'BACKEND': 'aws'}, 'BACKEND=aws'),
    (['run'], cloud.ZONE | QUEUED | {'NAME': 'My_Run'}, 'NAME=My_Run'),
    (['run'], cloud.ZONE | QUEUED | {'RETRIES': '-1'}, 'RETRIES=-1'),
    (['run', '--workdir=runs/a'], cloud.ZONE | QUEUED, 'no --workdir=gs://'),
  ],
)
def test_what_is_wrong_is_said_in_one_line(words, variables, error):
  done = cloud.launch('tpu.sh', *words, **variables)
  assert done.returncode == 2
  assert done.stderr.startswith('tpu.sh: error: ') and error in done.stderr
  assert done.stderr.count('\n') == 1 and not done.stdout


def test_a_cluster_is_told_what_to_run():
  done = cloud.launch('slurm.sh', '--partition=gpu')
  assert done.returncode == 2 and 'nothing to run' in done.stderr
  done = cloud.launch('slurm.sh', '--', '--config=a', GPUS='all')
  assert done.returncode == 2 and 'GPUS=all' in done.stderr


@pytest.mark.skipif(not shutil.which('gcloud'), reason='no gcloud here')
@pytest.mark.parametrize('name', ['queued', 'compute'])
def test_gcloud_accepts_the_flags(name, tmp_path):
  """Without an account it reads its flags (2 if they are wrong), then ends."""
  lines = (GOLDEN / f'{name}.txt').read_text().splitlines()
  commands = {
    line: shlex.split(line)
    for line in lines
    if line.startswith('gcloud') and {'create', 'scp'} & {*line.split()}
  }
  assert len(commands) > 1
  answers = [_gcloud(command, tmp_path) for command in commands.values()]
  for code, said in answers:
    assert code == 1 and 'active account' in said, said


@pytest.mark.skipif(not shutil.which('gcloud'), reason='no gcloud here')
def test_gcloud_refuses_another_flag(tmp_path):
  line = (GOLDEN / 'queued.txt').read_text().splitlines()[2]
  code, said = _gcloud([*shlex.split(line), '--best-effort'], tmp_path)
  assert code == 2 and '--best-effort' in said


def _gcloud(command, directory):
  done = subprocess.run(
    command,
    env=os.environ | {
      'CLOUDSDK_CONFIG': str(directory),
      'CLOUDSDK_CORE_DISABLE_PROMPTS': '1',
      'CLOUDSDK_CORE_CHECK_GCE_METADATA': 'false',
    },
    capture_output=True,
    text=True,
  )  # fmt: skip
  return done.returncode, done.stderr


def test_what_is_left_behind_is_said(tmp_path):
  """Files that are not in HEAD, and datasets that lie here."""
  copy = tmp_path / 'copy'
  for folder in ('launch', 'configs', 'rpt_jax'):
    shutil.copytree(
      cloud.ROOT / folder,
      copy / folder,
      ignore=shutil.ignore_patterns('__pycache__', 'colab'),
    )
  git = ['git', '-c', 'user.name=a', '-c', 'user.email=a@b', '-C', str(copy)]
  for words in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'All']):
    subprocess.run([*git, *words], check=True)
  job = ('--config=configs/rpt.py:g1', '--workdir=gs://bucket/a')
  how = {'DRY_RUN': '1', 'PYTHON': sys.executable} | cloud.ZONE | QUEUED
  said = cloud.launch('tpu.sh', 'run', *job, root=copy, **how).stderr
  assert 'not in HEAD' not in said
  assert 'config.domains.g1.path=../shared/data/g1_lerobot_v21 lies on' in said
  (copy / 'configs' / 'own.py').write_text('')
  (copy / 'configs' / 'rpt.py').write_text('def get_config(): return 1')
  job = ('--config=configs/own.py', '--config.domains.a.path=/data/a', job[1])
  said = cloud.launch('tpu.sh', 'run', *job, root=copy, **how).stderr
  assert 'does not run there: configs/rpt.py configs/own.py (2 ' in said
  assert 'configs/own.py is not in HEAD: hosts have no such config' in said
  assert 'config.domains.a.path=/data/a lies on this machine' in said
  job = ('--config.domains.a.path=gs://b/a', job[-1])
  said = cloud.launch('tpu.sh', 'run', *job, root=copy, **how).stderr
  assert 'lies on this machine' not in said
