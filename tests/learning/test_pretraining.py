"""What `config.pretrain` says of the training is seen to act."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax import settings
from rpt_jax.learning import pretraining
from rpt_jax.learning.runs import PretrainingRun
from rpt_jax.models.trunks import transformer
from rpt_jax.objectives import next_streams
from rpt_jax.sharing import folder
from rpt_jax.stages import pretrain
from rpt_jax.training import checkpoint, optimizer, sharding
from rpt_jax.types import StreamSpec

RUN = settings.Run(objective=next_streams.Settings(), streams=('proprio',))
SHARED = settings.Pretrain(
  width=8,
  trunk=transformer.Settings(1, 2),
  context=4,
  batch_size=8,
  steps=4,
  warmup=0.5,
)
SPECS = {'proprio': StreamSpec('proprio', 'continuous', dim=2)}


def mesh():
  sizes = {'data': 1, 'fsdp': 1, 'tensor': 1}
  return sharding.make_mesh(sizes, jax.devices()[:1])


def training(**changes):
  """(trainer, step -> batch) of a tiny run; all its steps are there."""
  shared = dataclasses.replace(SHARED, **changes)
  run = PretrainingRun('next', RUN, shared)
  model = run.model(SPECS)
  loss = pretraining.loss_fn(run, model, {})
  trainer = pretraining.make_trainer(run, model, loss, mesh())

  def batch_at(index):
    x_BTD = np.random.default_rng(index).normal(size=(8, 4, 2))
    real_BT = np.ones((8, 4), bool)
    return {
      'proprio': x_BTD.astype(np.float32),
      'valid': real_BT,
      'present': real_BT[..., None],
      pretraining.SETTINGS: {},
    }

  return trainer, batch_at


def trained(steps=2, **changes):
  """[states before, between and after the steps], and metrics of each."""
  trainer, batch_at = training(**changes)
  state = trainer.init(jax.random.key(0))
  states, metrics = [jax.tree.map(_copy, state)], []
  for i in range(steps):
    state, each = trainer.step(state, batch_at(i))
    states.append(jax.tree.map(_copy, state))
    metrics.append(jax.device_get(each))
  return states, metrics


def _copy(x):
  is_key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  return x if is_key else np.array(x)


def jaxpr(**changes):
  trainer, batch_at = training(**changes)
  return str(jax.make_jaxpr(trainer.step)(trainer.shapes, batch_at(0)))


def close(a, b, tolerance=1e-5):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance),
               a, b)  # fmt: skip


@pytest.fixture(scope='module')
def plain():
  return trained()


def test_ema_keeps_a_running_mean(plain):
  (first, second, third), _ = trained(ema=0.5)
  mean = jax.tree.map(
    lambda a, b, c: a / 4 + b / 4 + c / 2,
    *(s.params for s in (first, second, third)),
  )
  close(third.mean, mean)
  apart = jax.tree.map(lambda x, y: np.abs(x - y).max(), mean, third.params)
  assert max(jax.tree.leaves(apart)) > 1e-4
  assert plain[0][-1].mean is None
  close(third.params, plain[0][-1].params, 0)


def test_freeze_leaves_parameters_as_they_are(plain):
  states, _ = trained(freeze='^trunk')
  changed = jax.tree.map(
    lambda x, y: not np.array_equal(x, y), states[0].params, states[-1].params
  )
  frozen = optimizer.path_mask(changed, '^trunk')
  moving = plain[0][0].params, plain[0][-1].params
  plainly = jax.tree.map(lambda x, y: not np.array_equal(x, y), *moving)
  expected = jax.tree.map(lambda moves, held: moves and not held, plainly,
                          frozen)  # fmt: skip
  assert changed == expected
  assert any(jax.tree.leaves(changed['stem_proprio']))
  assert any(jax.tree.leaves(plainly['trunk']))


def test_accumulate_cuts_a_batch_and_changes_nothing_else(plain):
  states, metrics = trained(accumulate=4)
  for each, expected in zip(metrics, plain[1], strict=True):
    np.testing.assert_allclose(each['loss'], expected['loss'], rtol=1e-4)
    np.testing.assert_allclose(
      each['grad_norm'], expected['grad_norm'], rtol=1e-3
    )
  close(states[-1].params, plain[0][-1].params, 1e-3)
  assert 'length=4' in jaxpr(accumulate=4)
  assert 'length=4' not in jaxpr()


def test_remat_computes_blocks_twice():
  programs = {
    remat: jaxpr(trunk=transformer.Settings(1, 2, remat=remat))
    for remat in ('none', 'dots', 'full')
  }
  names = {k: 'remat' in text or 'checkpoint[' in text
           for k, text in programs.items()}  # fmt: skip
  assert names == {'none': False, 'dots': True, 'full': True}
  assert programs['dots'] != programs['full']


def test_rates_are_what_is_asked_for(plain):
  rates = [each['learning_rate'] for each in plain[1]]
  peak = SHARED.learning_rate
  np.testing.assert_allclose(rates, [peak / 2, peak * 3 / 4], rtol=1e-5)


def saved(directory, params, shift=1.0):
  """A folder with these parameters, all of them shifted; what it holds."""
  shifted = jax.tree.map(lambda x: np.asarray(x) + shift, params)
  checkpoint.save_params(directory / folder.MODEL, shifted)
  return shifted


def begun(directory, capsys, ema=0.0, **init):
  """(parameters saved, state that a training begins with, what is told)."""
  trainer, _ = training(ema=ema)
  state = trainer.init(jax.random.key(0))
  shifted = saved(directory, state.params)
  init = settings.Init(path=str(directory), **init)
  return shifted, pretrain._begun(init, state, 'next'), capsys.readouterr().out


def test_a_training_begins_from_a_saved_model(tmp_path, capsys):
  shifted, state, told = begun(tmp_path, capsys, ema=0.9)
  close(state.params, shifted, 0)
  close(state.mean, shifted, 0)
  assert f'next: from {tmp_path}: loaded' in told


def test_what_is_new_begins_untrained(tmp_path, capsys):
  shifted, state, told = begun(tmp_path, capsys, new=('^head',))
  trainer, _ = training()
  fresh = trainer.init(jax.random.key(0)).params
  heads = {k for k in fresh if k.startswith('head')}
  assert heads
  for name in fresh:
    expected = fresh if name in heads else shifted
    close(state.params[name], expected[name], 0)
  assert 'new' in told


def test_a_run_begins_from_its_own_or_from_what_all_do():
  shared = dataclasses.replace(SHARED, init=settings.Init('all'))
  own = dataclasses.replace(RUN, init=settings.Init('own', new=('head',)))
  assert PretrainingRun('a', RUN, shared).init == settings.Init('all')
  assert PretrainingRun('a', own, shared).init.path == 'own'
  assert PretrainingRun('a', own, SHARED).init.new == ('head',)
