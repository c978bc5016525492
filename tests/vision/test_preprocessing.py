"""Preprocessing against Pillow and transformers, on photographs."""

import json
import pathlib

import jax
import numpy as np
import PIL
import pytest
from PIL import Image

from rpt_jax.vision import preprocessing
from rpt_jax.vision.preprocessing import Preprocess

DATA = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data'
SIZES = ((224, 224), (96, 128), (61, 333), (300, 70), (120, 161))
ROBOT, HUMAN = 'g1_lerobot_v21/videos', 'human_video'


@pytest.fixture(scope='module')
def frames():
  """{'robot': u8 [2, 120, 160, 3], 'human': u8 [1, 720, 1280, 3]}."""
  av = pytest.importorskip('av')
  found = {}
  for name, folder, num in (('robot', ROBOT, 2), ('human', HUMAN, 1)):
    paths = sorted((DATA / folder).rglob('*.mp4'))
    if not paths:
      pytest.skip('no shared data')
    with av.open(paths[0]) as video:
      images = video.decode(video=0)
      found[name] = np.stack(
        [next(images).to_ndarray(format='rgb24') for _ in range(num)]
      )
  return found


@pytest.mark.parametrize('interpolation', preprocessing.INTERPOLATIONS)
@pytest.mark.parametrize('name', ['robot', 'human'])
def test_resize_is_pillow_to_the_level(frames, name, interpolation):
  image = frames[name]
  number = preprocessing.INTERPOLATIONS.index(interpolation)
  old = int(PIL.__version__.split('.')[0]) < 13
  for size in SIZES:
    wider_and_lower = size[0] < image.shape[1] and size[1] > image.shape[2]
    if old and wider_and_lower:
      continue
    found = preprocessing.resize(image, size, interpolation)
    expected = [
      np.asarray(Image.fromarray(x).resize(size[::-1], number)) for x in image
    ]
    np.testing.assert_array_equal(found, np.stack(expected), str(size))


def test_resize_under_jit_of_extreme_levels():
  image = np.zeros((1, 40, 40, 3), np.uint8)
  image[:, 10:30, 10:30] = 255
  resize = jax.jit(preprocessing.resize, static_argnums=(1, 2))
  for size in ((300, 300), (7, 7)):
    found = resize(image, size, 'lanczos')
    expected = Image.fromarray(image[0]).resize(size, Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(found[0], expected)


def test_what_cannot_be_resized_is_named():
  with pytest.raises(ValueError, match=r'found float32\[1, 4, 4, 3\]'):
    preprocessing.resize(np.zeros((1, 4, 4, 3), np.float32), (2, 2))
  with pytest.raises(ValueError, match="'area'"):
    preprocessing.resize(np.zeros((1, 4, 4, 3), np.uint8), (2, 2), 'area')
  with pytest.raises(ValueError, match='crop: frames are 4x4'):
    Preprocess(crop=5)(np.zeros((1, 4, 4, 3), np.uint8))


IMAGENET = dict(
  image_mean=preprocessing.IMAGENET[0], image_std=preprocessing.IMAGENET[1]
)
PROCESSORS = {
  'vit': ('ViT', {}),
  'vit small': ('ViT', {'size': {'height': 48, 'width': 40}, **IMAGENET}),
  'clip': ('CLIP', {}),
  'dinov2': ('Bit', {'size': {'shortest_edge': 256}, **IMAGENET}),
  'siglip': ('Siglip', {'size': {'height': 96, 'width': 96}}),
  'resnet': ('ConvNext', {'size': {'shortest_edge': 224}, **IMAGENET}),
  'convnext': ('ConvNext', {}),
  'crop_pct': (
    'ConvNext',
    {'size': {'shortest_edge': 96}, 'crop_pct': 0.9, 'resample': 2},
  ),
  'raw': ('ViT', {'do_normalize': False, 'do_resize': False}),
  'levels': ('CLIP', {'do_rescale': False, 'do_center_crop': False}),
}


def processor(name, settings):
  transformers = pytest.importorskip('transformers')
  module = getattr(transformers.models, name.lower())
  return getattr(module, f'{name}ImageProcessorPil')(**settings)


@pytest.mark.parametrize('kind', PROCESSORS)
@pytest.mark.parametrize('name', ['robot', 'human'])
def test_agrees_with_transformers(tmp_path, frames, kind, name):
  theirs = processor(*PROCESSORS[kind])
  theirs.save_pretrained(tmp_path)
  ours = Preprocess.from_config(tmp_path)
  expected = theirs([*frames[name]], return_tensors='np')['pixel_values']
  found = jax.jit(ours.__call__)(frames[name])
  assert found.dtype == np.float32
  scale = 1 if ours.scale < 1 else 255
  np.testing.assert_allclose(
    found, np.moveaxis(expected, 1, -1), rtol=1e-6, atol=2e-6 * scale
  )


def write(folder, file='preprocessor_config.json', **config):
  (folder / file).write_text(json.dumps(config))


def test_old_configs_and_processors_of_text_and_images(tmp_path):
  write(tmp_path, feature_extractor_type='ViTFeatureExtractor', size=32)
  expected = Preprocess((32, 32), None, 'bilinear')
  assert Preprocess.from_config(tmp_path) == expected
  write(
    tmp_path, image_processor_type='CLIPFeatureExtractor', size=32, crop_size=24
  )
  expected = Preprocess(32, 24, 'bicubic', *preprocessing.CLIP)
  assert Preprocess.from_config(tmp_path) == expected
  (tmp_path / 'preprocessor_config.json').unlink()
  inner = {'image_processor_type': 'SiglipImageProcessorFast', 'resample': 1}
  write(tmp_path, 'processor_config.json', image_processor=inner)
  expected = Preprocess((224, 224), None, 'lanczos')
  assert Preprocess.from_config(tmp_path) == expected


def test_a_processor_without_a_name_is_that_of_the_model(tmp_path):
  write(tmp_path, 'config.json', model_type='clip')
  write(tmp_path, size={'shortest_edge': 32}, crop_size=24)
  expected = Preprocess(32, 24, 'bicubic', *preprocessing.CLIP)
  assert Preprocess.from_config(tmp_path) == expected
  write(tmp_path, 'config.json', model_type='nobody')
  with pytest.raises(ValueError, match='image processor None'):
    Preprocess.from_config(tmp_path)


def test_without_a_file_what_is_published(tmp_path):
  config = {'model_type': 'clip', 'vision_config': {'image_size': 32}}
  write(tmp_path, 'config.json', **config)
  expected = Preprocess(32, 32, 'bicubic', *preprocessing.CLIP)
  assert Preprocess.from_config(tmp_path) == expected
  write(tmp_path, 'config.json', model_type='dinov2', image_size=518)
  found = Preprocess.from_config(tmp_path, image_size=112)
  assert (found.resize, found.crop) == (128, 112)
  write(tmp_path, 'config.json', model_type='vit')
  assert Preprocess.from_config(tmp_path, 64).resize == (64, 64)


def test_configs_that_are_not_understood(tmp_path):
  for config, match in (
    ({'image_processor_type': 'Siglip2ImageProcessor'}, 'Siglip2'),
    ({}, 'image processor None'),
    ({'image_processor_type': 'ViTImageProcessor', 'size': {'max': 3}}, 'size'),
    ({'image_processor_type': 'ViTImageProcessor', 'resample': 9}, 'resample'),
  ):
    write(tmp_path, **config)
    with pytest.raises(ValueError, match=match):
      Preprocess.from_config(tmp_path)
  (tmp_path / 'preprocessor_config.json').write_text('{')
  with pytest.raises(ValueError, match='preprocessor_config.json: no JSON'):
    Preprocess.from_config(tmp_path)
  (tmp_path / 'preprocessor_config.json').unlink()
  with pytest.raises(ValueError, match='config.json: no such file'):
    Preprocess.from_config(tmp_path)
  write(tmp_path, 'config.json', model_type='unheard')
  with pytest.raises(ValueError, match="'unheard' has no known"):
    Preprocess.from_config(tmp_path)
