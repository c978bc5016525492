"""Checkpoints under faults: damaged, half written, of another model."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rpt_jax.training.checkpoint import (
  MANIFEST,
  Checkpoints,
  load_params,
  save_params,
)


def _state(step):
  return {
    'params': {'kernel': jnp.full((8, 3), float(step)), 'bias': jnp.zeros(3)},
    'key': jax.random.key(step),
    'step': jnp.int32(step),
  }


@pytest.fixture
def saved(tmp_path):
  checkpoints = Checkpoints(tmp_path)
  for step in (2, 4, 6):
    checkpoints.save(step, _state(step))
  checkpoints.close()
  return tmp_path


def _assert_is(restored, step):
  found, state = restored
  assert found == step
  np.testing.assert_array_equal(state['params']['kernel'], float(step))
  key = jax.random.key_data(jax.random.key(step))
  np.testing.assert_array_equal(jax.random.key_data(state['key']), key)


def test_the_last_two_are_kept_and_the_latest_restored(saved):
  checkpoints = Checkpoints(saved)
  assert checkpoints.steps() == [4, 6]
  _assert_is(checkpoints.restore(_state(0)), 6)


def _biggest(folder):
  files = [p for p in folder.rglob('*') if p.is_file() and p.name != MANIFEST]
  return max(files, key=lambda path: path.stat().st_size)


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


DAMAGE = {
  'bit flip': lambda folder: _flip(_biggest(folder)),
  'deleted file': lambda folder: _biggest(folder).unlink(),
  'half a save': lambda folder: (folder / MANIFEST).unlink(),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_damage_falls_back_loudly(saved, damage, caplog):
  DAMAGE[damage](saved / '6')
  with caplog.at_level(logging.WARNING):
    checkpoints = Checkpoints(saved)
    _assert_is(checkpoints.restore(_state(0)), 4)
  assert str(saved / '6') in caplog.text
  checkpoints.save(6, _state(6))  # The step can be saved again.
  _assert_is(checkpoints.restore(_state(0)), 6)


def test_another_model_is_refused_by_name(saved):
  checkpoints = Checkpoints(saved)
  wide = _state(0)
  wide['params']['kernel'] = jnp.zeros((9, 3))
  with pytest.raises(ValueError, match=r'params/kernel is .*9, 3.*8, 3'):
    checkpoints.restore(wide)
  half = _state(0)
  half['params']['bias'] = jnp.zeros(3, jnp.bfloat16)
  with pytest.raises(ValueError, match='params/bias is .*bfloat16'):
    checkpoints.restore(half)
  less = _state(0)
  del less['params']['bias']
  with pytest.raises(ValueError, match='missing params/bias'):
    checkpoints.restore(less)


def test_nothing_there(tmp_path):
  assert Checkpoints(tmp_path).restore(_state(0)) is None


def test_params_round_trip(tmp_path):
  path = tmp_path / 'deep' / 'params.safetensors'
  params = _state(3)['params']
  tree = {'a': params, 'b': {'c': {'d': jnp.arange(3)}}}
  save_params(path, tree)
  loaded = load_params(path, tree)
  assert jax.tree.structure(loaded) == jax.tree.structure(tree)
  for a, b in zip(jax.tree.leaves(loaded), jax.tree.leaves(tree), strict=True):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype
  assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
  'like, message',
  [
    ({'kernel': np.zeros((8, 4), np.float32)}, r'kernel is .*8, 4'),
    ({'kernel': np.zeros((8, 3), np.float32)}, 'missing bias'),
    ({**_state(0)['params'], 'extra': np.zeros(1)}, 'extra extra'),
  ],
)
def test_params_that_do_not_fit(tmp_path, like, message):
  save_params(tmp_path / 'p', _state(0)['params'])
  with pytest.raises(ValueError, match=message):
    load_params(tmp_path / 'p', like)
