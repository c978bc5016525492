"""Faults 38 to 40: signals everywhere, disks that are full, policies of NaN."""

import contextlib
import gc
import logging
import resource
import signal
import subprocess
import sys
import time
import types

import jax
import numpy as np
import pytest

from rpt_jax import files, main
from rpt_jax.episodes import frames, store
from rpt_jax.episodes.rlds import writer
from rpt_jax.results import Cell
from rpt_jax.stages import finetune
from rpt_jax.training import checkpoint, stopping
from rpt_jax.vision import weights
from tests.faults import job
from tests.faults.test_broken_data import make_episode

# A stage that is in XLA for minutes, and a training that is stuck there.
STUCK = """
import sys, jax
import jax.numpy as jnp
from rpt_jax.training import stopping
turn = lambda y: jnp.abs(jnp.sin(y))
spin = jax.jit(lambda x: jax.lax.while_loop(lambda y: y >= 0, turn, x))
stopping._PATIENCE = 0.5
with stopping.watched('quantize'):
  print('begun', flush=True)
  if sys.argv[1] == 'stage':
    spin(1.0).block_until_ready()
  elif sys.argv[1] == 'training':
    with stopping.Training():
      spin(1.0).block_until_ready()
  with stopping.Training() as signals:
    while not signals.reached():
      pass
    print('saved after', signals.received, flush=True)
    sys.exit(0)
"""
WORDS = {
  'stage': '{}: stopped at quantize; the same command goes on',
  'training': '{}: stopped at quantize in the middle of a step',
  'step': 'saved after {}',
}


@pytest.mark.parametrize('where', WORDS)
@pytest.mark.parametrize('number', stopping.SIGNALS, ids=lambda s: s.name)
def test_38_signals(number, where):
  """SIGTERM, SIGINT or SIGHUP in any stage -> a training saves its step, all
  else ends at once, also where XLA is at work; exit code 0, one line, and the
  same command goes on"""
  with subprocess.Popen(
    [sys.executable, '-c', STUCK, where],
    cwd=job.ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    assert process.stdout.readline() == 'begun\n'
    time.sleep(0.3)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
  assert process.returncode == 0 and 'Traceback' not in errors, errors
  assert WORDS[where].format(number.name) in output


def test_signals_are_given_back():
  before = [signal.getsignal(s) for s in stopping.SIGNALS]
  with stopping.watched('a stage'), stopping.Training():
    assert signal.getsignal(signal.SIGINT) not in before
  assert [signal.getsignal(s) for s in stopping.SIGNALS] == before


def test_an_interrupted_cell_is_no_end_of_the_notebook(monkeypatch):
  """Where somebody types, SIGINT stays a KeyboardInterrupt."""
  monkeypatch.setattr(sys, 'ps1', 'In : ', raising=False)
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(KeyboardInterrupt), stopping.watched('a stage'):
    with stopping.Training() as signals:
      assert signal.getsignal(signal.SIGTERM) != before
      signal.raise_signal(signal.SIGINT)
  assert not signals.received
  assert signal.getsignal(signal.SIGTERM) == before


@contextlib.contextmanager
def full_disk(size=512):
  """What is written beyond `size` bytes of a file fails."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NOISE = np.random.default_rng(0).normal(size=(1 << 19,))  # 4 MiB
WRITERS = {
  'text': lambda p: files.write_text(p, 'x' * 5000),
  'json': lambda p: files.write_json(p, ['x' * 5000]),
  'array': lambda p: files.write_array(p, NOISE),
  'arrays': lambda p: files.write_arrays(p, {'x': NOISE}),
  'parameters': lambda p: checkpoint.save_params(p, {'x': NOISE}),
  'an image model': lambda p: weights.write(p, {}, {'x': NOISE}),
  'clips': lambda p: frames.save_clips(p, NOISE, ['']),
  'a shard': lambda p: store.write_shard(
    p, store.Shard(0, 1, 0, 1), {0: {'x': NOISE}}, {}
  ),
  'collected': lambda p: writer.write(
    p, 'toy', {'train': [make_episode(seed, 2000) for seed in range(3)]}
  ),
}


@pytest.mark.parametrize('what', WRITERS)
def test_39_disk_full(what, tmp_path):
  """disk full in any stage -> one line with the file that could not be written;
  what was there before is kept, nothing half-written stays, and nothing is
  written through a map, which would end the process without a word"""
  path = tmp_path / 'out'
  kept = what in ('text', 'json', 'array', 'arrays', 'parameters')
  if kept:
    path.write_text('before')
  with full_disk(), pytest.raises(OSError) as error:
    WRITERS[what](path)
  assert str(tmp_path) in str(error.value)
  assert not kept or path.read_text() == 'before'
  left = [p.name for p in tmp_path.rglob('*') if p.is_file()]
  assert not [n for n in left if n not in ('out',) and '.partial' not in n]


def test_a_save_that_fails_ends_with_its_one_line(
  tmp_path, monkeypatch, capfd, caplog
):
  """Of 40 arrays each fails to be written, in a thread of its own."""
  arrays = [jax.numpy.asarray(NOISE[index::8]) for index in range(40)]
  saves = checkpoint.Checkpoints(tmp_path)

  def stage(argv):
    del argv
    with full_disk(1 << 15), pytest.raises(OSError) as error:
      saves.save(1, arrays)
      saves.settle()
    code = main._refuse(error.value)
    time.sleep(0.2)
    gc.collect()  # What comes late comes now.
    return code

  monkeypatch.setattr(main, 'main', stage)
  monkeypatch.setattr(sys, 'unraisablehook', sys.__unraisablehook__)
  caplog.set_level(logging.NOTSET, 'asyncio')  # As it is after the test.
  with pytest.raises(SystemExit) as end:
    main.command()
  errors = capfd.readouterr().err
  assert end.value.code == 2 and 'Event loop is closed' not in errors
  assert 'asyncio' not in [record.name for record in caplog.records]
  last = errors.splitlines()[-1]
  assert last.startswith(f'rpt_jax: error: {tmp_path}/1 cannot be written: ')


def test_40_policies_that_are_not_finite():
  """NaN in the loss or the parameters of a policy -> one line with the rate to
  lower and exit code 3; the policy is not kept"""
  domain, cell = types.SimpleNamespace(name='toy'), Cell('next', 'probe', 4)
  fine = {'a': np.ones(3)}
  finetune._check_finite(domain, cell, fine, np.ones(2))
  for params, loss in (
    ({'a': np.array([1.0, np.nan])}, np.ones(2)),
    (fine, np.array([1.0, np.inf])),
  ):
    with pytest.raises(
      FloatingPointError, match='finetune.probe.learning_rate'
    ):
      finetune._check_finite(domain, cell, params, loss)
