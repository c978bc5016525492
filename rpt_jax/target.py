"""What a program is written for: its platform, operands, and mesh.

Some code is faster in one form on a CPU and in another on accelerators. It
asks `platform()`, not JAX: a step compiled on a CPU machine for a TPU that is
only described must be the one that the TPU will run. Likewise `operands()`:
what hardware says decides, never a measurement, or bits would depend on load.
"""

import functools
import pathlib

import jax
from jax.sharding import PartitionSpec

_PLATFORM = jax.make_user_context(None)  # A key of JAX's caches of traces.
_OPERANDS = jax.make_user_context(None)
OPERANDS = ('bfloat16', 'float32')
BY_HARDWARE = 'auto'  # Whichever of `OPERANDS` is fast here.
DTYPES = (BY_HARDWARE, *OPERANDS)
ROWS = ('data', 'fsdp')  # The axes of a mesh that split a batch.


def platform() -> str:
  """'cpu', 'gpu' or 'tpu': what the code being traced will run on."""
  return _PLATFORM.value or jax.default_backend()


def compiling_for(name: str):
  """Context in which `platform()` is `name`, whatever this machine has."""
  return _PLATFORM(name)


def operands(dtype: str = BY_HARDWARE) -> str:
  """What the operands of products are rounded to, one of `OPERANDS`.

  'auto': bf16 on accelerators and on CPUs with AMX, which multiply it faster
  than f32; f32 on all other CPUs, which are half as fast in bf16.

  Raises ValueError for a `dtype` outside `DTYPES`.
  """
  if dtype not in DTYPES:
    raise ValueError(
      f'dtype or precision: found {dtype!r}, expected one of {DTYPES}'
    )
  if dtype != BY_HARDWARE:
    return dtype
  fast = platform() != 'cpu' or cpu_has_amx()
  return _OPERANDS.value or ('bfloat16' if fast else 'float32')


def rounding_to(dtype: str):
  """Context in which 'auto' is `dtype`, one of `OPERANDS` or 'auto'."""
  return _OPERANDS(None if dtype == BY_HARDWARE else dtype)


@functools.cache
def cpu_has_amx() -> bool:
  """Whether this machine's CPU multiplies tiles of bf16 (Intel AMX)."""
  flags = pathlib.Path('/proc/cpuinfo')
  return flags.exists() and 'amx_bf16' in flags.read_text()


def split_rows(x: jax.Array) -> jax.Array:
  """Keeps the first axis of an activation split as the batch is.

  Without it the compiler may split the width as the parameters are split, and
  move activations instead of weights. Does nothing outside of a mesh
  (`jax.sharding.use_abstract_mesh`), or where the rows do not divide.
  """
  sizes = dict(jax.sharding.get_abstract_mesh().shape)
  parts = sizes.get('data', 1) * sizes.get('fsdp', 1)
  if not set(ROWS) <= set(sizes) or x.shape[0] % parts:
    return x
  return jax.lax.with_sharding_constraint(x, PartitionSpec(ROWS))
