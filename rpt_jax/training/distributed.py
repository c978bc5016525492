"""Several processes that train as one: joining, waiting, telling who writes.

Where a job of several processes runs is said by its surroundings: the metadata
of a TPU slice, SLURM, or RPT_JAX_COORDINATOR (host:port), RPT_JAX_PROCESSES and
RPT_JAX_PROCESS. Without any of these a process is alone.
"""

import os
import pathlib
import sys
import time

import jax
import numpy as np
from jax.experimental import multihost_utils

from rpt_jax import files

_OURS = ('RPT_JAX_COORDINATOR', 'RPT_JAX_PROCESSES', 'RPT_JAX_PROCESS')
_JOIN = 300  # Seconds to wait for the others.
_HEARTBEAT = 60  # Seconds after which a silent process counts as dead.


def initialize() -> None:
  """Joins the other processes of the job, if its surroundings name any.

  To be called before anything touches a device. A process that does not come
  within RPT_JAX_JOIN_SECONDS (300) ends the others: JAX aborts them (exit code
  134), so that a launcher starts all of them again. So does one that is silent
  for RPT_JAX_HEARTBEAT_SECONDS (60) later on.

  Raises ValueError where RPT_JAX_* are incomplete or do not make sense.
  """
  place = surroundings(os.environ)
  if place is None:
    return
  count = place.get('num_processes', 'all')
  print(f'waiting for {count} processes', flush=True)
  jax.distributed.initialize(
    **place,
    initialization_timeout=_seconds('JOIN', _JOIN),
    heartbeat_timeout_seconds=_seconds('HEARTBEAT', _HEARTBEAT),
  )
  print(
    f'process {jax.process_index()} of {jax.process_count()}, '
    f'{jax.local_device_count()} of {jax.device_count()} devices',
    flush=True,
  )


def missing_platform() -> str:
  """What is wrong with the platform asked for; '' where it is there."""
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    asked = os.environ.get('JAX_PLATFORMS', '')
    return (
      f'JAX_PLATFORMS={asked}: no such devices here ({files.words(error)}); '
      'install what '
      "they need, as in pip install -e '.[cuda]', or unset JAX_PLATFORMS"
    )
  return ''


def _seconds(name, default):
  return int(os.environ.get(f'RPT_JAX_{name}_SECONDS', default))


def surroundings(environment) -> dict | None:
  """What `jax.distributed.initialize` is to be told; None: a process alone.

  Args:
    environment: variables, as `os.environ`.
  """
  given = [name for name in _OURS if name in environment]
  if given:
    return _ours(environment)
  if int(environment.get('SLURM_NTASKS', 1)) > 1:
    return {}  # JAX reads SLURM's own variables.
  hosts = environment.get('TPU_WORKER_HOSTNAMES', '').split(',')
  return {} if len(hosts) > 1 else None


def _ours(environment):
  missing = [name for name in _OURS if not environment.get(name)]
  if missing:
    raise ValueError(
      f'environment: no {", ".join(missing)}; give all of {_OURS}'
    )
  try:
    count, index = (int(environment[name]) for name in _OURS[1:])
  except ValueError as error:
    raise ValueError(
      f'environment: {_OURS[1:]} are numbers ({error})'
    ) from None
  if not 0 <= index < count:
    raise ValueError(
      f'environment: RPT_JAX_PROCESS {index} of RPT_JAX_PROCESSES {count}; '
      'expected one from 0 and below their number'
    )
  return {
    'coordinator_address': environment['RPT_JAX_COORDINATOR'],
    'num_processes': count,
    'process_id': index,
  }


def leave(code: int) -> None:
  """Ends this process; after a failure at once.

  JAX's own way out waits for the others, who wait for this one.
  """
  if code and jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
  sys.exit(code)


def is_first() -> bool:
  """Whether this is the process that writes what all of them made."""
  return jax.process_index() == 0


def agree(value: int) -> int:
  """The number that the first process says; to be asked by all of them."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def wait(name: str) -> None:
  """Waits until every process is here; `name` says where that is."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def await_file(path: pathlib.Path) -> None:
  """Waits for what the first process writes; `wait` would have a time limit."""
  while not path.exists():
    time.sleep(0.2)
