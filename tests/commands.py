"""Runs of the command line, as subprocesses."""

import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def start(config, workdir, *flags):
  """The quicktest of a config, begun; its output in `stdout`."""
  command = [sys.executable, '-m', 'rpt_jax.main']
  command += [f'--config=configs/{config}.py:quicktest', *flags]
  if config == 'hubert_units':  # Discrete and continuous actions.
    command += ["--config.envs=('CartPole-v1', 'Pendulum-v1')"]
  environment = os.environ | {'XLA_FLAGS': '', 'PYTHONUNBUFFERED': '1'}
  return subprocess.Popen(
    [*command, f'--workdir={workdir}'],
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
