"""Published families against transformers: same file, same frames, same out.

Each model is small, random, built and saved by transformers, then read here.
"""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

import families  # noqa: E402

from rpt_jax import vision  # noqa: E402
from rpt_jax.vision import weights  # noqa: E402
from rpt_jax.vision.families import (  # noqa: E402
  clip,
  dinov2,
  siglip,
  vit,
  vit_mae,
)
from rpt_jax.vision.pretraining import mae  # noqa: E402

DATA = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data'
# Name: (output that transformers calls pooler_output, tokens before patches).
MODELS = {
  'vit': (None, 1),
  'vit_classifier': (None, 1),
  'clip': ('pooled', 1),
  'clip_vision': ('pooled', 1),
  'clip_vision_projected': ('pooled', 1),
  'dinov2': ('cls', 1),
  'dinov2_swiglu': ('pooled', 1),
  'dinov2_with_registers': ('pooled', 5),
  'siglip': ('pooled', 0),
  'siglip_vision': ('pooled', 0),
  'siglip2': ('pooled', 0),
  'vit_mae': (None, 1),
  'vit_mae_encoder': (None, 1),
}


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """name -> (model, folder), each built once."""

  @functools.cache
  def make(name):
    model = families.build(name)
    folder = tmp_path_factory.mktemp(name)
    return model, families.save(model, folder)

  return make


@pytest.fixture(scope='module')
def frames():
  """Two frames of a real robot, uint8 [2, 128, 128, 3]."""
  path = DATA / 'robot_video' / 'task_lift_real.gif'
  if not path.exists():
    pytest.skip(f'{path} is absent')
  from PIL import Image

  film = Image.open(path)
  found = []
  for i in (10, 90):
    film.seek(i)
    found.append(np.asarray(film.convert('RGB')))
  return np.stack(found)


def theirs(model, x_NHWC):
  """Outputs of transformers for preprocessed frames."""
  core = getattr(model, 'vit', None) or getattr(model, 'vision_model', model)
  core = getattr(core, 'vision_model', core)
  kind = core.config.model_type
  x = torch.from_numpy(np.array(x_NHWC).transpose(0, 3, 1, 2).copy())
  settings = {} if 'dino' in kind else {'interpolate_pos_encoding': True}
  side = x.shape[-1] // 8
  if kind == 'vit_mae':
    core.config.mask_ratio = 0.0
    settings['noise'] = torch.arange(side**2).float().repeat(len(x), 1)
  if kind == 'siglip2_vision_model':
    x = x.reshape(len(x), 3, side, 8, side, 8).permute(0, 2, 4, 3, 5, 1)
    x = x.reshape(len(x), side**2, -1)
    settings = {
      'pixel_attention_mask': torch.ones(len(x), side**2),
      'spatial_shapes': torch.full((len(x), 2), side),
    }
  with torch.no_grad():
    return core(x, output_hidden_states=True, **settings)


def ours(folder, frames, **settings):
  """(latent of uint8 frames as [N, dim], preprocessed frames)."""
  model = vision.load(folder, **settings)
  latent = np.asarray(jax.jit(model.encode)(frames))
  assert latent.shape == (len(frames), model.dim)
  return latent, model.preprocess(frames)


@pytest.mark.parametrize('size', [48, 24])
@pytest.mark.parametrize('name', MODELS)
def test_tokens_agree(name, size, saved, frames):
  model, folder = saved(name)
  prefix = MODELS[name][1]
  settings = {'image_size': size, 'dtype': 'float32'}
  found, x = ours(folder, frames, output='patches', **settings)
  assert x.shape == (2, size, size, 3)
  expected = theirs(model, x).last_hidden_state.numpy()
  patches = expected[:, prefix:]
  assert patches.shape[1] == (size // 8) ** 2
  np.testing.assert_allclose(found, patches.reshape(2, -1), atol=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_summaries_agree_and_bfloat16_is_near(name, saved, frames):
  model, folder = saved(name)
  output = MODELS[name][0] or 'cls'
  found, x = ours(folder, frames, output=output, dtype='float32')
  out = theirs(model, x)
  expected = out.last_hidden_state[:, 0]
  if MODELS[name][0]:
    expected = out.pooler_output
  np.testing.assert_allclose(found, expected, atol=1e-5)
  near, _ = ours(folder, frames, output=output, dtype='bfloat16')
  error = np.linalg.norm(near - found) / np.linalg.norm(found)
  assert 0 < error < 1e-2
  if output != 'cls':
    return
  found, _ = ours(folder, frames, dtype='float32')
  expected = out.last_hidden_state[:, MODELS[name][1] :].mean(1)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('name', ['clip', 'clip_vision_projected'])
def test_projections_agree(name, saved, frames):
  model, folder = saved(name)
  found, x = ours(folder, frames, output='projected', dtype='float32')
  with torch.no_grad():
    expected = model.visual_projection(theirs(model, x).pooler_output)
  assert found.shape == (2, 24)
  np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize('name', ['vit', 'clip', 'dinov2', 'siglip'])
@pytest.mark.parametrize('layer', [0, 1])
def test_layers_agree(name, layer, saved, frames):
  model, folder = saved(name)
  settings = {'layer': layer, 'dtype': 'float32', 'output': 'patches'}
  found, x = ours(folder, frames, **settings)
  expected = theirs(model, x).hidden_states[layer + 1].numpy()
  expected = expected[:, MODELS[name][1] :].reshape(2, -1)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  depth = vision.load(folder, layer=layer).params['transformer']['blocks']
  assert len(depth['norm_mlp']['scale']) == layer + 1


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_half_precision_files_are_widened(dtype, saved, frames, tmp_path):
  _, folder = saved('vit')
  model = families.build('vit').to(getattr(torch, dtype))
  found, x = ours(families.save(model, tmp_path), frames, dtype='float32')
  expected = theirs(model.float(), x).last_hidden_state[:, 1:].mean(1)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert (found != ours(folder, frames, dtype='float32')[0]).any()


def test_sharded_files_are_one_model(saved, frames, tmp_path):
  model, folder = saved('dinov2')
  families.save(model, tmp_path, max_shard_size='20KB')
  assert len(list(tmp_path.glob('*.safetensors'))) > 2
  expected, _ = ours(folder, frames)
  np.testing.assert_array_equal(ours(tmp_path, frames)[0], expected)
  next(tmp_path.glob('model-00002*')).unlink()
  with pytest.raises(ValueError, match='model-00002.*no such file'):
    vision.load(tmp_path)


def test_the_size_is_that_of_the_preprocessor(saved, frames, tmp_path):
  model, _ = saved('dinov2')
  folder = families.save(model, tmp_path)
  path = folder / 'preprocessor_config.json'
  size = {'height': 24, 'width': 24}
  path.write_text(json.dumps(families.PREPROCESSOR | {'size': size}))
  assert vision.load(folder).image_size == 24
  assert vision.load(folder, image_size=48).image_size == 48


def test_clip_without_the_type_of_its_processor(frames, tmp_path):
  import transformers

  model = families.build('clip_vision')
  model.save_pretrained(tmp_path)
  sizes = {'shortest_edge': 32}, {'height': 32, 'width': 32}
  processor = transformers.CLIPImageProcessor(size=sizes[0], crop_size=sizes[1])
  processor.save_pretrained(tmp_path)
  path = tmp_path / 'preprocessor_config.json'
  config = json.loads(path.read_text())
  assert config.pop('image_processor_type') == 'CLIPImageProcessor'
  path.write_text(json.dumps(config))
  latent, x = ours(tmp_path, frames, output='pooled', dtype='float32')
  expected = processor(list(frames), return_tensors='np')['pixel_values']
  np.testing.assert_allclose(x, np.moveaxis(expected, 1, -1), atol=1e-5)
  expected = theirs(model, x).pooler_output
  np.testing.assert_allclose(latent, expected, atol=1e-5)


@pytest.mark.parametrize('name', ['vit', 'clip', 'siglip', 'dinov2'])
def test_a_missing_tensor_is_named(name, saved, tmp_path):
  from safetensors import numpy as safetensors

  model, _ = saved(name)
  families.save(model, tmp_path)
  flat = safetensors.load_file(tmp_path / 'model.safetensors')
  vital = [k for k in flat if 'text' not in k and '.1.' in k]
  assert len(vital) >= 16
  del flat[vital[0]]
  flat[vital[1]] = flat[vital[1]][:-1].copy()
  flat['odd.weight'] = np.ones(2, np.float32)
  safetensors.save_file(flat, tmp_path / 'model.safetensors')
  with pytest.raises(ValueError) as error:
    vision.load(tmp_path)
  for part in (
    f'{vital[0]} is missing',
    f'{vital[1]} is [',
    'odd.weight is not expected',
  ):
    assert part in str(error.value)


@pytest.mark.parametrize(
  'name, family',
  [
    ('ViT', vit.FAMILY),
    ('ViTMAE', vit_mae.FAMILY),
    ('CLIP', clip.FAMILY),
    ('CLIPVision', clip.FAMILY),
    ('CLIP', clip.TEXT),
    ('CLIPText', clip.TEXT),
    ('Dinov2', dinov2.FAMILY),
    ('Dinov2WithRegisters', dinov2.WITH_REGISTERS),
    ('Siglip', siglip.FAMILY),
    ('SiglipVision', siglip.FAMILY),
    ('Siglip2', siglip.NAFLEX),
    ('Siglip', siglip.TEXT),
  ],
)
def test_absent_fields_are_what_transformers_takes(name, family):
  """Published config.json often hold only what differs from defaults."""
  import transformers

  config = getattr(transformers, f'{name}Config')().to_dict()
  short = {'model_type': config['model_type']}
  for part in ('vision_config', 'text_config'):
    if part in config:
      short[part] = {'model_type': config[part]['model_type']}
  tensors = weights.Tensors(None, {'visual_projection.weight': ()}, {})
  expected = family.encoder(config, tensors)
  assert family.encoder(short, tensors) == expected


def test_our_autoencoder_is_one_of_transformers(frames, tmp_path):
  import transformers

  model = mae.Autoencoder(32, 8, 16, 2, 2, 3.0, 24, 1)
  params = jax.device_get(model.init(jax.random.key(0)))
  mae.save(model, params, tmp_path)
  peer, found = transformers.ViTMAEForPreTraining.from_pretrained(
    tmp_path, output_loading_info=True
  )
  assert not any(found.values()), found
  image = frames[:, 40:72, 40:72]
  masking = model.mask(jax.random.key(1), 2)
  x = np.float32(image / 127.5 - 1)
  noise = np.asarray(masking.restore) / 16
  with torch.no_grad():
    out = peer(
      torch.from_numpy(x.transpose(0, 3, 1, 2).copy()),
      noise=torch.from_numpy(noise),
    )
  np.testing.assert_array_equal(out.mask, masking.removed)
  found = jax.jit(model.predict)(params, x, masking)
  np.testing.assert_allclose(found, out.logits, atol=3e-2)
  assert np.abs(out.logits.numpy()).max() > 0.3
