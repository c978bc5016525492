"""What a program is written for: its platform, and the mesh of its arrays.

Some code is faster in one form on a CPU and in another on accelerators. It
asks `platform()`, not JAX: a step compiled on a CPU machine for a TPU that is
only described must be the one that the TPU will run.
"""

import jax
from jax.sharding import PartitionSpec

_PLATFORM = jax.make_user_context(None)  # A key of JAX's caches of traces.
ROWS = ('data', 'fsdp')  # The axes of a mesh that split a batch.


def platform() -> str:
  """'cpu', 'gpu' or 'tpu': what the code being traced will run on."""
  return _PLATFORM.value or jax.default_backend()


def compiling_for(name: str):
  """Context in which `platform()` is `name`, whatever this machine has."""
  return _PLATFORM(name)


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
