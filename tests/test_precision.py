"""bf16 operands: close to f32 forward and backward, and f32 in type."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from rpt_jax import precision

CASES = [
  ((32, 48), (48, 24), (((1,), (0,)), ((), ()))),
  ((64, 256), (256, 320), (((1,), (0,)), ((), ()))),  # Wide: see _backward.
  ((2, 8, 4, 16), (2, 8, 4, 16), (((3,), (3,)), ((0, 2), (0, 2)))),
  ((2, 4, 8, 8), (2, 8, 4, 16), (((3,), (1,)), ((0, 1), (0, 2)))),
  ((5, 7, 6), (6, 9, 5), (((2, 0), (0, 2)), ((), ()))),
]


@pytest.mark.parametrize('lhs_shape, rhs_shape, numbers', CASES)
def test_result_and_gradients_are_close_to_f32(lhs_shape, rhs_shape, numbers):
  keys = jax.random.split(jax.random.key(0), 3)
  lhs = jax.random.normal(keys[0], lhs_shape)
  rhs = jax.random.normal(keys[1], rhs_shape)
  exact, exact_vjp = jax.vjp(
    lambda x, y: lax.dot_general(x, y, numbers), lhs, rhs
  )
  ours, our_vjp = jax.vjp(
    lambda x, y: precision.dot_general(x, y, numbers), lhs, rhs
  )
  cotangent = jax.random.normal(keys[2], exact.shape)
  pairs = zip(
    (ours, *our_vjp(cotangent)), (exact, *exact_vjp(cotangent)), strict=True
  )
  for found, expected in pairs:
    assert found.dtype == jnp.float32
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < 5e-3
  assert np.abs(ours - exact).max() > 1e-4  # Rounded indeed.


def test_sums_are_f32():
  x = jnp.ones((1, 4096))
  y = jnp.ones((4096, 1)).at[0, 0].set(0.5)
  assert precision.matmul_bf16(x, y)[0, 0] == 4095.5


def test_matmul_takes_leading_axes():
  assert precision.matmul_bf16(jnp.ones((2, 3, 4)), jnp.ones((4, 5))).shape == (
    2,
    3,
    5,
  )
