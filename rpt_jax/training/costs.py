"""Model FLOPs of any function, counted on its jaxpr.

XLA's `cost_analysis` counts the body of a loop once, and what is recomputed to
save memory as often as it is computed. Here a scan counts as often as it runs
and a recomputation not at all, so that the figure is the same however the
model is run: the one that MFU is about.
"""

import math
from collections.abc import Callable

import jax
from jax.extend import core

_RECOMPUTED = 'rematted_computation'  # What jax.checkpoint calls its replay.


def flops(function: Callable, *shapes, recomputed: bool = False) -> float:
  """FLOPs of one call on all devices: products of matrices and convolutions.

  A product counts 2 for each multiplication; what is elementwise counts
  nothing. Of a `cond` the costliest branch counts. A `while` whose number of
  turns is unknown counts one turn.

  Args:
    function: pure; jitted or not.
    shapes: its arguments, arrays or `jax.ShapeDtypeStruct`s.
    recomputed: count also what is computed again to save memory.
  """
  skip = '' if recomputed else _RECOMPUTED
  return _count(jax.make_jaxpr(function)(*shapes).jaxpr, skip)


def _count(jaxpr, skip) -> float:
  """FLOPs of a jaxpr but for equations whose name stack has `skip` in it."""
  return float(
    sum(
      _equation(e, skip)
      for e in jaxpr.eqns
      if not skip or skip not in str(e.source_info.name_stack)
    )
  )


def _equation(equation, skip):
  params = equation.params
  match equation.primitive.name:
    case 'dot_general':
      return _dot(equation)
    case 'conv_general_dilated':
      return _convolution(equation)
    case 'scan':
      return params['length'] * _count(params['jaxpr'].jaxpr, skip)
    case 'cond':
      return max(_count(b.jaxpr, skip) for b in params['branches'])
    case 'shard_map':
      return params['mesh'].size * _count(params['jaxpr'], skip)
  return sum(_count(jaxpr, skip) for jaxpr in _inner(params))


def _inner(params):
  """The jaxprs that an equation calls once each."""
  for value in params.values():
    for part in value if isinstance(value, (tuple, list)) else (value,):
      if isinstance(part, core.ClosedJaxpr):
        yield part.jaxpr
      elif isinstance(part, core.Jaxpr):
        yield part


def _dot(equation):
  (lhs_sum, _), _ = equation.params['dimension_numbers']
  lhs, out = equation.invars[0].aval, equation.outvars[0].aval
  return 2 * out.size * math.prod(lhs.shape[i] for i in lhs_sum)


def _convolution(equation):
  """The zeros that dilate the input of a gradient are no work."""
  params = equation.params
  rhs, out = equation.invars[1].aval, equation.outvars[0].aval
  outputs = rhs.shape[params['dimension_numbers'].rhs_spec[0]]
  dilation = math.prod(params['lhs_dilation'])
  return 2 * out.size * rhs.size / outputs / dilation
