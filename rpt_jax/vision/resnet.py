"""ResNet-18/34/50 (He et al. 2015), the backbone of R3M (Nair et al. 2022).

Strides are in the 3x3 convolution of a bottleneck ('v1.5'). BatchNorm is the
one of inference, folded into kernel and bias when weights are read.
"""

import dataclasses
import functools
import os
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import lax

from rpt_jax import precision, target
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import maps, preprocessing, weights
from rpt_jax.vision.model import VisionModel, build
from rpt_jax.vision.preprocessing import Preprocess

R3M_PREFIXES = ('module.convnet.', 'convnet.')
TORCHVISION = Preprocess(256, 224, 'bilinear', *preprocessing.IMAGENET)
_EPSILON = 1e-5
_NORM = ('weight', 'bias', 'running_mean', 'running_var')
# Counters of BatchNorm, classifiers, and the language half of R3M.
_IGNORED = re.compile(
  r'.*num_batches_tracked|(.*\.)?fc\..*|classifier\..*|(module\.)?lang_.*'
)
_WIDE = 128  # Channels from which nine products beat a convolution on CPU.


@dataclasses.dataclass(frozen=True)
class ResNet:
  """Shapes of a ResNet: blocks and width of each of its stages."""

  depths: tuple[int, ...]
  widths: tuple[int, ...]
  bottleneck: bool
  stem: int = 64

  def convs(self):
    """(name, kernel size, stride, in, out) of every convolution."""
    yield 'stem', 7, 2, 3, self.stem
    width = self.stem
    for stage, (depth, wider) in enumerate(
      zip(self.depths, self.widths, strict=True)
    ):
      for block in range(depth):
        stride = 2 if stage and not block else 1
        yield from self._block(f'{stage}.{block}', stride, width, wider)
        width = wider

  def _block(self, name, stride, width, wider):
    if self.bottleneck:
      inner = wider // 4
      yield f'{name}.0', 1, 1, width, inner
      yield f'{name}.1', 3, stride, inner, inner
      yield f'{name}.2', 1, 1, inner, wider
    else:
      yield f'{name}.0', 3, stride, width, wider
      yield f'{name}.1', 3, 1, wider, wider
    if stride > 1 or width != wider:
      yield f'{name}.shortcut', 1, stride, width, wider


def features(
  model: ResNet,
  params: PyTree,
  image_NHWC: Array,
  stage: int = -1,
  dtype: str = 'float32',
) -> Array:
  """Map after a stage (0 to 3; -1 the last) of normalised frames.

  `params` is {name: {'kernel': HWIO, 'bias'}}. `dtype` is that of the
  operands of convolutions; sums and all else are f32.
  """
  conv = functools.partial(_conv, dtype=target.operands(dtype))
  x_NHWC = jax.nn.relu(conv(params['stem'], image_NHWC, 2))
  x_NHWC = _max_pool(x_NHWC)
  for index in range(stage % len(model.depths) + 1):
    for block in range(model.depths[index]):
      stride = 2 if index and not block else 1
      x_NHWC = _block(model, params, f'{index}.{block}', x_NHWC, stride, conv)
  return x_NHWC


def _block(model, params, name, x_NHWC, stride, conv):
  skip = x_NHWC
  if f'{name}.shortcut' in params:
    skip = conv(params[f'{name}.shortcut'], x_NHWC, stride)
  strides = (1, stride, 1) if model.bottleneck else (stride, 1)
  for i, step in enumerate(strides):
    x_NHWC = conv(params[f'{name}.{i}'], x_NHWC, step)
    if i < len(strides) - 1:
      x_NHWC = jax.nn.relu(x_NHWC)
  return jax.nn.relu(x_NHWC + skip)


def _conv(param, x_NHWC, stride, dtype):
  """Convolution with a bias and k // 2 zeros on each side."""
  kernel, bias = param['kernel'], param['bias']
  size, _, width, _ = kernel.shape
  if size == 1:
    y_NHWC = _product(x_NHWC[:, ::stride, ::stride], kernel[0, 0], dtype)
  elif (
    dtype == 'bfloat16'
    and width >= _WIDE
    and target.platform() == 'cpu'  # XLA has no bf16 convolution there.
  ):
    matrices = kernel.reshape(-1, *kernel.shape[2:])
    taps = zip(_shifts(x_NHWC, size, stride), matrices, strict=True)
    y_NHWC = sum(_product(tap, matrix, dtype) for tap, matrix in taps)
  else:
    # At the default precision TPUs round operands to bf16, GPUs to tf32.
    y_NHWC = lax.conv_general_dilated(
      x_NHWC,
      kernel,
      (stride, stride),
      2 * ((size // 2, size // 2),),
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
      precision='highest' if dtype == 'float32' else 'default',
    )
  return y_NHWC + bias[None, None, None]


def _product(x_NHWC, matrix, dtype):
  """Pixels times a matrix, as one product of flat pixels."""
  flat = x_NHWC.reshape(-1, matrix.shape[0])
  if dtype == 'bfloat16':
    flat = precision.matmul_bf16(flat, matrix)
  else:
    flat = jnp.matmul(flat, matrix, precision='highest')
  return flat.reshape(*x_NHWC.shape[:-1], -1)


def _shifts(x_NHWC, size, stride):
  """What each tap of a `size` x `size` kernel sees, row-major."""
  num, height, width, channels = x_NHWC.shape
  pad = size // 2
  x = jnp.pad(x_NHWC, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  rows, columns = ((n - 1) // stride * stride + 1 for n in (height, width))
  for i in range(size):
    for j in range(size):
      stop = (num, i + rows, j + columns, channels)
      yield lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1))


def _max_pool(x_NHWC):
  """3x3, stride 2, one place of padding."""
  pads = ((0, 0), (1, 1), (1, 1), (0, 0))
  return lax.reduce_window(
    x_NHWC, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), pads
  )


def load(
  path: str | os.PathLike,
  *,
  output: str = 'mean_patch',
  layer: int = -1,
  image_size: int | None = None,
  dtype: str = target.BY_HARDWARE,
) -> VisionModel:
  """A ResNet from a folder (or safetensors file) of weights.

  Names are those of transformers, with the shapes its config.json gives, or
  of torchvision and R3M, with the shapes the tensors have. `output` as in
  `maps.readout` ('mean_patch' is the pooled one), of stage `layer`.

  Raises ValueError for unknown settings and for weights that do not fit.
  """
  path = pathlib.Path(path)
  target.operands(dtype)  # Refuses what is none.
  tensors = weights.open_tensors(path)
  model, names, default = _recognise(path, tensors)
  if not -1 <= layer < len(model.depths):
    raise ValueError(
      f'layer: found {layer}, expected -1 (the end) or a stage from 0 to '
      f'{len(model.depths) - 1}'
    )
  params = _read(tensors, model, names)

  def encode(params, x_NHWC):
    return maps.readout(features(model, params, x_NHWC, layer, dtype), output)

  def apply(params, x_NHWC):
    return maps.by_chunks(functools.partial(encode, params), x_NHWC)

  if any((path / name).exists() for name in preprocessing.CONFIGS):
    default = Preprocess.from_config(path)
  preprocess = default.at(image_size or default.size or 224)
  return build(str(path), apply, params, preprocess, preprocess.size)


def _recognise(path, tensors):
  """(model, our names to (kernel, norm) on disk, usual preprocessing)."""
  shapes = tensors.shapes
  for prefix in ('', *R3M_PREFIXES):
    if f'{prefix}conv1.weight' in shapes:
      model = _from_shapes(shapes, prefix)
      names = {x[0]: _torchvision(prefix, x[0]) for x in model.convs()}
      return model, names, TORCHVISION
  model = _from_config(path, tensors)
  prefix = 'resnet.' if 'classifier.1.weight' in shapes else ''
  names = {x[0]: _transformers(prefix, x[0]) for x in model.convs()}
  return model, names, preprocessing.PUBLISHED['resnet']


def _from_shapes(shapes, prefix):
  """The ResNet of tensors in torchvision's names."""
  last = 3 if f'{prefix}layer1.0.conv3.weight' in shapes else 2
  depths, widths = [], []
  for stage in range(1, 5):
    kernel = f'{prefix}layer{stage}.{{}}.conv{last}.weight'
    depth = 0
    while kernel.format(depth) in shapes:
      depth += 1
    depths.append(max(depth, 1))
    widths.append((shapes.get(kernel.format(0)) or (64 * 2**stage,))[0])
  stem = shapes[f'{prefix}conv1.weight'][0]
  return ResNet(tuple(depths), tuple(widths), last == 3, stem)


def _from_config(path, tensors):
  """The ResNet of a transformers folder."""
  path = path if path.is_dir() else path.parent
  config, where = weights.read_config(path), path / weights.CONFIG
  depths, widths, kind, stem = weights.require(
    config, where, 'depths', 'hidden_sizes', 'layer_type', 'embedding_size'
  )
  weights.check_depth(tensors, depths, 'depths')
  for field, expected in (
    ('model_type', 'resnet'),
    ('hidden_act', 'relu'),
    ('num_channels', 3),
    ('downsample_in_first_stage', False),
    ('downsample_in_bottleneck', False),
  ):
    value = config.get(field, expected)
    if value != expected:
      raise ValueError(f'{where}: {field} is {value!r}, only {expected!r} runs')
  if kind not in ('basic', 'bottleneck'):
    raise ValueError(
      f"{where}: layer_type is {kind!r}, expected 'basic' or 'bottleneck'"
    )
  return ResNet(tuple(depths), tuple(widths), kind == 'bottleneck', stem)


def _transformers(prefix, name):
  if name == 'stem':
    base = f'{prefix}embedder.embedder'
  else:
    stage, block, conv = name.split('.')
    part = conv if conv == 'shortcut' else f'layer.{conv}'
    base = f'{prefix}encoder.stages.{stage}.layers.{block}.{part}'
  return f'{base}.convolution.weight', f'{base}.normalization'


def _torchvision(prefix, name):
  if name == 'stem':
    return f'{prefix}conv1.weight', f'{prefix}bn1'
  stage, block, conv = name.split('.')
  base = f'{prefix}layer{int(stage) + 1}.{block}'
  if conv == 'shortcut':
    return f'{base}.downsample.0.weight', f'{base}.downsample.1'
  return f'{base}.conv{int(conv) + 1}.weight', f'{base}.bn{int(conv) + 1}'


def tensor_shapes(model: ResNet, names: dict) -> dict[str, tuple[int, ...]]:
  """{name on disk: shape} that weights in the layout of `names` must have."""
  expected = {}
  for name, size, _, width, wider in model.convs():
    kernel, norm = names[name]
    expected[kernel] = (wider, width, size, size)
    expected |= {f'{norm}.{part}': (wider,) for part in _NORM}
  return expected


def _read(tensors, model, names):
  """Parameters with BatchNorm folded in; strict, as `weights.check`."""
  expected = tensor_shapes(model, names)
  weights.check(tensors, expected, _IGNORED.fullmatch)
  params = {}
  for name, (kernel, norm) in names.items():
    weight, bias, mean, variance = (
      tensors[f'{norm}.{part}'].astype(np.float64) for part in _NORM
    )
    scale = weight / np.sqrt(variance + _EPSILON)
    kernel = tensors[kernel].reshape(expected[kernel])
    kernel = rearrange(kernel, 'o i h w -> h w i o')
    params[name] = {
      'kernel': jnp.asarray(kernel * scale, jnp.float32),
      'bias': jnp.asarray(bias - mean * scale, jnp.float32),
    }
  return params
