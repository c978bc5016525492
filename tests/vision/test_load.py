"""Image models by name and by folder, saved bit-equal, loaded strictly."""

import json
import sys

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax import vision
from rpt_jax.vision import layout, mobilenet, resnet
from rpt_jax.vision.families import vit as vit_family
from rpt_jax.vision.families import vit_mae
from rpt_jax.vision.pretraining import mae

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
  """What transformers reads the decoder of, and `load` the encoder."""
  model = vision.load(folder)
  expected = params['encoder'] | {'positions': model.params['positions']}
  assert jax.tree.structure(model.params) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, model.params, expected)
  flat = safetensors.load_file(folder / 'model.safetensors')
  decoder = layout.export(params, vit_mae.AUTOENCODER)
  assert {*decoder} < {*flat}
  for name, x in decoder.items():
    np.testing.assert_array_equal(np.squeeze(flat[name]), x)


def test_frames_are_encoded_a_batch_at_a_time(image):
  batches = []

  def preprocess(x_NHWC):
    batches.append(len(x_NHWC))
    return x_NHWC[:, 0, 0].astype(np.float32)

  def apply(scale, x_ND):
    return scale * x_ND

  model = vision.VisionModel('corner', apply, 2.0, preprocess, 3, None)
  five_NHWC = np.concatenate([image, 255 - image, image[:1]])
  latents = model.encode(five_NHWC, batch_size=2)
  assert batches == [2]  # One compile serves all, the last one, too.
  np.testing.assert_array_equal(latents, 2.0 * five_NHWC[:, 0, 0])


def test_an_encoder_of_ours_is_saved_as_a_vit(params, tmp_path):
  """What an image objective without a decoder leaves: bit-equal, too."""
  vit_family.save(MODEL.encoder, params['encoder'], tmp_path / 'vit')
  mae.save(MODEL, params, tmp_path / 'mae')
  plain, part = vision.load(tmp_path / 'vit'), vision.load(tmp_path / 'mae')
  assert (plain.dim, plain.image_size) == (part.dim, part.image_size)
  jax.tree.map(np.testing.assert_array_equal, plain.params, part.params)


def test_a_folder_loads_as_its_encoder(folder, params, image):
  model = vision.load(folder, output='patches')
  assert model.dim == 16 * 16 and model.image_size == 32
  x = model.preprocess(image)
  forward = jax.jit(MODEL.encoder.apply)
  tokens = forward({'params': params['encoder']}, x).tokens
  latent = jax.jit(model.apply)(model.params, x)
  assert latent.shape == (2, model.dim)
  expected = tokens[:, 1:].reshape(2, -1)
  np.testing.assert_allclose(latent, expected, atol=2e-2)
  np.testing.assert_allclose(encode(model, image), latent, atol=2e-2)
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
  wide = np.zeros((2, 48, 64, 3), np.uint8)
  assert encode(pixels, wide).shape == (2, pixels.dim)
  assert encode(random, wide).shape == (2, random.dim)
  small = image.astype(np.float64).reshape(2, 8, 4, 8, 4, 3).mean((2, 4))
  np.testing.assert_allclose(
    encode(pixels, image), small.reshape(2, -1) / 127.5 - 1, atol=1e-6
  )


def test_edges_are_numpys_gradients_in_small(image):
  edges = vision.load('edges', image_size=32, size=8)
  assert vision.load('edges').dim == 32 * 32 and edges.dim == 8 * 8
  grey = (image / 127.5 - 1) @ [0.299, 0.587, 0.114]
  down, right = np.gradient(grey, axis=(1, 2))  # One-sided at borders.
  down[:, [0, -1]] /= 2
  right[:, :, [0, -1]] /= 2
  steep = np.hypot(down, right).reshape(2, 8, 4, 8, 4).mean((2, 4))
  np.testing.assert_allclose(
    encode(edges, image), steep.reshape(2, -1), atol=1e-5
  )
  flat = np.full((1, 32, 32, 3), 200, np.uint8)
  np.testing.assert_allclose(encode(edges, flat), 0, atol=1e-5)
  with pytest.raises(ValueError, match='size 7'):
    vision.load('edges', image_size=32, size=7)
  with pytest.raises(ValueError, match='layer: found 0'):
    vision.load('edges', layer=0)


@pytest.mark.parametrize('name', ['nothing', 'vit', '../mae/', 'a/b/c', '.'])
def test_unknown_names_are_named(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match='no such file or folder|config.json'):
    vision.load(name)


@pytest.mark.parametrize('extra', [True, False])
def test_an_identifier_that_cannot_be_fetched(extra, monkeypatch):
  def refuse(repository, **settings):
    raise OSError('no network\nlong story')

  class Hub:
    snapshot_download = staticmethod(refuse)

  monkeypatch.setitem(sys.modules, 'huggingface_hub', Hub if extra else None)
  with pytest.raises(ValueError, match='no network$' if extra else r'\[hub\]'):
    vision.load('google/vit-base-patch16-224')


def test_only_safe_files_are_fetched(folder, monkeypatch):
  asked = {}

  class Hub:
    @staticmethod
    def snapshot_download(repository, allow_patterns):
      asked[repository] = allow_patterns
      return str(folder)

  monkeypatch.setitem(sys.modules, 'huggingface_hub', Hub)
  assert vision.load('facebook/vit-mae-base').dim == 16
  (patterns,) = asked.values()
  assert all('json' in x or x.endswith('.safetensors') for x in patterns)
  (folder / 'model.safetensors').unlink()  # As where there is a pickle alone.
  with pytest.raises(ValueError, match=r'vit-mae-base: it holds no \*\.safe'):
    vision.load('facebook/vit-mae-base')


@pytest.mark.parametrize(
  'tensor, module',
  [('conv_0.conv.kernel', mobilenet), ('layer1.0.conv1.weight', resnet)],
)
def test_a_file_is_known_by_its_tensors(tensor, module, tmp_path, monkeypatch):
  path = tmp_path / 'x.safetensors'
  safetensors.save_file({tensor: np.zeros(2, np.float32)}, path)
  monkeypatch.setattr(module, 'load', lambda path, layer: (path, layer))
  assert vision.load(path, layer=3) == (path, 3)


def test_frames_of_any_shape_are_made_to_fit(folder, image):
  path = folder / 'preprocessor_config.json'
  settings = json.loads(path.read_text())
  path.write_text(json.dumps(settings | {'size': {'shortest_edge': 20}}))
  model = vision.load(folder)
  wide = np.concatenate([image, image], axis=2)
  assert model.image_size == 32
  assert encode(model, wide).shape == (2, model.dim)


def change_weights(folder, change):
  path = folder / 'model.safetensors'
  flat = safetensors.load_file(path)
  change(flat)
  safetensors.save_file(flat, path)


def test_wrong_weights_are_named(folder):
  def change(flat):
    del flat['vit.layernorm.bias']
    flat['extra'] = np.zeros(3, np.float32)
    flat['vit.embeddings.cls_token'] = np.zeros((1, 1, 4), np.float32)

  change_weights(folder, change)
  with pytest.raises(ValueError) as error:
    vision.load(folder)
  message = str(error.value)
  assert 'model.safetensors' in message
  for part in (
    'vit.layernorm.bias is missing',
    'extra is not expected',
    'vit.embeddings.cls_token is [1, 1, 4], expected [16]',
  ):
    assert part in message


@pytest.mark.parametrize(
  'value, message',
  [
    (np.full(16, np.nan, np.float32), 'layernorm.bias has values that are not'),
    (np.zeros(16, np.int32), 'layernorm.bias is I32'),
  ],
)
def test_damaged_values_are_named(folder, value, message):
  change_weights(
    folder, lambda flat: flat.update({'vit.layernorm.bias': value})
  )
  with pytest.raises(ValueError, match=message):
    vision.load(folder)


@pytest.mark.parametrize('kept', [0, 4, 100, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, kept):
  weights = folder / 'model.safetensors'
  content = weights.read_bytes()
  kept = kept if isinstance(kept, int) else int(kept * len(content))
  weights.write_bytes(content[:kept])
  with pytest.raises(ValueError, match='not a whole safetensors'):
    vision.load(folder)


def test_a_missing_file_is_named(folder):
  (folder / 'model.safetensors').unlink()
  with pytest.raises(ValueError, match='model.safetensors: no such file'):
    vision.load(folder)
  (folder / 'config.json').unlink()
  with pytest.raises(ValueError, match='config.json: no such file'):
    vision.load(folder)


@pytest.mark.parametrize(
  'text, message',
  [
    ('[]', 'found a list, expected an object'),
    ('{"model', 'no JSON'),
    ('{}', "no 'model_type'"),
    ('{"model_type": "nothing"}', "'nothing' is no image model"),
  ],
)
def test_wrong_configs_are_named(folder, text, message):
  (folder / 'config.json').write_text(text)
  with pytest.raises(ValueError, match=message):
    vision.load(folder)


@pytest.mark.parametrize(
  'change, message',
  [
    ({'hidden_act': 'mish'}, "hidden_act is 'mish'"),
    ({'num_channels': 1}, 'num_channels=1'),
    ({'patch_size': [8, 4]}, 'patch_size is'),
    ({'hidden_size': 24}, r'expected \[24\]'),
  ],
)
def test_configs_that_do_not_fit_are_named(folder, change, message):
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(ValueError, match=message):
    vision.load(folder)


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'dtype': 'float16'}, 'dtype'),
    ({'image_size': 30}, 'multiple of the patch, 8'),
    ({'output': 'projected'}, "found 'projected', expected 'mean_patch'"),
    ({'output': 'grid3'}, 'grid3'),
  ],
)
def test_settings_that_do_not_fit_are_named(folder, settings, message):
  with pytest.raises(ValueError, match=message):
    vision.load(folder, **settings)
