"""Published policies of the Control Suite, as the domain reads them."""

import importlib.util
import pathlib

import numpy as np
import pytest

from rpt_jax.envs.dm_control import experts

ROOT = pathlib.Path(__file__).parents[2]
SCRIPT = ROOT / 'launch' / 'experts_to_safetensors.py'
WIDTHS = (5, 8, 8, 2)


@pytest.fixture(scope='module')
def script():
  spec = importlib.util.spec_from_file_location('experts', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def layers(rng):
  """A state dict of CleanRL's names, its critic first."""
  tensors = {'critic.0.weight': np.ones((1, 5)), 'critic.0.bias': np.ones(1)}
  for i, (wide, out) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False)):
    tensors[f'actor_mean.{2 * i}.weight'] = rng.normal(size=(out, wide))
    tensors[f'actor_mean.{2 * i}.bias'] = rng.normal(size=out)
  tensors['obs_rms.mean'] = rng.normal(size=5)
  tensors['obs_rms.var'] = rng.uniform(0.5, 2, 5)
  return {name: x.astype(np.float32) for name, x in tensors.items()}


def test_a_converted_policy_acts_as_it_did(script, tmp_path):
  rng = np.random.default_rng(0)
  tensors = layers(rng)
  named = script.of_state_dict(dict(tensors))
  np.savez(tmp_path / 'cheetah-run.npz', **named)
  path = script.convert(tmp_path / 'cheetah-run.npz', tmp_path / 'experts')
  assert path.name == 'cheetah-run.safetensors'
  folder = str(tmp_path / 'experts')
  assert experts.sizes('cheetah-run', folder) == (5, 2)
  state = rng.normal(size=5).astype(np.float32)
  x = (state - tensors['obs_rms.mean']) / np.sqrt(tensors['obs_rms.var'])
  for i in range(3):
    x = tensors[f'actor_mean.{2 * i}.weight'] @ x
    x = x + tensors[f'actor_mean.{2 * i}.bias']
    x = np.tanh(x) if i < 2 else np.clip(x, -1, 1)
  action = experts.load('cheetah-run', folder)(state)
  np.testing.assert_allclose(action, x, atol=1e-5)


def test_what_is_no_policy_is_refused(script, tmp_path):
  np.savez(tmp_path / 'a.npz', w0=np.ones((2, 2)))
  with pytest.raises(ValueError, match=r"a.npz: found \['w0'\], missing"):
    script.convert(tmp_path / 'a.npz', tmp_path)
  (tmp_path / 'a.safetensors').write_bytes(b'no')
  with pytest.raises(ValueError, match='a.safetensors: cannot be read'):
    experts.load('a', str(tmp_path))
