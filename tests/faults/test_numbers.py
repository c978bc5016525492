"""Faults 14 to 16: gradients, losses and states that are not finite."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import main, options
from rpt_jax.training import loop
from rpt_jax.training.checkpoint import Checkpoints
from tests.training import tiny


def spoiled(chosen):
  """Batches whose inputs are NaN at the chosen steps."""

  def batch_at(index):
    batch = tiny.batch_at(index)
    return {**batch, 'x': batch['x'] * (np.nan if chosen(index) else 1.0)}

  return batch_at


def test_14_one_step_is_not_finite(tmp_path, capsys):
  """NaN or Inf in the gradient of one step -> the step is skipped, told and
  counted; the next ones train; a rerun gives the same bits"""
  batches = spoiled(lambda index: index == 3)
  state, rows = tiny.train(tmp_path / 'a', batches=batches)
  assert 'step 4 skipped' in capsys.readouterr().out
  assert [row['skipped'] for row in rows] == [0, 1, 0, 0, 0, 0]
  assert rows[-1]['loss'] < rows[0]['loss']
  kernel = state.params['layer']['kernel']
  assert np.isfinite(kernel).all()
  again, _ = tiny.train(tmp_path / 'b', batches=batches)
  np.testing.assert_array_equal(kernel, again.params['layer']['kernel'])


def test_15_no_step_is_finite_any_more(tmp_path, capsys, monkeypatch):
  """NaN in 10 steps in a row, or in the state -> one line and exit code 3; the
  last good checkpoint is kept, no state that is not finite is ever saved"""
  bad = spoiled(lambda index: index >= 6)
  with pytest.raises(FloatingPointError, match='10 steps up to 16') as error:
    tiny.train(tmp_path / 'loss', 20, bad)
  assert finite_steps(tmp_path / 'loss')[0] < 16
  with pytest.raises(FloatingPointError, match='step 8 is not finite.*4 is'):
    _diverge_at(tmp_path / 'state', 5)
  assert finite_steps(tmp_path / 'state') == [4]

  def fail(*_):
    raise error.value

  monkeypatch.setattr(options, 'parse', lambda argv: None)
  monkeypatch.setattr(main, '_without_an_experiment', lambda: False)
  monkeypatch.setattr(options, 'experiment', lambda: (None, tmp_path))
  experiment = types.SimpleNamespace(precision='auto')
  monkeypatch.setattr(main, '_checked', lambda config: experiment)
  monkeypatch.setattr(options, 'title', lambda: 'tiny')
  monkeypatch.setattr(main, '_run', fail)
  assert main.main([]) == 3
  (line,) = capsys.readouterr().err.strip().splitlines()
  assert line.startswith('rpt_jax: error: tiny: no finite gradient')


def finite_steps(directory):
  """Steps of all checkpoints, which must restore to what is finite."""
  checkpoints = Checkpoints(directory / 'checkpoints')
  like = tiny.make_state(tiny.optimizer.adamw(0.2, tiny.STEPS))
  step, state = checkpoints.restore(like)
  assert step == checkpoints.steps()[-1]
  for leaf in jax.tree.leaves(state.params):
    assert jnp.isfinite(leaf).all()
  return checkpoints.steps()


def _diverge_at(directory, at):
  """A finite loss and gradient, but parameters that overflow."""
  tx = tiny.optimizer.adamw(0.2, tiny.STEPS)
  good = tiny.step.make_train_step(tiny.loss_fn, tx)

  def step(state, batch):
    state, metrics = good(state, batch)
    scale = jnp.where(state.step > at, jnp.inf, 1.0)
    params = jax.tree.map(lambda x: x * scale, state.params)
    return state._replace(params=params), metrics | {'skipped': 0}

  loop.fit(
    lambda: tiny.make_state(tx),
    tiny.make_state(tx),
    step,
    tiny.batch_at,
    tiny.STEPS,
    directory=directory,
    saving=tiny.SAVING,
    label='tiny',
  )
