"""Matrix products with bf16 operands and f32 sums, forward and backward.

The bf16 of Flax (`dtype=bfloat16`) also returns bf16, which no CPU runs fast
and which rounds every partial sum. Here only the operands are rounded: the
products are summed, returned and differentiated in f32. Accelerators do return
bf16, summed in f32, where a result is an activation inside a trunk: half the
memory, half the traffic.
"""

import functools
import string

import jax
import jax.numpy as jnp
from jax import lax

from rpt_jax import target

_WIDE = 256  # From here on the transpose pays for itself.


def activation():
  """The type of activations inside a trunk: bf16, but f32 on a CPU."""
  return jnp.float32 if target.platform() == 'cpu' else jnp.bfloat16


def _einsum(spec, x, y, dtype=jnp.float32):
  return jnp.einsum(
    spec,
    x.astype(jnp.bfloat16),
    y.astype(jnp.bfloat16),
    preferred_element_type=dtype,
  )


def _subscripts(dimension_numbers, lhs_ndim, rhs_ndim):
  """Einsum letters (lhs, rhs, out) of a dot_general."""
  (lhs_sum, rhs_sum), (lhs_batch, rhs_batch) = dimension_numbers
  letters = iter(string.ascii_letters)
  lhs = [next(letters) for _ in range(lhs_ndim)]
  rhs = [next(letters) for _ in range(rhs_ndim)]
  shared = (*zip(lhs_sum, rhs_sum, strict=True),)
  shared += (*zip(lhs_batch, rhs_batch, strict=True),)
  for i, j in shared:
    rhs[j] = lhs[i]
  out = [lhs[i] for i in lhs_batch]
  out += [c for i, c in enumerate(lhs) if i not in (*lhs_sum, *lhs_batch)]
  out += [c for j, c in enumerate(rhs) if j not in (*rhs_sum, *rhs_batch)]
  return ''.join(lhs), ''.join(rhs), ''.join(out)


def _product(dimension_numbers, dtype, lhs, rhs):
  return lax.dot_general(
    lhs.astype(jnp.bfloat16),
    rhs.astype(jnp.bfloat16),
    dimension_numbers,
    preferred_element_type=dtype,
  )


_dot = jax.custom_vjp(_product, nondiff_argnums=(0, 1))


def _forward(dimension_numbers, dtype, lhs, rhs):
  # A plain product: policies of jax.checkpoint do not look into a custom one.
  return _product(dimension_numbers, dtype, lhs, rhs), (lhs, rhs)


def _backward(dimension_numbers, dtype, residuals, grad):
  del dtype
  lhs, rhs = residuals
  x, y, out = _subscripts(dimension_numbers, lhs.ndim, rhs.ndim)
  grad_lhs = _einsum(f'{out},{y}->{x}', grad, rhs, lhs.dtype)
  if target.platform() != 'cpu':
    grad_rhs = _einsum(f'{out},{x}->{y}', grad, lhs)
  elif (x, y) == ('ab', 'bd') and min(rhs.shape) >= _WIDE:
    grad_rhs = _sum_over_rows(lhs, grad)
  else:
    # XLA on CPU has no bf16 kernel for a sum over rows: it converts to f32
    # and back, and under vmap fails outright (jax 0.10.2).
    grad_rhs = jnp.einsum(f'{out},{x}->{y}', grad, lhs)
  return grad_lhs, grad_rhs.astype(rhs.dtype)


def _sum_over_rows(x_ND, y_NF):
  """x.T @ y on bf16 operands, with the transpose written out.

  A bare transpose is folded back into the product; padding keeps it apart, so
  that the product is the fast kind (1.6 times f32 at 5120 x 384 x 1536).
  """
  x_DN = jnp.pad(x_ND.astype(jnp.bfloat16).T, ((0, 16), (0, 0)))
  return _einsum('dn,nf->df', x_DN, y_NF)[: x_ND.shape[1]]


_dot.defvjp(_forward, _backward)


def dot_general(
  lhs, rhs, dimension_numbers, precision=None, preferred_element_type=None
):
  """`lax.dot_general` on operands rounded to bf16; f32 sums, result, gradients.

  The last two arguments are there to fit `nn.Dense(dot_general=...)` and are
  ignored: the precision is what this function is.
  """
  del precision, preferred_element_type
  return _call(lhs, rhs, dimension_numbers, jnp.float32)


def inner_dot_general(
  lhs, rhs, dimension_numbers, precision=None, preferred_element_type=None
):
  """`dot_general` between activations: its result, and the gradient of `lhs`,
  are of the type `activation()`."""
  del precision, preferred_element_type
  dtype = activation()
  return _call(lhs.astype(dtype), rhs, dimension_numbers, dtype)


def _call(lhs, rhs, dimension_numbers, dtype):
  numbers = jax.tree.map(int, dimension_numbers)
  numbers = tuple(tuple(map(tuple, pair)) for pair in numbers)
  return _dot(numbers, dtype, lhs, rhs)


def product(dtype: str = target.BY_HARDWARE):
  """The `dot_general` of operands of `dtype`, with f32 sums and result."""
  if target.operands(dtype) == 'bfloat16':
    return dot_general
  return functools.partial(
    lax.dot_general, precision='highest', preferred_element_type=jnp.float32
  )


def matmul_bf16(x, y):
  """`x @ y` ([..., N, K] @ [K, M] -> f32 [..., N, M]) on bf16 operands."""
  return dot_general(x, y, (((x.ndim - 1,), (0,)), ((), ())))
