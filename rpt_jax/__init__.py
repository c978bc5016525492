"""rpt_jax: is a pretrained representation useful for acting?"""

__version__ = '0.1.0'  # The one place; setup.py reads it here.


def __getattr__(name):
  """`from_pretrained` and `Pretrained`, imported when they are asked for."""
  if name not in ('Pretrained', 'from_pretrained'):
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  from rpt_jax import pretrained

  return getattr(pretrained, name)
