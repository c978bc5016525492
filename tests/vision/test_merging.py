"""Merging patches: against a loop over pixels; what is saved is what loads."""

import json

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import vision
from rpt_jax.vision import merging

ENCODER = merging.Encoder(16, 4, (6, 5), 7, 'float32')


@pytest.fixture(scope='module')
def image():
  return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)


@pytest.fixture(scope='module')
def params(image):
  variables = ENCODER.init(jax.random.key(1), image.astype(np.float32))
  shift = np.random.default_rng(1)  # Biases and scales are not 0 and 1.
  return jax.tree.map(
    lambda x: x + 0.1 * shift.normal(size=x.shape).astype(np.float32),
    variables['params'],
  )


@pytest.fixture
def folder(params, tmp_path):
  merging.save(ENCODER, params, tmp_path / 'model')
  return tmp_path / 'model'


def gelu(x):
  return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def by_hand(params, image_HWC):
  """The latent [7] of one frame in float64, patch by patch."""

  def layer(stage, cell):
    dense, norm = params[f'stage_{stage}'], params[f'norm_{stage}']
    x = gelu(cell @ np.float64(dense['kernel']) + dense['bias'])
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-6)
    return x * norm['scale'] + norm['bias']

  x, patches = image_HWC / 127.5 - 1, []
  for i in (0, 8):
    for j in (0, 8):
      four = [
        layer(0, x[i + a : i + a + 4, j + b : j + b + 4].reshape(-1))
        for a in (0, 4)
        for b in (0, 4)
      ]
      patches.append(layer(1, np.concatenate(four)))
  last = params['latent']
  return np.concatenate(patches) @ np.float64(last['kernel']) + last['bias']


def test_the_latent_is_the_one_computed_by_hand(folder, params, image):
  model = vision.load(folder, dtype='float32')
  assert (model.dim, model.image_size) == (7, 16)
  latent_ND = jax.jit(model.encode)(image)
  for latent_D, frame in zip(latent_ND, image, strict=True):
    np.testing.assert_allclose(latent_D, by_hand(params, frame), atol=1e-4)
  for output in ('pooled', 'mean_patch', 'grid1'):
    other = vision.load(folder, output=output, dtype='float32')
    np.testing.assert_array_equal(jax.jit(other.encode)(image), latent_ND)


def test_all_that_does_not_fit_is_named(folder):
  for settings, words in (
    ({'layer': 0}, 'layer: found 0'),
    ({'image_size': 32}, 'image_size: found 32, expected 16'),
    ({'dtype': 'float16'}, 'dtype'),
    ({'output': 'cls'}, "output: found 'cls'"),
    ({'output': 'projected'}, "output: found 'projected'"),
  ):
    with pytest.raises(ValueError, match=words):
      vision.load(folder, **settings)
  path = folder / 'model.safetensors'
  tensors = safetensors.load_file(path)
  tensors['else'] = tensors.pop('latent.bias')
  safetensors.save_file(tensors, path)
  with pytest.raises(ValueError, match='else is not expected; latent.bias'):
    vision.load(folder)
  config = json.loads((folder / 'config.json').read_text())
  del config['latent_size']
  (folder / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='latent_size missing'):
    vision.load(folder)


def test_a_frame_of_another_size_is_refused(params):
  with pytest.raises(ValueError, match='expected 16x16'):
    ENCODER.apply({'params': params}, np.zeros((1, 24, 24, 3), np.float32))
