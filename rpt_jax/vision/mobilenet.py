"""MobileNetV1 (Howard et al. 2017, table 1) with BatchNorm folded in.

Depthwise convolutions are nine shifted multiply-adds that XLA fuses with the
bias and relu6: on a CPU six times the speed of `lax.conv`. The pointwise ones
are products of flat pixels.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax import precision, target
from rpt_jax.types import Array, PyTree
from rpt_jax.vision import maps, weights
from rpt_jax.vision.model import VisionModel
from rpt_jax.vision.preprocessing import Preprocess

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (32, 64, 128, 128, 256, 256, *6 * (512,), 1024, 1024)
_exact = functools.partial(jnp.matmul, precision='highest')
PRODUCTS = {'float32': _exact, 'bfloat16': precision.matmul_bf16}


def shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes of all weights; kernels are HWIO."""
  weight_shapes = {
    'conv_0.conv.bias': (WIDTHS[0],),
    'conv_0.conv.kernel': (3, 3, 3, WIDTHS[0]),
  }
  for i, (width, wider) in enumerate(
    zip(WIDTHS[:-1], WIDTHS[1:], strict=True), 1
  ):
    weight_shapes |= {
      f'conv_{i}.depthwise.bias': (width,),
      f'conv_{i}.depthwise.kernel': (3, 3, 1, width),
      f'conv_{i}.pointwise.bias': (wider,),
      f'conv_{i}.pointwise.kernel': (1, 1, width, wider),
    }
  return weight_shapes


def features(
  params: PyTree, x_NHWC: Array, layer: int = -1, dtype: str = 'float32'
) -> Array:
  """Map after `conv_<layer>` (0 to 13; -1 the last) of frames in [-1, 1].

  The map has ceil(H / s) rows for a total stride s: 32 at the end. `dtype`
  is that of the operands of matrix products; all else is f32.
  """
  matmul = PRODUCTS[target.operands(dtype)]
  last = layer % len(WIDTHS)
  x_NHWC = _stem(params, x_NHWC)
  for i, stride in enumerate(STRIDES[:last], 1):
    x_NHWC = _separable(params, f'conv_{i}', x_NHWC, stride, matmul)
  return x_NHWC


def load(
  path: str | os.PathLike,
  *,
  output: str = 'mean_patch',
  image_size: int | None = None,
  layer: int = -1,
  dtype: str = target.BY_HARDWARE,
) -> VisionModel:
  """The network whose weights are the safetensors file at `path`.

  `output` as in `maps.readout`, of the map after `conv_<layer>`. Frames are
  resized to `image_size` squared, or taken as they are where it is None.
  Raises ValueError for unknown settings and for weights that do not fit.
  """
  target.operands(dtype)  # Refuses what is none.
  if not -1 <= layer < len(WIDTHS):
    raise ValueError(
      f'layer: found {layer}, expected -1 (the end) or 0 to {len(WIDTHS) - 1}'
    )
  if output == 'patches' and image_size is None:
    raise ValueError(
      "output: 'patches' has a fixed width only at a fixed size; set "
      "image_size, or use 'mean_patch' or 'grid<g>'"
    )

  def encode(params, x_NHWC):
    return maps.readout(features(params, x_NHWC, layer, dtype), output)

  def apply(params, x_NHWC):
    return maps.by_chunks(functools.partial(encode, params), x_NHWC)

  side = (image_size, image_size) if image_size else None
  preprocess = Preprocess(
    resize=side, mean=3 * (128 / 255,), std=3 * (128 / 255,)
  )
  tensors, expected = weights.open_tensors(path), shapes()
  weights.check(tensors, expected)
  params = {k: tensors[k].reshape(v) for k, v in expected.items()}
  size = image_size or 224
  frame = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  dim = jax.eval_shape(apply, params, frame).shape[-1]
  return VisionModel(str(path), apply, params, preprocess, dim, image_size)


def _stem(params, x_NHWC):
  """conv_0, a stride-2 convolution of 3 channels, as one product."""
  taps = jnp.concatenate(list(_shifts(x_NHWC, 2)), axis=-1)
  kernel, bias = params['conv_0.conv.kernel'], params['conv_0.conv.bias']
  return _dense(taps, kernel.reshape(-1, len(bias)), bias, _exact)


def _separable(params, name, x_NHWC, stride, matmul):
  kernel = params[f'{name}.depthwise.kernel'].reshape(9, 1, 1, 1, -1)
  taps = zip(_shifts(x_NHWC, stride), kernel, strict=True)
  x_NHWC = sum(tap * weight for tap, weight in taps)
  bias = params[f'{name}.depthwise.bias']
  x_NHWC = _relu6(x_NHWC + bias[None, None, None])
  kernel = params[f'{name}.pointwise.kernel'][0, 0]
  return _dense(x_NHWC, kernel, params[f'{name}.pointwise.bias'], matmul)


def _dense(x_NHWC, kernel, bias, matmul):
  """relu6(x @ kernel + bias) of every pixel."""
  flat = matmul(x_NHWC.reshape(-1, len(kernel)), kernel)
  return _relu6(flat + bias[None]).reshape(*x_NHWC.shape[:-1], -1)


def _shifts(x_NHWC, stride):
  """The nine inputs of a 3x3 kernel with SAME padding, row-major."""
  num, height, width, channels = x_NHWC.shape
  new = [-(-size // stride) for size in (height, width)]
  pads = [_same(size, stride) for size in (height, width)]
  x = jnp.pad(x_NHWC, ((0, 0), *pads, (0, 0)))
  span = [(size - 1) * stride + 1 for size in new]
  for i in range(3):
    for j in range(3):
      stop = (num, i + span[0], j + span[1], channels)
      yield lax.slice(x, (0, i, j, 0), stop, (1, stride, stride, 1))


def _same(size, stride):
  """TensorFlow's SAME padding (before, after) of a kernel of 3."""
  total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
  return total // 2, total - total // 2


def _relu6(x):
  return jnp.clip(x, 0.0, 6.0)
