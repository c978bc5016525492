"""Chunks of actions drawn by a flow from noise (rectified flow matching).

A chunk x_0 of noise moves to a chunk x_1 of the data on a straight line, and a
network learns the velocity at every point of the way (Liu et al. 2022, arXiv
2209.03003, equation 1; for actions pi0, arXiv 2410.24164, IV):

  x_tau = (1 - tau) x_0 + tau x_1,   v = x_1 - x_0,   tau from 0 to 1

A draw follows the velocity from noise on. Unlike a squared error on actions,
this keeps apart what the demonstrations do in one of several ways.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.models.heads import HeadSpec
from rpt_jax.models.transformer import dense

KINDS = ('continuous',)

_PERIODS = np.geomspace(4e-3, 4.0, 16)  # Of the time embedding, as in pi0.


@dataclasses.dataclass(frozen=True)
class Settings:
  """The network, the times that it learns at, and how draws are made."""

  width: int = keys.key(128, 'of the hidden layers', low=1, high=65_536)
  depth: int = keys.key(2, 'hidden layers', low=1, high=1000)
  alpha: float = keys.key(
    1.5,
    '1 - tau is of Beta(alpha, 1): above 1 leans to noise',
    above=0,
    high=100,
  )
  euler: int = keys.key(10, 'Euler steps of a draw', low=1, high=1000)


class Head(nn.Module):
  """[B, T, D], (x_tau [B, T, C, dim], tau [B, T]) -> velocity, like x_tau."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    spec, settings = self.spec, self.spec.settings
    shape = *read_BTD.shape[:2], spec.steps, spec.target.dim
    if query is None:
      query = jnp.zeros(shape), jnp.zeros(shape[:2])
    x_BTCA, tau_BT = query
    x_ND = x_BTCA.reshape(-1, spec.numbers)
    read_ND = read_BTD.reshape(-1, read_BTD.shape[-1])
    # One layer on all three side by side, started as if on each alone: the
    # chunk, far narrower than what is read, counts from the first step on.
    h_ND = dense(settings.width, 'read')(read_ND)
    h_ND += dense(settings.width, 'chunk')(x_ND)
    h_ND += dense(settings.width, 'time')(_embedding(tau_BT.reshape(-1)))
    for layer in range(1, settings.depth):
      h_ND = dense(settings.width, f'hidden_{layer}')(nn.gelu(h_ND))
    return dense(spec.numbers, 'project')(nn.gelu(h_ND)).reshape(shape)


def loss(reader, read_BTD, target, valid_BTC, key):
  """Squared error of the velocity, a mean over dimensions.

  'absolute_error' is that of the actions which the velocity points at,
  x_tau + (1 - tau) v. A chunk shares its time; the steps of it that are not
  valid enter as zeros, so that nothing of them reaches the others.
  """
  noise_key, time_key = jax.random.split(key)
  valid_BTC1 = valid_BTC[..., None]
  noise = jax.random.normal(noise_key, target.shape)
  tau_BT = times(time_key, target.shape[:2], reader.spec.settings.alpha)
  tau_BT11 = tau_BT[..., None, None]
  x_tau = (1 - tau_BT11) * noise + tau_BT11 * target
  velocity = reader(read_BTD, (jnp.where(valid_BTC1, x_tau, 0.0), tau_BT))
  error = jnp.where(valid_BTC1, velocity - (target - noise), 0.0)
  missed = (1 - tau_BT11) * jnp.abs(error)
  return (error**2).mean(-1), {'absolute_error': missed.mean(-1)}


def sample(reader, read_BTD, key, num):
  """`num` draws [num, B, T, C, dim] of whole chunks, by Euler's method."""
  spec = reader.spec
  count = spec.settings.euler
  shape = *read_BTD.shape[:2], spec.steps, spec.target.dim

  def draw(key):
    def step(x_BTCA, tau):
      tau_BT = jnp.full(shape[:2], tau)
      return x_BTCA + reader(read_BTD, (x_BTCA, tau_BT)) / count, None

    noise = jax.random.normal(key, shape)
    return jax.lax.scan(step, noise, jnp.arange(count) / count)[0]

  return jax.vmap(draw)(jax.random.split(key, num))


def times(key, shape, alpha):
  """Times tau with 1 - tau of Beta(alpha, 1), whose CDF is u**alpha.

  1 is uniform (Liu et al.); pi0 takes 1.5 (appendix B), as with much noise the
  velocity is harder to tell: it is that to the mean of all that may follow.
  """
  return 1 - jax.random.uniform(key, shape) ** (1 / alpha)


def _embedding(tau_N):
  """Sine and cosine of every period: [N, 2 * periods]."""
  rate_D = jnp.asarray(2 * np.pi / _PERIODS, jnp.float32)
  angle_ND = tau_N[:, None] * rate_D[None]
  return jnp.concatenate([jnp.sin(angle_ND), jnp.cos(angle_ND)], axis=-1)
