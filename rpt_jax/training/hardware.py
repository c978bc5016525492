"""What a chip can do: peak arithmetic, memory and links.

The figures are the vendors' (cloud.google.com/tpu/docs for TPUs, the data
sheets for GPUs): dense bf16, without sparsity. `interconnect` is what one
device can send at a time over all of its links, half of the figure that
counts both directions. All are for what JAX calls a device: a whole chip, but
one of the two cores of a TPU7x.
"""

import functools
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

_TERA, _GIGA, _GIB = 1e12, 1e9, 2**30


class Chip(NamedTuple):
  """Peaks of one device, per second and in bytes."""

  name: str
  flops: float  # dense bf16 FLOP/s
  hbm_bytes: float
  hbm_bandwidth: float
  interconnect: float


def _chip(name, tera_flops, gib, giga_bandwidth, giga_links):
  return Chip(
    name,
    tera_flops * _TERA,
    gib * _GIB,
    giga_bandwidth * _GIGA,
    giga_links * _GIGA,
  )


_V5E = _chip('v5e', 197, 16, 819, 200)
_V5P = _chip('v5p', 459, 95, 2765, 600)
_V6E = _chip('v6e', 918, 32, 1640, 400)
_TPU7X = _chip('tpu7x', 1153.5, 96, 3690, 300)
# How `device_kind` begins, as libtpu and the drivers spell it; first match.
_CHIPS = {
  'TPU v4': _chip('v4', 275, 32, 1228, 300),
  'TPU v5 lite': _V5E,
  'TPU v5e': _V5E,
  'TPU v5': _V5P,
  'TPU v6 lite': _V6E,
  'TPU v6e': _V6E,
  'TPU7x': _TPU7X,
  'TPU v7x': _TPU7X,
  'NVIDIA A100-SXM4-40GB': _chip('A100 40 GB', 312, 40, 1555, 300),
  'NVIDIA A100': _chip('A100', 312, 80, 2039, 300),
  'NVIDIA H100 PCIe': _chip('H100 PCIe', 756, 80, 2000, 64),
  'NVIDIA H100': _chip('H100', 989, 80, 3350, 450),
  'NVIDIA H200': _chip('H200', 989, 141, 4800, 450),
}


def chip(kind: str) -> Chip | None:
  """The chip of a `device_kind` as JAX spells it; None if it is not known."""
  for start, candidate in _CHIPS.items():
    if kind.startswith(start):
      return candidate
  return None


def peak_flops() -> float:
  """Dense bf16 FLOP/s of all devices of this job.

  CPUs, and chips that are not known, are measured once. The devices of a CPU
  share its cores, so they count as one a process.
  """
  device = jax.local_devices()[0]
  peaks = chip(device.device_kind)
  flops = peaks.flops if peaks else measured_flops()
  on_cpu = device.platform == 'cpu'
  return flops * (jax.process_count() if on_cpu else jax.device_count())


@functools.cache
def measured_flops() -> float:
  """FLOP/s of the default device: the best of five bf16 products, f32 sums."""
  size = 2048 if jax.default_backend() == 'cpu' else 8192
  x = jnp.ones((size, size), jnp.bfloat16)

  @jax.jit
  def product(x):
    return jnp.dot(x, x, preferred_element_type=jnp.float32)

  product(x).block_until_ready()
  seconds = []
  for _ in range(5):
    began = time.perf_counter()
    product(x).block_until_ready()
    seconds.append(time.perf_counter() - began)
  return 2 * size**3 / min(seconds)
