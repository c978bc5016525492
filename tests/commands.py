"""Runs of the command line, as subprocesses."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
ENVS = ('MountainCarContinuous-v0', 'Pendulum-v1')
# What is run once need not be fast: compiling is most of a quicktest. Runs that
# are compared have all been compiled so, also in the tests' own process.
QUICKLY = (
  '--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false'
)


def start(config, workdir, *flags):
  """The quicktest of a config, begun; its output in `stdout`.

  A config is the name of one in configs/, or a path without its '.py'. Of
  `hubert_units` one pipeline of two iterations, in two environments whose
  policies are of one shape, so that they are compiled once.
  """
  command = [sys.executable, '-m', 'rpt_jax.main']
  path = config if '/' in config else f'configs/{config}'
  command += [f'--config={path}.py:quicktest']
  envs = '--config.domains.gymnax.envs='
  # A tuple that is given twice is not replaced but lengthened.
  given = any(flag.startswith(envs) for flag in flags)
  if config == 'hubert_units':
    command += ['--config.pipelines=1', '--config.finetune.seeds=2']
    command += ['--config.iterations=2']
    command += [] if given else [f'{envs}{ENVS}']
  environment = os.environ | {'XLA_FLAGS': QUICKLY, 'PYTHONUNBUFFERED': '1'}
  return subprocess.Popen(
    [*command, *flags, f'--workdir={workdir}'],
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def places(count):
  """What the environment of each of `count` processes says where it is."""
  with socket.socket() as free:
    free.bind(('localhost', 0))
    coordinator = f'localhost:{free.getsockname()[1]}'
  return [
    {
      'RPT_JAX_COORDINATOR': coordinator,
      'RPT_JAX_PROCESSES': str(count),
      'RPT_JAX_PROCESS': str(index),
    }
    for index in range(count)
  ]


def finish(config, workdir, *flags):
  """What it prints until it has ended well."""
  process = start(config, workdir, *flags)
  output, _ = process.communicate(timeout=900)
  assert process.returncode == 0, output[-3000:]
  return output
