"""Images a second of ViT-S/16 and ViT-B/16 at 224 px, against transformers.

Random weights, preprocessed frames, 16 of them on a CPU and 256 on a GPU. The
peer is the same network in PyTorch (SDPA attention, as transformers chooses):
in f32 on a CPU, compiled and all in bf16 on a GPU. Calls are interleaved and
medians compared, so that a busy machine slows both.
"""

import statistics
import time

import jax
import numpy as np

from rpt_jax.training import memory
from rpt_jax.vision import vit

ROUNDS = 5
SIZES = {'ViT-S/16': (384, 6), 'ViT-B/16': (768, 12)}
TARGETS = {('ViT-B/16', 'bfloat16'): 1.6}


def run() -> list[dict]:
  """Images a second, ours and the peer's; above 1: ours is faster."""
  memory.keep_freed_memory()
  shape = (256 if jax.default_backend() == 'gpu' else 16, 224, 224, 3)
  x_NHWC = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  return [row for name in SIZES for row in _rows(name, x_NHWC)]


def _rows(name, x_NHWC):
  calls = {
    'bfloat16': _ours(*SIZES[name], 'bfloat16', x_NHWC),
    'float32': _ours(*SIZES[name], 'float32', x_NHWC),
    'peer': _peer(*SIZES[name], x_NHWC),
  }
  seconds = {kind: [] for kind in calls}
  for call in calls.values():
    call()  # Compile, allocate.
    call()
  for _ in range(ROUNDS):
    for kind, call in calls.items():
      began = time.perf_counter()
      call()
      seconds[kind].append(time.perf_counter() - began)
  rate = {k: len(x_NHWC) / statistics.median(row) for k, row in seconds.items()}
  for dtype in ('bfloat16', 'float32'):
    yield {
      'name': f'encode {name} 224 px, images/s, {dtype}',
      'ours': rate[dtype],
      'peer': rate['peer'],
      'ratio': rate[dtype] / rate['peer'],
      'target': TARGETS.get((name, dtype)),
    }


def _ours(width, num_heads, dtype, x_NHWC):
  encoder = vit.Encoder(
    224, 16, width, 12, num_heads, dtype=dtype, learned_positions=True
  )
  params = jax.jit(encoder.init)(jax.random.key(0), x_NHWC[:1])
  x_NHWC = jax.device_put(x_NHWC)
  apply = jax.jit(lambda params, x: encoder.apply(params, x).tokens)
  return lambda: jax.block_until_ready(apply(params, x_NHWC))


def _peer(width, num_heads, x_NHWC):
  import torch
  import transformers

  config = transformers.ViTConfig(
    hidden_size=width,
    num_attention_heads=num_heads,
    intermediate_size=4 * width,
  )
  model = transformers.ViTModel(config, add_pooling_layer=False).eval()
  x = torch.from_numpy(x_NHWC.transpose(0, 3, 1, 2).copy())
  on_gpu = jax.default_backend() == 'gpu'
  if on_gpu:
    model, x = (
      torch.compile(model.to('cuda', torch.bfloat16)),
      x.to('cuda', torch.bfloat16),
    )

  def call():
    with torch.inference_mode():
      model(x)
    if on_gpu:
      torch.cuda.synchronize()

  return call
