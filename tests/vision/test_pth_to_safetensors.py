"""Released .pth of MAE and MVP: converted without running anything in them."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

import families  # noqa: E402

from rpt_jax import vision  # noqa: E402

SCRIPT = pathlib.Path(__file__).parents[2] / 'launch' / 'pth_to_safetensors.py'
NAMES = {
  'embeddings.cls_token': 'cls_token',
  'embeddings.position_embeddings': 'pos_embed',
  'embeddings.patch_embeddings.projection': 'patch_embed.proj',
  'encoder.layer': 'blocks',
  'attention.output.dense': 'attn.proj',
  'intermediate.dense': 'mlp.fc1',
  'output.dense': 'mlp.fc2',
  'layernorm_before': 'norm1',
  'layernorm_after': 'norm2',
  'layernorm': 'norm',
}


@pytest.fixture(scope='module')
def script():
  spec = importlib.util.spec_from_file_location('pth_to_safetensors', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def theirs(tmp_path_factory):
  """The folder transformers saves, and the same weights in timm's names."""
  from safetensors.torch import load_file

  folder = tmp_path_factory.mktemp('mae')
  families.save(families.build('vit_mae_encoder'), folder)
  saved = load_file(folder / 'model.safetensors')
  found = {}
  for name, value in saved.items():
    if '.query.' in name:
      parts = [
        saved[name.replace('query', x)] for x in ('query', 'key', 'value')
      ]
      name, value = name.replace('attention.query', 'qkv'), torch.cat(parts)
      name = name.replace('attention.qkv', 'attn.qkv')
    if '.key.' in name or '.value.' in name:
      continue
    for old, new in NAMES.items():
      name = name.replace(old, new)
    found[name] = value
  return folder, found


def encode(folder):
  settings = {'image_size': 32, 'output': 'patches', 'dtype': 'float32'}
  model = vision.load(folder, **settings)
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 32, 32, 3)).astype(np.float32)
  return np.asarray(jax.jit(model.apply)(model.params, x))


@pytest.mark.parametrize('nested', [True, False])
def test_converted_weights_give_the_same(nested, script, theirs, tmp_path):
  folder, tensors = theirs
  assert 'blocks.1.attn.qkv.weight' in tensors
  head = {'mask_token': torch.zeros(1, 1, 8), 'head.weight': torch.zeros(3, 32)}
  content = tensors | head
  content = {'model': content, 'epoch': 3} if nested else content
  torch.save(content, tmp_path / 'mae.pth')
  config = script.convert(tmp_path / 'mae.pth', tmp_path / 'out', heads=2)
  assert (config['image_size'], config['patch_size']) == (32, 8)
  assert (config['num_hidden_layers'], config['intermediate_size']) == (2, 48)
  # transformers' default epsilon, 1e-12, is not MAE's own.
  np.testing.assert_allclose(
    encode(tmp_path / 'out'), encode(folder), atol=1e-4
  )
  assert vision.load(tmp_path / 'out').image_size == 32


def test_code_in_a_file_is_not_run(script, tmp_path):
  class Trap:
    def __reduce__(self):
      return pathlib.Path.touch, (tmp_path / 'ran',)

  torch.save({'model': Trap()}, tmp_path / 'trap.pth')
  with pytest.raises(ValueError, match='weights alone'):
    script.convert(tmp_path / 'trap.pth', tmp_path / 'out')
  assert not (tmp_path / 'ran').exists() and not (tmp_path / 'out').exists()


def test_other_models_are_refused(script, theirs, tmp_path):
  torch.save({'conv1.weight': torch.zeros(3)}, tmp_path / 'resnet.pth')
  with pytest.raises(ValueError, match='no encoder of MAE or MVP'):
    script.convert(tmp_path / 'resnet.pth', tmp_path / 'out')
  torch.save(theirs[1], tmp_path / 'mae.pth')
  with pytest.raises(ValueError, match='width 32 is new here, give --heads'):
    script.convert(tmp_path / 'mae.pth', tmp_path / 'out')
