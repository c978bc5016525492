"""A training step of a trunk, 80 tokens a window, against PyTorch.

Forward, backward and AdamW; the peer is the same network in PyTorch with
`scaled_dot_product_attention`: on a CPU eager and in f32, on a GPU compiled,
its products in bf16 (autocast) and its AdamW fused. Steps are interleaved and
medians compared, so that a busy machine slows both.
"""

import functools
import statistics
import time

import jax
import numpy as np
import optax

from rpt_jax.models.transformer import Transformer
from rpt_jax.training import costs, memory

TOKENS, STEPS = 80, 7
# Width, depth, heads, batch: S, and on a GPU what fills it.
CPU, GPU = ((384, 12, 6, 64),), ((384, 12, 6, 512), (1024, 24, 16, 64))


def run():
  """Seconds per step of both, and their ratio (above 1: ours is faster)."""
  sizes = GPU if jax.default_backend() == 'gpu' else CPU
  yield from (_row(*size) for size in sizes)


def _row(width, depth, heads, batch):
  memory.keep_freed_memory()
  size, shape = (width, depth, heads), (batch, TOKENS, width)
  x_BTD = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  step, flops = _ours(x_BTD, *size)
  steps = {'ours': step, 'peer': _peer(x_BTD, *size)}
  seconds = {name: [] for name in steps}
  for step in steps.values():
    step()  # Compile, allocate.
    step()
  for _ in range(STEPS):
    for name, step in steps.items():
      began = time.perf_counter()
      step()
      seconds[name].append(time.perf_counter() - began)
  ours, peer = (statistics.median(seconds[name]) for name in steps)
  return {
    'name': f'trunk step {width}x{depth}, {batch} x {TOKENS} tokens, seconds '
    f'(peer: torch SDPA {_PEER[jax.default_backend()]})',
    'ours': ours,
    'peer': peer,
    'ratio': peer / ours,
    'teraflops': flops / ours / 1e12,
    'target': 1.1,
  }


_PEER = {'cpu': 'f32', 'gpu': 'compiled, bf16'}


def _ours(x_BTD, width, depth, heads):
  """(a step, the FLOPs of its products)."""
  model = Transformer(width, depth, heads)
  params = jax.jit(model.init)(jax.random.key(0), x_BTD)
  tx = optax.adamw(1e-4)
  state = [params, jax.jit(tx.init)(params)]

  x_BTD = jax.device_put(x_BTD)

  @functools.partial(jax.jit, donate_argnums=(0, 1))
  def update(params, opt_state, x_BTD):
    def loss(params):
      return (model.apply(params, x_BTD)[0] ** 2).mean()

    updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  def step():
    state[:] = jax.block_until_ready(update(*state, x_BTD))

  return step, costs.flops(update, *state, x_BTD)


def _peer(x_BTD, width, depth, heads):
  import torch
  from torch import nn
  from torch.nn import functional as F

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.norm_attention, self.norm_mlp = (
        nn.LayerNorm(width),
        nn.LayerNorm(width),
      )
      self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
      self.up, self.down = (
        nn.Linear(width, 4 * width),
        nn.Linear(4 * width, width),
      )

    def forward(self, x):
      qkv = self.qkv(self.norm_attention(x)).view(batch, TOKENS, 3, heads, -1)
      q, k, v = qkv.permute(2, 0, 3, 1, 4)
      h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
      x = x + self.out(h.reshape(batch, TOKENS, width))
      h = F.gelu(self.up(self.norm_mlp(x)), approximate='tanh')
      return x + self.down(h)

  device = 'cuda' if jax.default_backend() == 'gpu' else 'cpu'
  batch, on_gpu = len(x_BTD), device == 'cuda'
  model = nn.Sequential(*(Block() for _ in range(depth))).to(device)
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=on_gpu)
  x = torch.from_numpy(x_BTD).to(device)
  forward = torch.compile(model) if on_gpu else model

  def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device, torch.bfloat16, enabled=on_gpu):
      loss = (forward(x).float() ** 2).mean()
    loss.backward()
    optimizer.step()
    if on_gpu:
      torch.cuda.synchronize()

  return step
