"""MobileNetV1 against PyTorch's convolutions, on the real weights."""

import pathlib

import jax
import numpy as np
import pytest
from safetensors import numpy as safetensors

from rpt_jax.vision import mobilenet

DATA = pathlib.Path(__file__).parents[2].parent / 'shared' / 'data'
WEIGHTS = DATA / 'weights' / 'mobilenet_v1_1.0_224.safetensors'
needs_data = pytest.mark.skipif(not WEIGHTS.exists(), reason='no shared data')


def frames(episode, every=1):
  """RGB frames [T, 120, 160, 3] of a G1 episode."""
  av = pytest.importorskip('av')
  pattern = f'episode_{episode:06d}.mp4'
  (path,) = (DATA / 'g1_lerobot_v21' / 'videos').rglob(pattern)
  with av.open(path) as video:
    images = [x.to_ndarray(format='rgb24') for x in video.decode(video=0)]
  return np.stack(images)[::every]


def write(path, change=None):
  """Random weights of the right shapes that keep a signal, then `change`d."""
  rng = np.random.default_rng(0)
  flat = {}
  for name, shape in mobilenet.shapes().items():
    fan_in = np.prod(shape[:-1]) if name.endswith('kernel') else 800
    scale = (2 / fan_in) ** 0.5
    flat[name] = rng.normal(0, scale, shape).astype(np.float32)
  if change:
    change(flat)
  safetensors.save_file(flat, path)
  return path


def encode(model, image):
  return np.asarray(jax.jit(model.encode)(image))


def reference(params, image_NHWC):
  """The network by torch's convolutions, in f64."""
  torch = pytest.importorskip('torch')
  conv = torch.nn.functional.conv2d

  def layer(x, name, stride):
    kernel = torch.tensor(params[f'{name}.kernel']).double()
    kernel = kernel.permute(3, 2, 0, 1)
    groups = x.shape[1] if kernel.shape[1] == 1 and kernel.shape[2] == 3 else 1
    if kernel.shape[2] == 3:
      pads = []
      for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        pads += [total // 2, total - total // 2]
      x = torch.nn.functional.pad(x, pads)
    bias = torch.tensor(params[f'{name}.bias']).double()
    return conv(x, kernel, bias, stride, groups=groups).clamp(0, 6)

  x = torch.tensor(image_NHWC).permute(0, 3, 1, 2).double()
  x = layer((x - 128) / 128, 'conv_0.conv', 2)
  for i in range(1, 14):
    stride = 2 if i in (2, 4, 6, 12) else 1
    x = layer(x, f'conv_{i}.depthwise', stride)
    x = layer(x, f'conv_{i}.pointwise', 1)
  return x.mean((2, 3)).numpy()


@needs_data
def test_real_weights_agree_with_torch_on_real_frames():
  model = mobilenet.load(WEIGHTS, dtype='float32')
  sizes = [x.size for x in jax.tree.leaves(model.params)]
  assert len(sizes) == 54 and sum(sizes) == 3_196_032
  assert model.dim == 1024 and model.image_size is None
  image = frames(0, every=60)
  expected = reference(model.params, image)
  np.testing.assert_allclose(encode(model, image), expected, atol=1e-4)
  fast = encode(mobilenet.load(WEIGHTS), image)
  cosine = (fast * expected).sum(1)
  cosine /= np.linalg.norm(fast, axis=1) * np.linalg.norm(expected, axis=1)
  assert cosine.min() > 0.999
  odd = image[:, :95, :77]
  found = encode(model, odd)
  np.testing.assert_allclose(found, reference(model.params, odd), atol=1e-4)


@needs_data
def test_neighbours_are_alike_and_clips_differ():
  """Cosines of the data's README: .984, .839, made from all 60 episodes."""
  model = mobilenet.load(WEIGHTS)
  clips = [encode(model, frames(episode)[:72]) for episode in range(0, 60, 12)]
  clips = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in clips]
  near = np.mean([np.sum(x[1:] * x[:-1], axis=1).mean() for x in clips])
  pairs = [(i, j) for i in range(5) for j in range(i)]
  far = np.mean([(clips[i] @ clips[j].T).mean() for i, j in pairs])
  np.testing.assert_allclose(near, 0.984, atol=0.004)
  np.testing.assert_allclose(far, 0.839, atol=0.03)


def test_outputs_and_layers(tmp_path):
  path = write(tmp_path / 'x.safetensors')
  image = np.random.default_rng(1).integers(0, 256, (2, 70, 100, 3), np.uint8)
  for settings, dim in (
    ({'output': 'mean_patch', 'layer': 5}, 256),
    ({'output': 'grid2'}, 4 * 1024),
    ({'output': 'patches', 'image_size': 64}, 4 * 1024),
    ({'output': 'grid3', 'layer': 0}, 9 * 32),
  ):
    model = mobilenet.load(path, **settings)
    assert model.dim == dim
    assert encode(model, image).shape == (2, dim)
  for settings, match in (
    ({'layer': 14}, 'layer: found 14'),
    ({'dtype': 'float16'}, 'dtype'),
    ({'output': 'cls'}, "output: found 'cls'"),
    ({'output': 'patches'}, 'image_size'),
  ):
    with pytest.raises(ValueError, match=match):
      mobilenet.load(path, **settings)


def test_many_frames_are_each_their_own(tmp_path):
  model = mobilenet.load(write(tmp_path / 'x.safetensors'), dtype='float32')
  levels = np.arange(0, 247, 13, dtype=np.uint8)[:, None, None, None]
  image = np.broadcast_to(levels, (19, 32, 40, 3))
  found = encode(model, image)
  few = np.concatenate([encode(model, image[:8]), encode(model, image[14:])])
  same = found[[*range(8), *range(14, 19)]]
  np.testing.assert_allclose(same, few, atol=1e-6)
  assert (np.abs(np.diff(found, axis=0)).max(axis=1) > 1e-4).all()


def test_wrong_weights_are_named(tmp_path):
  def change(flat):
    del flat['conv_3.depthwise.bias']
    flat['extra'] = np.zeros(2, np.float32)
    flat['conv_13.pointwise.bias'] = np.zeros(1000, np.float32)

  path = write(tmp_path / 'x.safetensors', change)
  with pytest.raises(ValueError) as error:
    mobilenet.load(path)
  for part in (
    'x.safetensors',
    'conv_3.depthwise.bias is missing',
    'extra is not expected',
    'conv_13.pointwise.bias is [1000], expected [1024]',
  ):
    assert part in str(error.value)
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.raises(ValueError, match='not a whole safetensors'):
    mobilenet.load(path)
  with pytest.raises(ValueError, match='y.safetensors: no such file'):
    mobilenet.load(tmp_path / 'y.safetensors')
