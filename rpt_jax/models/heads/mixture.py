"""A chunk of actions from a mixture of Gaussians.

K whole chunks with a deviation for each of their numbers, and how likely each
is (mixture density networks, Bishop 1994, equations 22 to 24; as the head of a
policy robomimic, arXiv 2108.03298, which has five). A component is a way to
act: a draw follows one of them over the whole chunk.
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


@dataclasses.dataclass(frozen=True)
class Settings:
  """How many ways to act there are, and how draws spread about them."""

  components: int = keys.key(5, 'ways to act', low=1, high=1024)
  floor: float = keys.key(
    0.01, 'least deviation, of scaled actions', above=0, high=10
  )
  spread: float = keys.key(
    1.0,
    'deviations of draws are multiplied by it; 0: the mean of a component',
    low=0,
    high=10,
  )


class Head(nn.Module):
  """[B, T, D] -> (logits [B, T, K], means and deviations [B, T, K, C, dim])."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    del query
    spec, settings = self.spec, self.spec.settings
    count, lead = settings.components, read_BTD.shape[:2]
    read_ND = read_BTD.reshape(-1, read_BTD.shape[-1])
    shape = *lead, count, spec.steps, spec.target.dim
    logits = dense(count, 'choose')(read_ND).reshape(*lead, count)
    mean = dense(count * spec.numbers, 'mean')(read_ND).reshape(shape)
    raw = dense(count * spec.numbers, 'deviation')(read_ND).reshape(shape)
    return logits, mean, settings.floor + nn.softplus(raw)


def loss(reader, read_BTD, target, valid_BTC, key):
  """Nats of every step given those before it, which add up to the chunk's.

  -log p(a_c | a_<c) = log p(a_<c) - log p(a_<=c), where a step that is not
  valid is left out of both. 'absolute_error' is that of the mean of the
  likeliest component.
  """
  del key
  logits_BTK, mean, deviation = reader(read_BTD)
  valid_BTC1 = valid_BTC[..., None]
  target = jnp.where(valid_BTC1, target, 0.0)
  off = (target[:, :, None] - mean) / deviation
  nats = 0.5 * off**2 + jnp.log(deviation) + 0.5 * np.log(2 * np.pi)
  step_BTKC = jnp.where(valid_BTC[:, :, None], -nats.sum(-1), 0.0)
  chosen_BTK1 = jax.nn.log_softmax(logits_BTK)[..., None]
  until_BTC = jax.nn.logsumexp(chosen_BTK1 + step_BTKC.cumsum(-1), axis=2)
  before_BTC = jnp.pad(until_BTC, ((0, 0), (0, 0), (1, 0)))[..., :-1]
  likeliest_BT = logits_BTK.argmax(-1)
  error = jnp.where(valid_BTC1, target - _of(mean, likeliest_BT), 0.0)
  measures = {'absolute_error': jnp.abs(error).mean(-1)}
  return before_BTC - until_BTC, measures


def sample(reader, read_BTD, key, num):
  """`num` draws [num, B, T, C, dim]: a component, then about its means."""
  logits_BTK, mean, deviation = reader(read_BTD)

  def draw(key):
    choose_key, noise_key = jax.random.split(key)
    chosen_BT = jax.random.categorical(choose_key, logits_BTK)
    mean_BTCA = _of(mean, chosen_BT)
    noise = jax.random.normal(noise_key, mean_BTCA.shape)
    spread = reader.spec.settings.spread
    return mean_BTCA + spread * _of(deviation, chosen_BT) * noise

  return jax.vmap(draw)(jax.random.split(key, num))


def _of(x, component_BT):
  """[B, T, C, dim] of one component of [B, T, K, C, dim]."""
  index = component_BT[:, :, None, None, None]
  return jnp.take_along_axis(x, index, axis=2)[:, :, 0]
