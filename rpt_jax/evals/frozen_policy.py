"""The policy that R3M judges frozen image models by (arXiv 2203.12601, 4.1).

Features of a frame beside proprioception, BatchNorm, an MLP of tanh, squared
error of the expert's action: nothing of the image model learns. BatchNorm is
that of PyTorch: statistics of a batch in training, running ones in acting. A
policy is kept every so many steps, so that the last can be told from the best.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rpt_jax.types import Array, PyTree

WIDTHS = (256, 256)
_RATE, _BATCH = 1e-3, 32
_MOMENTUM, _EPSILON = 0.1, 1e-5  # Of PyTorch's BatchNorm1d.


class State(NamedTuple):
  """What acts: `params` learn, `mean_D` and `var_D` run along."""

  params: PyTree
  mean_D: Array
  var_D: Array


def init(key: Array, dim: int, actions: int) -> State:
  """An untrained policy; linear layers as PyTorch begins them."""
  sizes, layers = (dim, *WIDTHS, actions), []
  for own, (rows, columns) in zip(
    jax.random.split(key, len(sizes) - 1),
    zip(sizes[:-1], sizes[1:], strict=True),
    strict=True,
  ):
    most = rows**-0.5
    draw = functools.partial(jax.random.uniform, minval=-most, maxval=most)
    kernel_key, bias_key = jax.random.split(own)
    layers.append((draw(kernel_key, (rows, columns)), draw(bias_key, columns)))
  params = {'scale': jnp.ones(dim), 'bias': jnp.zeros(dim), 'layers': layers}
  return State(params, jnp.zeros(dim), jnp.ones(dim))


def act(state: State, x_ND: Array, normalised: bool = True) -> Array:
  """Actions [N, A] by the running statistics."""
  if normalised:
    x_ND = _normalised(state.params, x_ND, state.mean_D, state.var_D)
  return _mlp(state.params, x_ND)


def update(state: State, x_BD: Array, y_BA: Array, normalised: bool = True):
  """(loss, gradients of the parameters, running statistics) of a batch."""

  def error(params):
    x = x_BD
    if normalised:
      x = _normalised(params, x, x.mean(0), x.var(0))
    return ((_mlp(params, x) - y_BA) ** 2).mean()

  loss, grads = jax.value_and_grad(error)(state.params)
  moments = x_BD.mean(0), x_BD.var(0, ddof=1)
  running = [
    (1 - _MOMENTUM) * old + _MOMENTUM * new
    for old, new in zip(state[1:], moments, strict=True)
  ]
  return loss, grads, running


@functools.partial(jax.jit, static_argnames=('every', 'looks', 'normalised'))
def fit(
  key_S: Array,
  x_ND: Array,
  y_NA: Array,
  rows_SN: Array,
  count_S: Array,
  *,
  every: int,
  looks: int,
  normalised: bool = True,
) -> State:
  """Policies of all seeds after every `every` steps: [S, looks, ...].

  Adam, rate 1e-3, batches of 32.

  Args:
    x_ND, y_NA: features, and what the expert did, of all demonstrations.
    rows_SN, count_S: which of them a seed learns from, the first so many.
  """
  tx, dim = optax.adam(_RATE), x_ND.shape[1]

  def one(key, rows_N, count):
    start_key, key = jax.random.split(key)
    state = init(start_key, dim, y_NA.shape[1])

    def step(i, carry):
      state, moments = carry
      place_B = jax.random.randint(
        jax.random.fold_in(key, i), (_BATCH,), 0, count
      )
      picks_B = rows_N[place_B]
      _, grads, running = update(
        state, x_ND[picks_B], y_NA[picks_B], normalised
      )
      updates, moments = tx.update(grads, moments)
      params = optax.apply_updates(state.params, updates)
      return State(params, *running), moments

    def look(carry, index):
      first = index * every
      carry = jax.lax.fori_loop(first, first + every, step, carry)
      return carry, carry[0]

    carry = state, tx.init(state.params)
    return jax.lax.scan(look, carry, jnp.arange(looks))[1]

  return jax.vmap(one)(key_S, rows_SN, count_S)


def _normalised(params, x_ND, mean_D, var_D):
  factor_D = params['scale'] * jax.lax.rsqrt(var_D + _EPSILON)
  return (x_ND - mean_D[None]) * factor_D[None] + params['bias'][None]


def _mlp(params, x_ND):
  *hidden, (kernel, bias) = params['layers']
  for own_kernel, own_bias in hidden:
    x_ND = jnp.tanh(x_ND @ own_kernel + own_bias[None])
  return x_ND @ kernel + bias[None]
