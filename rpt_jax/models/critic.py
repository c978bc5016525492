"""Values of actions, and a policy that is learned from them.

Both see one vector a state, [B, S]; actions are within -1 and 1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_DEVIATION = (-5.0, 1.0)  # Bounds of the logarithm of a policy's deviation.


class _Perceptron(nn.Module):
  """[..., D] -> [..., out], `depth` hidden layers."""

  width: int
  depth: int
  out: int

  @nn.compact
  def __call__(self, x):
    for i in range(self.depth):
      x = nn.relu(nn.LayerNorm()(nn.Dense(self.width, name=f'hidden_{i}')(x)))
    return nn.Dense(self.out, name='project')(x)


class Critic(nn.Module):
  """[B, S], actions [B, N, A] -> values [E, B, N] of `ensemble` networks."""

  width: int
  depth: int
  ensemble: int = 2

  @nn.compact
  def __call__(self, state_BS, action_BNA):
    shape = (*action_BNA.shape[:2], state_BS.shape[-1])
    state_BNS = jnp.broadcast_to(state_BS[:, None], shape)
    both = jnp.concatenate([state_BNS, action_BNA], axis=-1)
    networks = nn.vmap(
      _Perceptron,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=None,
      axis_size=self.ensemble,
    )
    return networks(self.width, self.depth, 1, name='networks')(both)[..., 0]


class Actor(nn.Module):
  """[B, S] -> (means, log deviations) [B, A] of a Gaussian before tanh."""

  width: int
  depth: int
  dim: int

  @nn.compact
  def __call__(self, state_BS):
    y = _Perceptron(self.width, self.depth, 2 * self.dim, name='network')(
      state_BS
    )
    mean_BA, raw_BA = jnp.split(y, 2, axis=-1)
    return mean_BA, jnp.clip(raw_BA, *_DEVIATION)


def draw(said, key, num: int):
  """(actions [B, num, A] within -1 and 1, their log likelihoods [B, num]).

  `said` is what an `Actor` gives; tanh's change of volume is in the likelihood
  (soft actor-critic, Haarnoja et al. 2018, arXiv 1812.05905, appendix C).
  """
  mean_BA, log_BA = said
  shape = (len(mean_BA), num, mean_BA.shape[-1])
  noise = jax.random.normal(key, shape)
  raw = mean_BA[:, None] + jnp.exp(log_BA)[:, None] * noise
  nats = -0.5 * noise**2 - log_BA[:, None] - 0.5 * np.log(2 * np.pi)
  # log(1 - tanh(x)^2), without losing digits far out.
  volume = 2 * (np.log(2.0) - raw - jax.nn.softplus(-2 * raw))
  return jnp.tanh(raw), (nats - volume).sum(-1)
