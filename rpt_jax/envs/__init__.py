"""Environments: gymnax behind one small protocol, drawn to pixels in jnp, and
Meta-World in processes of its own (`simulators`).

A gymnax environment is one entry of `catalogue`: its rate, the names and
values of its physical state, a renderer (or a palette) and a scripted expert.
"""

__all__ = ['NAMES', 'Env', 'make']


def __getattr__(name):
  """Imports JAX only when asked: the processes of `simulators` never are."""
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from rpt_jax.envs.gymnax import catalogue

  return getattr(catalogue, name)
