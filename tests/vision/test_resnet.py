"""ResNets against transformers, at two resolutions and in two layouts."""

import json

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax.vision import preprocessing, resnet

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
SHAPES = {
  'basic': dict(layer_type='basic', hidden_sizes=[16, 32, 128, 256]),
  'bottleneck': dict(layer_type='bottleneck', hidden_sizes=[64, 64, 512, 520]),
}


def build(kind, head=False):
  """A small random ResNet of transformers, its BatchNorm not the identity."""
  torch.manual_seed(0)
  config = transformers.ResNetConfig(
    embedding_size=16, depths=[1, 2, 1, 2], num_labels=5, **SHAPES[kind]
  )
  cls = transformers.ResNetForImageClassification
  model = (cls if head else transformers.ResNetModel)(config).eval()
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(module.weight, 0.5, 1.5)
      torch.nn.init.normal_(module.bias, std=0.2)
      torch.nn.init.normal_(module.running_mean, std=0.2)
      torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
  return model


@pytest.fixture(scope='module', params=SHAPES)
def saved(request, tmp_path_factory):
  """(model of transformers, folder it is saved in)."""
  model = build(request.param)
  folder = tmp_path_factory.mktemp(request.param)
  model.save_pretrained(folder)
  return model, folder


def frames(size, num=2):
  rng = np.random.default_rng(0)
  return rng.normal(size=(num, size, size, 3)).astype(np.float32)


def theirs(model, image_NHWC):
  """(pooled [N, D], maps of all stages [N, h, w, D])."""
  with torch.no_grad():
    x = torch.tensor(image_NHWC).permute(0, 3, 1, 2)
    found = model(x, output_hidden_states=True)
  maps = [x.permute(0, 2, 3, 1).numpy() for x in found.hidden_states[1:]]
  return found.pooler_output.numpy()[..., 0, 0], maps


def apply(model, image_NHWC):
  return np.asarray(jax.jit(model.apply)(model.params, image_NHWC))


def assert_close(found, expected, relative):
  np.testing.assert_allclose(
    found, expected, rtol=0, atol=relative * np.abs(expected).max()
  )


@pytest.mark.parametrize('size', [64, 97])
def test_agrees_with_transformers(saved, size):
  model, folder = saved
  image = frames(size)
  pooled, maps = theirs(model, image)
  exact = resnet.load(folder, image_size=size, dtype='float32')
  assert exact.dim == pooled.shape[1] and exact.image_size == size
  assert_close(apply(exact, image), pooled, 1e-5)
  assert_close(apply(resnet.load(folder), image), pooled, 1e-2)
  for layer in range(4):
    ours = resnet.load(
      folder, output='patches', layer=layer, image_size=size, dtype='float32'
    )
    assert_close(apply(ours, image), maps[layer].reshape(2, -1), 1e-5)
  grid = resnet.load(folder, output='grid2', layer=1, dtype='float32')
  pool = torch.nn.functional.adaptive_avg_pool2d
  expected = pool(torch.tensor(maps[1]).permute(0, 3, 1, 2), 2)
  expected = expected.permute(0, 2, 3, 1).reshape(2, -1).numpy()
  assert_close(apply(grid, image), expected, 1e-5)


def test_a_classifier_gives_its_backbone(tmp_path):
  model = build('basic', head=True)
  model.save_pretrained(tmp_path)
  image = frames(64)
  ours = resnet.load(tmp_path, dtype='float32')
  assert_close(apply(ours, image), theirs(model.resnet, image)[0], 1e-5)


def torchvision_name(name):
  """The tensor's name in torchvision's ResNet."""
  for old, new in (
    ('embedder.embedder.convolution', 'conv1'),
    ('embedder.embedder.normalization', 'bn1'),
    ('shortcut.convolution', 'downsample.0'),
    ('shortcut.normalization', 'downsample.1'),
  ):
    name = name.replace(old, new)
  for i in range(4):
    name = name.replace(f'encoder.stages.{i}.layers', f'layer{i + 1}')
    name = name.replace(f'.layer.{i}.convolution', f'.conv{i + 1}')
    name = name.replace(f'.layer.{i}.normalization', f'.bn{i + 1}')
  return name


@pytest.mark.parametrize('prefix', ['', 'module.convnet.'])
def test_layout_of_torchvision_and_r3m(saved, tmp_path, prefix):
  model, _ = saved
  flat = {
    prefix + torchvision_name(name): x.numpy()
    for name, x in model.state_dict().items()
  }
  extra = 'module.lang_rew.x' if prefix else 'fc.weight'
  flat[extra] = np.zeros((5, 4), np.float32)
  safetensors.save_file(flat, tmp_path / 'model.safetensors')
  (tmp_path / 'config.json').write_text('{"model_type": "resnet"}')
  image = frames(64)
  for path in (tmp_path, tmp_path / 'model.safetensors'):
    ours = resnet.load(path, dtype='float32')
    assert ours.preprocess == resnet.TORCHVISION
    assert_close(apply(ours, image), theirs(model, image)[0], 1e-5)


def test_preprocessing_of_the_folder(saved, tmp_path):
  _, folder = saved
  model = resnet.load(folder)
  assert model.preprocess == preprocessing.PUBLISHED['resnet']
  assert model.image_size == 224
  small = resnet.load(folder, image_size=56).preprocess
  assert (small.resize, small.crop) == (64, 56)
  image = np.random.default_rng(0).integers(0, 256, (1, 40, 30, 3), np.uint8)
  assert small(image).shape == (1, 56, 56, 3)


@pytest.mark.parametrize(
  'depths, widths, bottleneck, count',
  [  # 18, 34 and 50 layers.
    ((2, 2, 2, 2), (64, 128, 256, 512), False, 11_689_512),
    ((3, 4, 6, 3), (64, 128, 256, 512), False, 21_797_672),
    ((3, 4, 6, 3), (256, 512, 1024, 2048), True, 25_557_032),
  ],
)
def test_published_sizes(depths, widths, bottleneck, count):
  model = resnet.ResNet(depths, widths, bottleneck)
  ours = sum(k * k * i * o + 2 * o for _, k, _, i, o in model.convs())
  assert ours + 1000 * (model.widths[-1] + 1) == count
  config = transformers.ResNetConfig(
    depths=model.depths,
    hidden_sizes=model.widths,
    layer_type='bottleneck' if model.bottleneck else 'basic',
  )
  with torch.device('meta'):
    reference = transformers.ResNetForImageClassification(config)
  state = reference.resnet.state_dict()
  expected = {k: tuple(x.shape) for k, x in state.items()}
  found = resnet.tensor_shapes(
    model, {x[0]: resnet._transformers('', x[0]) for x in model.convs()}
  )
  counters = [k for k in expected if k.endswith('num_batches_tracked')]
  assert found == {k: x for k, x in expected.items() if k not in counters}


def test_what_does_not_fit_is_named(saved, tmp_path):
  _, folder = saved
  for settings, match in (
    ({'layer': 4}, 'layer: found 4'),
    ({'dtype': 'float16'}, 'dtype'),
    ({'output': 'cls'}, "output: found 'cls'"),
    ({'output': 'grid9', 'image_size': 64}, 'the 2x2 map'),
  ):
    with pytest.raises(ValueError, match=match):
      resnet.load(folder, **settings)
  flat = safetensors.load_file(folder / 'model.safetensors')
  del flat['embedder.embedder.convolution.weight']
  flat['more'] = np.zeros(1, np.float32)
  safetensors.save_file(flat, tmp_path / 'model.safetensors')
  config = json.loads((folder / 'config.json').read_text())
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError) as error:
    resnet.load(tmp_path)
  assert 'convolution.weight is missing; more is not' in str(error.value)
  for field, value in (('hidden_act', 'gelu'), ('layer_type', 'wide')):
    changed = json.dumps({**config, field: value})
    (tmp_path / 'config.json').write_text(changed)
    with pytest.raises(ValueError, match=f'{field} is {value!r}'):
      resnet.load(tmp_path)
