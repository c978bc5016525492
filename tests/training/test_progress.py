"""The log line of a training, and the trace of its steps."""

import io
import sys
import types

import jax
import numpy as np
import pytest
import tiny

from rpt_jax import artifacts
from rpt_jax.training import hardware, live, profiling, progress

METRICS = {'loss': 1.5, 'learning_rate': 1e-3, 'grad_norm': 2.0, 'skipped': 0}
COST = progress.Cost(flops=3e9, tokens=500.0)


@pytest.fixture
def clock(monkeypatch):
  """A clock that is moved by hand; devices that do 10 GFLOP/s."""
  clock = types.SimpleNamespace(now=0.0)
  monkeypatch.setattr(progress.time, 'perf_counter', lambda: clock.now)
  monkeypatch.setattr(hardware, 'peak_flops', lambda: 1e10)
  return clock


def _lines(clock, directory, capsys, cost):
  log = progress.Progress(directory, 'run', 0, 100, every=5, cost=cost)
  for step in range(1, 12):
    clock.now += 60.0 if step == 2 else 0.5  # The first step took a minute.
    log.waited += 0.125
    log(step, METRICS)
  log.close()
  return capsys.readouterr().out.splitlines()


def test_a_line_tells_rates_without_the_compile(clock, tmp_path, capsys):
  first, second = _lines(clock, tmp_path, capsys, COST)
  assert first.startswith('run 5/100 loss 1.5000 lr 1.00e-03 grad-norm 2.000 ')
  rates = '2 steps/s 1e+03 tokens/s MFU 60.0% wait 25% '
  assert f' {rates}ETA 48s memory ' in first
  assert f' {rates}ETA 45s memory ' in second
  assert first.endswith(' GiB')


def test_without_a_cost_nothing_is_made_up(clock, tmp_path, capsys):
  for line in _lines(clock, tmp_path, capsys, None):
    assert 'tokens/s' not in line and 'MFU' not in line
    assert '2 steps/s wait 25%' in line


def test_memory_is_of_the_device_where_it_tells(monkeypatch):
  assert 2**24 < progress.peak_memory() < 2**40
  stats = {'peak_bytes_in_use': 7 * 2**30}
  device = types.SimpleNamespace(memory_stats=lambda: stats)
  monkeypatch.setattr(jax, 'local_devices', lambda: [device])
  assert progress.peak_memory() == 7 * 2**30


def test_a_trace_of_every_training_that_changes_nothing(tmp_path):
  profiling.enable()
  try:
    traced, rows = tiny.train(tmp_path / 'traced')
    tiny.train(tmp_path / 'one', 1)
  finally:
    profiling.enable(False)
  plain, same = tiny.train(tmp_path / 'plain')
  assert rows == same
  jax.tree.map(lambda a, b: (a == b).all() or pytest.fail(), *(
    state.params for state in (traced, plain)
  ))  # fmt: skip
  traces = list((tmp_path / 'traced' / 'profile').rglob('*.xplane.pb'))
  assert len(traces) == 1 and traces[0].stat().st_size > 1000
  assert not (tmp_path / 'plain' / 'profile').exists()
  assert not (tmp_path / 'one' / 'profile').exists()
  names = artifacts.written(tmp_path)
  assert names and not [name for name in names if 'profile/' in name]


@pytest.mark.parametrize(
  'start, total, steps',
  [(0, 100, (10, 15)), (40, 100, (50, 55)), (0, 12, (1, 6)), (0, 4, (1, 4))],
)
def test_which_steps_are_traced(start, total, steps, monkeypatch, tmp_path):
  calls = []
  monkeypatch.setattr(profiling, '_enabled', True)
  for name in ('start_trace', 'stop_trace'):
    monkeypatch.setattr(
      jax.profiler, name, lambda *_, name=name: calls.append((name, step))
    )
  profile = profiling.Profile(tmp_path, start, total)
  for step in range(start + 1, total + 1):
    profile(step, {})
  profile.close()
  assert calls == [('start_trace', steps[0]), ('stop_trace', steps[1])]


def test_steps_are_skipped_in_a_row(tmp_path):
  """Nine, a good one and nine again go on; ten do not."""
  log = progress.Progress(tmp_path, 'run', 0, 100, every=50)
  few = progress.MAX_SKIPPED - 1
  pattern = [1] * few + [0] + [1] * few
  for step, skipped in enumerate(pattern, start=1):
    log(step, METRICS | {'skipped': np.int32(skipped)})
  log.flush()
  log(len(pattern) + 1, METRICS | {'skipped': np.int32(1)})
  with pytest.raises(FloatingPointError, match='in 10 steps up to 20'):
    log.flush()


class Terminal(io.StringIO):
  """What a terminal is given."""

  def isatty(self):
    return True


def test_a_terminal_has_one_line_that_is_rewritten(
  clock, tmp_path, monkeypatch
):
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setenv('COLUMNS', '100')
  monkeypatch.setattr(live.time, 'monotonic', lambda: clock.now + 1.0)
  monkeypatch.setattr(sys, 'stdout', Terminal())
  with live.cleared():
    log = progress.Progress(tmp_path, 'run', 0, 12, every=5)
    for step in range(1, 13):
      clock.now += 0.5
      log(step, METRICS)
    log.flush()
  drawn = sys.stdout.getvalue()
  first, *others = drawn.split('\r\x1b[K')[1:]
  assert first == 'run [#...................] 1/12 '
  assert others[5].startswith(
    'run [###########.........] 7/12 2 steps/s ETA 2s'
  )
  assert others[5].endswith(' loss 1.5000')
  (plain,) = (text for text in others if text.endswith('\n'))
  assert plain.startswith('run 12/12 loss 1.5000 lr ')
  assert drawn.index(plain) > drawn.index(' 11/12 ')


def test_what_fails_leaves_no_line(tmp_path, monkeypatch):
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.setattr(sys, 'stdout', Terminal())
  with pytest.raises(FloatingPointError), live.cleared():
    live.draw('run', 1, 2, '')
    raise FloatingPointError
  assert sys.stdout.getvalue().endswith('\r\x1b[K')
  monkeypatch.setenv('TERM', 'dumb')
  assert not live.possible()
