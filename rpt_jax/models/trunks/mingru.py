"""minGRU: a recurrent trunk that trains in parallel and carries one vector.

    z_t = sigmoid(W_z x_t),  h_t = (1 - z_t) h_{t-1} + z_t g(W_h x_t)

Neither gate looks at h, so that all tokens are one associative scan, here over
logarithms, which no length drives out of range; g is positive for that (Feng
et al. 2024, arXiv 2410.01201, 3.1 and the appendix on log space). Tokens are
taken in the order in which they lie, which is all the position there is.

A token sees those before it. What a later one may not see never enters the
state, so that a trunk sees less than `place` allows, of the tokens of a step
among themselves, and never more.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rpt_jax import precision, target
from rpt_jax import settings as keys
from rpt_jax.models import visibility
from rpt_jax.models.transformer import dense
from rpt_jax.types import Array

# To see only what lies before is no loss where nothing else may be seen.
VISIBILITIES = visibility.CAUSAL
# Kernels are stacked over depth: [depth, in, out]. Each number of the state
# has its own recurrence, so 'tensor' splits it without talking.
SHARDING = (
  (r'blocks/(gate|candidate|up)/kernel$', (None, 'fsdp', 'tensor')),
  (r'blocks/(out|down)/kernel$', (None, 'tensor', 'fsdp')),
)
EMPTY = -1e9  # log 0; finite, as the gradient between two infinities is NaN.


@dataclasses.dataclass(frozen=True)
class Settings:
  """Its size."""

  depth: int = keys.key(3, 'blocks', low=1, high=1000)
  expansion: float = keys.key(
    1.5, 'width of the state of a block over its width', above=0, high=64
  )
  mlp_ratio: float = keys.key(
    4.0, 'hidden width of a block over its width', above=0, high=64
  )
  dtype: str = keys.key(
    target.BY_HARDWARE,
    'operands of products',
    choices=target.DTYPES,
  )


class Block(nn.Module):
  """Pre-norm minGRU, then a pre-norm MLP."""

  settings: Settings

  @nn.compact
  def __call__(self, x_BND, log_start_BH, writes_BN):
    """-> (x_BND, (log of the state after all tokens [B, H], x_BND))."""
    width = x_BND.shape[-1]
    hidden, features = _widths(self.settings, width)
    x_BND = target.split_rows(x_BND)
    y_BND = nn.LayerNorm(name='norm_state')(x_BND)
    gate_BNH = self._gate(hidden, y_BND)
    candidate_BNH = self._dense(hidden, 'candidate', y_BND)
    log_h_BNH = recur(gate_BNH, candidate_BNH, writes_BN, log_start_BH)
    y_BND = self._dense(width, 'out', jnp.exp(log_h_BNH))
    x_BND += y_BND.astype(x_BND.dtype)
    y_BND = nn.LayerNorm(name='norm_mlp')(x_BND)
    y_BNF = nn.gelu(self._dense(features, 'up', y_BND))
    x_BND += self._dense(width, 'down', y_BNF).astype(x_BND.dtype)
    return x_BND, (log_h_BNH[:, -1], x_BND)

  def _gate(self, hidden, y_BND):
    """[B, N, H], of whose sigmoid the state is new."""
    return self._dense(hidden, 'gate', y_BND)

  def _dense(self, features, name, x_BND):
    """f32, of rows laid flat, which a CPU sums up fastest."""
    layer = dense(features, name, self.settings.dtype)
    y_NF = layer(x_BND.reshape(-1, x_BND.shape[-1]))
    return y_NF.reshape(*x_BND.shape[:2], features)


class Trunk(nn.Module):
  """Blocks one after the other; `state` is log h of each, f32 [B, depth, H]."""

  settings: Settings
  width: int
  context: int
  block: type[nn.Module] = Block

  @nn.compact
  def __call__(self, x_BND, place, state=None):
    s = self.settings
    if state is None:
      state = start(s, self.width, len(x_BND))
    exact = target.operands(s.dtype) == 'float32'
    y_BND = x_BND.astype(jnp.float32 if exact else precision.activation())
    writes_BN = place.real_BN & writes_N(place)[None]
    blocks = nn.scan(
      self.block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=(1, nn.broadcast),
      out_axes=(1, 0),
      length=s.depth,
      # A loop costs a CPU more than it saves it.
      unroll=s.depth if target.platform() == 'cpu' else 1,
    )(s, name='blocks')
    y_BND, (state, layers) = blocks(y_BND, state, writes_BN)
    layers = [layer.astype(x_BND.dtype) for layer in layers]
    return layers[-1], (x_BND, *layers), state


def check(settings: Settings, width: int) -> None:
  """ValueError where the state or the hidden layer would have no number."""
  for name, size in zip(
    ('expansion', 'mlp_ratio'), _widths(settings, width), strict=True
  ):
    if size < 1:
      raise ValueError(
        f'{name}: found {getattr(settings, name)}, expected 1/{width} at least'
      )


def start(settings: Settings, width: int, batch: int) -> Array:
  """The state of episodes that begin: h = 0."""
  hidden, _ = _widths(settings, width)
  return jnp.full((batch, settings.depth, hidden), EMPTY)


def writes_N(place: visibility.Place) -> np.ndarray:
  """Bool [N]: which tokens may enter the state.

  Those that all later ones may see. A token counts itself as later, so that
  the last one of a short window does what it does within a long one.
  """
  least_N = np.minimum.accumulate(place.sees_N[::-1])[::-1]
  return place.seen_N <= least_N


def recur(
  gate_BNH: Array, candidate_BNH: Array, writes_BN: Array, log_start_BH: Array
) -> Array:
  """log h_BNH of all tokens, in parallel.

  Args:
    gate_BNH: W_z x, before the sigmoid.
    candidate_BNH: W_h x, before g.
    writes_BN: a token that does not write reads h as those before it left it.
    log_start_BH: log of what h is before the first.
  """
  writes_BN1 = writes_BN[..., None]
  log_keep_BNH = jnp.where(writes_BN1, -jax.nn.softplus(gate_BNH), 0.0)
  log_new_BNH = -jax.nn.softplus(-gate_BNH) + _log_g(candidate_BNH)
  log_new_BNH = jnp.where(writes_BN1, log_new_BNH, EMPTY)

  def follow(first, second):
    """What two stretches of tokens do to h: keep so much, add so much."""
    (keep, new), (keep_2, new_2) = first, second
    return keep + keep_2, jnp.logaddexp(keep_2 + new, new_2)

  log_keep_BNH, log_new_BNH = lax.associative_scan(
    follow, (log_keep_BNH, log_new_BNH), axis=1
  )
  return jnp.logaddexp(log_keep_BNH + log_start_BH[:, None], log_new_BNH)


def _log_g(x):
  """log g(x): g is x + 1/2 from 0 on, below it the sigmoid."""
  return jnp.where(x >= 0, jnp.log(nn.relu(x) + 0.5), -jax.nn.softplus(-x))


def _widths(settings, width):
  """(numbers of the state, of the hidden layer of the MLP)."""
  return tuple(
    round(ratio * width) for ratio in (settings.expansion, settings.mlp_ratio)
  )
