"""Image models by name and by folder, saved bit-equal, loaded strictly."""

import json

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import vision
from rpt_jax.vision import mae

MODEL = mae.Autoencoder(
  image_size=32, patch=8, width=16, depth=2, num_heads=2, decoder_width=16
)


@pytest.fixture(scope='module')
def params():
  return jax.device_get(MODEL.init(jax.random.key(0)))


@pytest.fixture
def folder(tmp_path, params):
  mae.save(MODEL, params, tmp_path / 'model')
  return tmp_path / 'model'


@pytest.fixture(scope='module')
def image():
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def encode(model, image):
  return np.asarray(jax.jit(model.encode)(image))


def test_saving_is_bit_equal(folder, params):
  model, found = mae.restore(folder)
  assert model == MODEL
  assert jax.tree.structure(found) == jax.tree.structure(params)
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_a_folder_loads_as_its_encoder(folder, params, image):
  model = vision.load(folder, output='patches')
  assert model.dim == 16 * 16 and model.image_size == 32
  x = model.preprocess(image)
  forward = jax.jit(MODEL.encoder.apply)
  tokens, layers = forward({'params': params['encoder']}, x)
  latent = jax.jit(model.apply)(model.params, x)
  assert latent.shape == (2, model.dim)
  expected = tokens[:, 1:].reshape(2, -1)
  np.testing.assert_allclose(latent, expected, atol=2e-2)
  np.testing.assert_allclose(encode(model, image), latent, atol=2e-2)
  middle = vision.load(str(folder), output='cls', layer=0)
  expected = layers[0][:, 0]
  np.testing.assert_allclose(encode(middle, image), expected, atol=2e-2)
  for layer in (2, -2):
    with pytest.raises(ValueError, match='layer'):
      vision.load(folder, layer=layer)


def test_controls(image):
  shape = dict(image_size=32, patch=8, width=16, depth=1, num_heads=2)
  random = vision.load('random', output='mean_patch', **shape)
  again = vision.load('random', output='mean_patch', **shape)
  other = vision.load('random', output='mean_patch', seed=1, **shape)
  assert random.dim == 16
  np.testing.assert_array_equal(encode(random, image), encode(again, image))
  assert (encode(random, image) != encode(other, image)).any()
  pixels = vision.load('pixels', image_size=32, size=8)
  assert pixels.dim == 8 * 8 * 3
  small = image.astype(np.float64).reshape(2, 8, 4, 8, 4, 3).mean((2, 4))
  np.testing.assert_allclose(
    encode(pixels, image), small.reshape(2, -1) / 127.5 - 1, atol=1e-6
  )


@pytest.mark.parametrize('name', ['nothing', 'vit', 'weights', '../mae'])
def test_unknown_names_are_named(name):
  with pytest.raises(ValueError, match='image'):
    vision.load(name)


def test_a_name_that_needs_a_folder():
  with pytest.raises(ValueError, match='config.json'):
    vision.load('mae')


def change_weights(folder, change):
  path = folder / 'weights.safetensors'
  flat = safetensors.load_file(path)
  change(flat)
  safetensors.save_file(flat, path)


def test_wrong_weights_are_named(folder):
  def change(flat):
    del flat['mask']
    flat['extra'] = np.zeros(3, np.float32)
    flat['encoder/cls'] = flat['encoder/cls'][:4].copy()
    flat['predict/bias'] = flat['predict/bias'].astype(np.float16)

  change_weights(folder, change)
  with pytest.raises(ValueError) as error:
    vision.load(folder)
  message = str(error.value)
  assert 'weights.safetensors' in message
  for part in (
    'mask is missing',
    'extra is not expected',
    'encoder/cls is float32[4], expected float32[16]',
    'predict/bias is float16[192], expected float32[192]',
  ):
    assert part in message


def test_wrong_files_are_named(folder):
  weights, config = folder / 'weights.safetensors', folder / 'config.json'
  content = weights.read_bytes()
  weights.write_bytes(content[: len(content) // 2])
  with pytest.raises(ValueError, match='not a whole safetensors'):
    vision.load(folder)
  weights.unlink()
  with pytest.raises(ValueError, match='weights.safetensors: no such file'):
    vision.load(folder)
  values = json.loads(config.read_text())
  del values['patch']
  values['colour'] = 1
  config.write_text(json.dumps(values))
  with pytest.raises(ValueError, match=r"missing \['patch'\].*\['colour'\]"):
    vision.load(folder)
  config.write_text('[]')
  with pytest.raises(ValueError, match="no JSON object with a 'kind'"):
    vision.load(folder)
  config.write_text('{"kind": "nothing"}')
  with pytest.raises(ValueError, match="'nothing' is no image model"):
    vision.load(folder)
  config.unlink()
  with pytest.raises(ValueError, match='config.json: no such file'):
    vision.load(folder)
