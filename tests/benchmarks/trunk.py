"""A training step of a 384 x 12 trunk, 80 tokens, batch 64, against PyTorch.

Forward, backward and AdamW on CPU; the peer is the same network in eager f32
PyTorch with `scaled_dot_product_attention`. Steps are interleaved and medians
compared, so that a busy machine slows both.
"""

import statistics
import time

import jax
import numpy as np
import optax

from rpt_jax.models.transformer import Transformer
from rpt_jax.training import memory

WIDTH, DEPTH, HEADS, TOKENS, BATCH = 384, 12, 6, 80, 64
STEPS = 7


def run() -> list[dict]:
  """Seconds per step of both, and their ratio (above 1: ours is faster)."""
  memory.keep_freed_memory()
  shape = (BATCH, TOKENS, WIDTH)
  x_BTD = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  steps = {'ours': _ours(x_BTD), 'peer': _peer(x_BTD)}
  seconds = {name: [] for name in steps}
  for step in steps.values():
    step()  # Compile, allocate.
  for _ in range(STEPS):
    for name, step in steps.items():
      began = time.perf_counter()
      step()
      seconds[name].append(time.perf_counter() - began)
  ours, peer = (statistics.median(seconds[name]) for name in steps)
  return [
    {
      'name': f'trunk step {WIDTH}x{DEPTH}, {BATCH} x {TOKENS} tokens, seconds '
      '(peer: torch SDPA f32)',
      'ours': ours,
      'peer': peer,
      'ratio': peer / ours,
      'target': 1.1,
    }
  ]


def _ours(x_BTD):
  model = Transformer(WIDTH, DEPTH, HEADS)
  params = jax.jit(model.init)(jax.random.key(0), x_BTD)
  tx = optax.adamw(1e-4)
  state = [params, jax.jit(tx.init)(params)]

  @jax.jit
  def update(params, opt_state):
    def loss(params):
      return (model.apply(params, x_BTD)[0] ** 2).mean()

    updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  def step():
    state[:] = jax.block_until_ready(update(*state))

  return step


def _peer(x_BTD):
  import torch
  from torch import nn
  from torch.nn import functional as F

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.norm_attention, self.norm_mlp = (
        nn.LayerNorm(WIDTH),
        nn.LayerNorm(WIDTH),
      )
      self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
      self.up, self.down = (
        nn.Linear(WIDTH, 4 * WIDTH),
        nn.Linear(4 * WIDTH, WIDTH),
      )

    def forward(self, x):
      qkv = self.qkv(self.norm_attention(x)).view(BATCH, TOKENS, 3, HEADS, -1)
      q, k, v = qkv.permute(2, 0, 3, 1, 4)
      h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
      x = x + self.out(h.reshape(BATCH, TOKENS, WIDTH))
      h = F.gelu(self.up(self.norm_mlp(x)), approximate='tanh')
      return x + self.down(h)

  model = nn.Sequential(*(Block() for _ in range(DEPTH)))
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
  x = torch.from_numpy(x_BTD)

  def step():
    optimizer.zero_grad(set_to_none=True)
    (model(x) ** 2).mean().backward()
    optimizer.step()

  return step
