"""Checkpoints: kept, restored, refused; damaged ones: tests/faults."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.training import checkpoint
from rpt_jax.training.checkpoint import (
  Checkpoints,
  load_params,
  save_params,
)


def state_of(step):
  return {
    'params': {'kernel': jnp.full((8, 3), float(step)), 'bias': jnp.zeros(3)},
    'key': jax.random.key(step),
    'step': jnp.int32(step),
  }


def save_three(directory):
  checkpoints = Checkpoints(directory)
  for step in (2, 4, 6):
    checkpoints.save(step, state_of(step))
  checkpoints.close()
  return directory


def assert_is(restored, step):
  found, state = restored
  assert found == step
  np.testing.assert_array_equal(state['params']['kernel'], float(step))
  key = jax.random.key_data(jax.random.key(step))
  np.testing.assert_array_equal(jax.random.key_data(state['key']), key)


def test_the_last_two_are_kept_and_the_latest_restored(tmp_path):
  checkpoints = Checkpoints(save_three(tmp_path))
  assert checkpoints.steps() == [4, 6]
  assert_is(checkpoints.restore(state_of(0)), 6)


def test_another_model_is_refused_by_name(tmp_path):
  checkpoints = Checkpoints(save_three(tmp_path))
  wide = state_of(0)
  wide['params']['kernel'] = jnp.zeros((9, 3))
  with pytest.raises(ValueError, match=r'params/kernel is .*9, 3.*8, 3'):
    checkpoints.restore(wide)
  half = state_of(0)
  half['params']['bias'] = jnp.zeros(3, jnp.bfloat16)
  with pytest.raises(ValueError, match='params/bias is .*bfloat16'):
    checkpoints.restore(half)
  less = state_of(0)
  del less['params']['bias']
  with pytest.raises(ValueError, match='missing params/bias'):
    checkpoints.restore(less)


def test_nothing_there(tmp_path):
  assert Checkpoints(tmp_path).restore(state_of(0)) is None


def test_params_round_trip(tmp_path):
  path = tmp_path / 'deep' / 'params.safetensors'
  params = state_of(3)['params']
  tree = {'a': params, 'b': {'c': {'d': jnp.arange(3)}}}
  save_params(path, tree)
  loaded = load_params(path, tree)
  assert jax.tree.structure(loaded) == jax.tree.structure(tree)
  for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(tree), strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype
  assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_a_kill_leaves_is_told_by_its_name(tmp_path, monkeypatch):
  """safetensors writes under a name of its own before it renames."""
  path, params = tmp_path / 'params.safetensors', state_of(3)['params']

  def killed(tensors, file):
    (file.parent / '.tmpXyz').write_bytes(b'half')
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.safetensors, 'save_file', killed)
    with pytest.raises(KeyboardInterrupt):
      save_params(path, params)
  assert [p.name for p in tmp_path.iterdir()] == [f'{path.name}.partial']
  save_params(path, params)
  assert [p.name for p in tmp_path.iterdir()] == [path.name]
  load_params(path, params)


@pytest.mark.parametrize(
  'like, message',
  [
    ({'kernel': np.zeros((8, 4), np.float32)}, r'kernel is .*8, 4'),
    ({'kernel': np.zeros((8, 3), np.float32)}, 'missing bias'),
    ({**state_of(0)['params'], 'extra': np.zeros(1)}, 'extra extra'),
  ],
)
def test_params_that_do_not_fit(tmp_path, like, message):
  save_params(tmp_path / 'p', state_of(0)['params'])
  with pytest.raises(ValueError, match=message):
    load_params(tmp_path / 'p', like)


def test_a_save_that_failed_can_be_done_again(tmp_path, monkeypatch):
  def full(path, content):
    raise OSError('no room')

  checkpoints = Checkpoints(save_three(tmp_path))
  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.files, 'write_json', full)
    checkpoints.save(8, state_of(8))
    with pytest.raises(OSError, match='/8 cannot be written: no room'):
      checkpoints.settle()
  assert not (tmp_path / '8').exists()
  checkpoints.save(8, state_of(8))
  checkpoints.settle()
  assert_is(checkpoints.restore(state_of(0)), 8)


def test_training_goes_on_while_a_state_is_written(tmp_path, monkeypatch):
  """Writing waits here until steps have taken the arrays that are written."""
  resume, save = threading.Event(), Checkpoints._finish

  def finish(checkpoints, *about):
    assert resume.wait(timeout=60)
    save(checkpoints, *about)

  monkeypatch.setattr(Checkpoints, '_finish', finish)
  step = jax.jit(lambda x: x + 1, donate_argnums=0)
  checkpoints, x = Checkpoints(tmp_path), jnp.zeros(1 << 22)
  checkpoints.save(1, {'x': x})
  for _ in range(5):
    x = step(x)
  assert float(x[0]) == 5 and checkpoints.steps() == []
  resume.set()
  checkpoints.settle()
  assert checkpoints.steps() == [1]
  _, restored = checkpoints.restore({'x': jnp.ones(1 << 22)})
  assert not np.asarray(restored['x']).any()
