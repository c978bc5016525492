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
from rpt_jax.models.transformer import Transformer, dense

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
  times: str = keys.key(
    'beta',
    "tau in training: 'beta', or 'logit_normal', the sigmoid of a normal",
    choices=('beta', 'logit_normal'),
    absent='beta',
  )
  mean: float = keys.key(
    0.0, 'of that normal; below 0 leans to noise', low=-10, high=10, absent=0.0
  )
  deviation: float = keys.key(
    1.0, 'of that normal', above=0, high=10, absent=1.0
  )
  attention: int = keys.key(
    0,
    'heads of attention: every action of a chunk is a token, which sees the '
    'others and what was read, in `depth` blocks; 0: one network on all',
    low=0,
    high=1024,
    absent=0,
  )

  def check(self, where: str) -> None:
    """Raises ValueError unless the heads divide the width."""
    if self.attention and self.width % self.attention:
      expected = f'0 or a divisor of width={self.width}'
      keys.refuse(f'{where}.attention', self.attention, expected)


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
    if settings.attention:
      return self._attend(read_BTD, x_BTCA, tau_BT).reshape(shape)
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

  def _attend(self, read_BTD, x_BTCA, tau_BT):
    """Velocities [B * T * C, dim]; the time sets the norms of all tokens."""
    spec, settings = self.spec, self.spec.settings
    width, steps, dim = settings.width, spec.steps, spec.target.dim
    read_ND = dense(width, 'read')(read_BTD.reshape(-1, read_BTD.shape[-1]))
    chunk_ND = dense(width, 'chunk')(x_BTCA.reshape(-1, dim))
    place_CD = self.param('place', nn.initializers.normal(0.02), (steps, width))
    chunk_NCD = chunk_ND.reshape(-1, steps, width) + place_CD[None]
    token_NSD = jnp.concatenate([read_ND[:, None], chunk_NCD], axis=1)
    time_ND = dense(width, 'time')(_embedding(tau_BT.reshape(-1)))
    blocks = Transformer(
      width, settings.depth, settings.attention, modulated=True, name='attend'
    )
    token_NSD, _ = blocks(token_NSD, None, time_ND + read_ND)
    chunk_ND = nn.LayerNorm(name='norm')(token_NSD[:, 1:]).reshape(-1, width)
    return dense(dim, 'project')(chunk_ND)


def loss(reader, read_BTD, target, valid_BTC, key):
  """Squared error of the velocity, a mean over dimensions.

  'absolute_error' is that of the actions which the velocity points at,
  x_tau + (1 - tau) v. A chunk shares its time; the steps of it that are not
  valid enter as zeros, so that nothing of them reaches the others.
  """
  noise_key, time_key = jax.random.split(key)
  valid_BTC1 = valid_BTC[..., None]
  noise = jax.random.normal(noise_key, target.shape)
  tau_BT = times(time_key, target.shape[:2], reader.spec.settings)
  tau_BT11 = tau_BT[..., None, None]
  x_tau = (1 - tau_BT11) * noise + tau_BT11 * target
  velocity = reader(read_BTD, (jnp.where(valid_BTC1, x_tau, 0.0), tau_BT))
  error = jnp.where(valid_BTC1, velocity - (target - noise), 0.0)
  missed = (1 - tau_BT11) * jnp.abs(error)
  return (error**2).mean(-1), {'absolute_error': missed.mean(-1)}


def sample(reader, read_BTD, key, num):
  """`num` draws [num, B, T, C, dim] of whole chunks, by Euler's method."""

  def draw(key):
    def velocity(x_BTCA, tau):
      return reader(read_BTD, (x_BTCA, jnp.full(x_BTCA.shape[:2], tau)))

    return _integrated(reader, read_BTD, key, velocity)

  return jax.vmap(draw)(jax.random.split(key, num))


def guided(reader, read_BTD, key, plan_BTCA, weight_BTC):
  """A draw [B, T, C, dim] that goes on as `plan` says (real-time chunking).

  At every step of the flow its end, x_1 = x_tau + (1 - tau) v, is pulled to the
  plan where its weight is, through the network (Black et al. 2025, arXiv
  2506.07339, equations 2 to 4). The pull is at most as many as there are
  Euler steps, as in published code (10 with 10 steps, 5 with 5).
  Without any weight it is the first draw of `sample` by the same key.
  """
  most = reader.spec.settings.euler

  def velocity(x_BTCA, tau):
    tau_BT = jnp.full(x_BTCA.shape[:2], tau)

    def end(x_BTCA):
      v_BTCA = reader(read_BTD, (x_BTCA, tau_BT))
      return x_BTCA + (1 - tau) * v_BTCA, v_BTCA

    end_BTCA, back, v_BTCA = jax.vjp(end, x_BTCA, has_aux=True)
    (pull_BTCA,) = back((plan_BTCA - end_BTCA) * weight_BTC[..., None])
    # (1 - tau) / tau / r^2, r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2); the last
    # step begins before tau = 1.
    left = 1 - tau
    strength = (tau**2 + left**2) / (jnp.maximum(tau, 1e-6) * left)
    return v_BTCA + jnp.minimum(most, strength) * pull_BTCA

  (key,) = jax.random.split(key, 1)
  return _integrated(reader, read_BTD, key, velocity)


def _integrated(reader, read_BTD, key, velocity):
  """Where noise [B, T, C, dim] comes to along a velocity (x, tau) -> v."""
  spec = reader.spec
  count = spec.settings.euler
  shape = *read_BTD.shape[:2], spec.steps, spec.target.dim

  def step(x_BTCA, tau):
    return x_BTCA + velocity(x_BTCA, tau) / count, None

  noise = jax.random.normal(key, shape)
  return jax.lax.scan(step, noise, jnp.arange(count) / count)[0]


def times(key, shape, settings):
  """Times tau of training.

  'beta': 1 - tau is of Beta(alpha, 1), whose CDF is u**alpha. Alpha 1 is
  uniform (Liu et al.); pi0 takes 1.5 (appendix B), as with much noise the
  velocity is harder to tell: it is that to the mean of all that may follow.
  'logit_normal': more in the middle (Esser et al. 2024, arXiv 2403.03206,
  equation 19, best of theirs at few steps with mean 0 and deviation 1).
  """
  if settings.times == 'logit_normal':
    normal = jax.random.normal(key, shape)
    return nn.sigmoid(settings.mean + settings.deviation * normal)
  return 1 - jax.random.uniform(key, shape) ** (1 / settings.alpha)


def _embedding(tau_N):
  """Sine and cosine of every period: [N, 2 * periods]."""
  rate_D = jnp.asarray(2 * np.pi / _PERIODS, jnp.float32)
  angle_ND = tau_N[:, None] * rate_D[None]
  return jnp.concatenate([jnp.sin(angle_ND), jnp.cos(angle_ND)], axis=-1)
