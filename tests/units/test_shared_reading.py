"""Two processes read the rows of their own devices, and find what one does."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests import commands
from tests.units import shared_reading

ROWS, WIDTH = 65_536, 16


def run(path, processes):
  """What each process has told."""
  places = commands.places(processes) if processes > 1 else [{}]
  started = [
    subprocess.Popen(
      [sys.executable, '-m', 'tests.units.shared_reading', str(path)],
      cwd=commands.ROOT,
      env=os.environ | {'XLA_FLAGS': commands.QUICKLY} | place,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for place in places
  ]
  outputs = [process.communicate(timeout=300)[0] for process in started]
  for process, output in zip(started, outputs, strict=True):
    assert process.returncode == 0, output[-3000:]
  return [json.loads(output.splitlines()[-1]) for output in outputs]


def test_each_process_reads_the_rows_of_its_devices(tmp_path):
  centres = np.random.default_rng(1).normal(size=(8, WIDTH)) * 20
  rng = np.random.default_rng(0)
  x_ND = centres[rng.integers(0, 8, ROWS)] + rng.normal(size=(ROWS, WIDTH))
  np.save(tmp_path / 'x.npy', x_ND.astype(np.float32))
  (alone,) = run(tmp_path / 'x.npy', 1)
  both = run(tmp_path / 'x.npy', 2)
  assert alone['fit 0']['rows'] == alone['assign']['rows'] == ROWS
  drawn = shared_reading.BATCH * shared_reading.BATCHES
  assert alone['windows']['rows'] == drawn * shared_reading.CONTEXT
  for what, whole in alone.items():
    shares = [each[what]['rows'] for each in both]
    assert sum(shares) == whole['rows'], what
    assert max(shares) <= 0.55 * whole['rows'], what
    for each in both:
      assert each[what]['sum'] == pytest.approx(whole['sum'], rel=1e-4), what
