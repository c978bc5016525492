"""Chunks of actions by their energy (implicit behaviour cloning).

A network says of a chunk how well it goes with what was read, f = -E, and
learns to pick the one that was done out of many that are drawn evenly over the
range of the demonstrations (InfoNCE; Florence et al. 2021, arXiv 2109.00137,
3.1 and equation 2). A chunk is drawn by search without derivatives (its
algorithm 1): candidates are drawn anew as often as they are likely, and moved,
by less and less. f may jump from one chunk to another, where a function that
gives the chunk itself can only go over smoothly.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models.heads import HeadSpec
from rpt_jax.models.transformer import dense

KINDS = ('continuous',)


@dataclasses.dataclass(frozen=True)
class Settings:
  """The network, what it is told apart from, and the search."""

  width: int = keys.key(128, 'of the hidden layers', low=1, high=65_536)
  depth: int = keys.key(2, 'hidden layers', low=1, high=1000)
  negatives: int = keys.key(256, 'of every chunk', low=1, high=65_536)
  margin: float = keys.key(
    0.05, 'of the range, on both sides of it', low=0, high=1
  )
  candidates: int = keys.key(2048, 'of a draw', low=2, high=1_000_000)
  rounds: int = keys.key(3, 'in which they are weighed', low=1, high=100)
  deviation: float = keys.key(
    0.33,
    'of the first move, of half the range; halved every round',
    low=0,
    high=10,
  )
  temperature: float = keys.key(
    1.0,
    'f of the last candidates is divided by it; 0: the best, as in the paper',
    low=0,
    high=100,
  )


class Head(nn.Module):
  """[B, T, D], chunks [B, T, N, C, dim] within -1 and 1 -> f [B, T, N]."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    spec, settings, lead = self.spec, self.spec.settings, read_BTD.shape[:2]
    if query is None:
      query = jnp.zeros((*lead, 1, spec.steps, spec.target.dim))
    chunk_ND = query.reshape(-1, spec.numbers)
    read_MD = read_BTD.reshape(-1, read_BTD.shape[-1])
    # Side by side in one layer, of which what is read is computed once.
    h_MND = dense(settings.width, 'read')(read_MD)[:, None]
    chunk_ND = dense(settings.width, 'chunk')(chunk_ND)
    h_MND = h_MND + chunk_ND.reshape(len(read_MD), -1, settings.width)
    h_ND = h_MND.reshape(-1, settings.width)
    for layer in range(1, settings.depth):
      h_ND = dense(settings.width, f'hidden_{layer}')(nn.relu(h_ND))
    return dense(1, 'project')(nn.relu(h_ND)).reshape(*lead, -1)


def fit(target_ND, spec):
  """{'centre': [dim], 'half': [dim]} of the range, half 0: it never varies.

  ValueError where there is no row.
  """
  if not len(target_ND):
    raise ValueError(
      f'head of {spec.name!r}: no row of targets to take the range of; give '
      'some'
    )
  low_A, high_A = jnp.min(target_ND, axis=0), jnp.max(target_ND, axis=0)
  half_A = (high_A - low_A) * (0.5 + spec.settings.margin)
  return {'centre': (low_A + high_A) / 2, 'half': half_A}


def loss(reader, read_BTD, target, valid_BTC, key):
  """Nats of the chunk among its negatives, the same for all of its steps.

  'accuracy' is how often it is the best. Steps of a chunk that are not valid
  are zeros in all candidates, so that they tell none apart.
  """
  settings = reader.spec.settings
  shape = *target.shape[:2], settings.negatives, *target.shape[2:]
  centre_A, half_A, varies_A = _range(reader.constants, len(shape))
  true = (target[:, :, None] - centre_A) / jnp.where(varies_A, half_A, 1.0)
  others = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
  candidates = jnp.concatenate([true, others], axis=2)
  kept = valid_BTC[:, :, None, :, None] & varies_A
  f_BTN = reader(read_BTD, jnp.where(kept, candidates, 0.0))
  nats_BT = -jax.nn.log_softmax(f_BTN)[..., 0]
  best_BT = (f_BTN.argmax(-1) == 0).astype(jnp.float32)

  def of_every_step(x_BT):
    return jnp.broadcast_to(x_BT[..., None], valid_BTC.shape)

  return of_every_step(nats_BT), {'accuracy': of_every_step(best_BT)}


def sample(reader, read_BTD, key, num):
  """`num` draws [num, B, T, C, dim], each the end of a search of its own."""
  centre_A, half_A, _ = _range(reader.constants, 4)

  def draw(key):
    return centre_A + half_A * _search(reader, read_BTD, key)

  return jax.vmap(draw)(jax.random.split(key, num))


def _search(reader, read_BTD, key):
  """One chunk [B, T, C, dim] within -1 and 1."""
  spec, lead = reader.spec, read_BTD.shape[:2]
  settings = spec.settings
  shape = *lead, settings.candidates, spec.steps, spec.target.dim
  _, _, varies_A = _range(reader.constants, len(shape))
  first_key, last_key, *keys_R = jax.random.split(key, settings.rounds + 1)
  x = jax.random.uniform(first_key, shape, minval=-1.0, maxval=1.0)
  x = jnp.where(varies_A, x, 0.0)
  for i, key_i in enumerate(keys_R):
    draw_key, move_key = jax.random.split(key_i)
    x = _of(x, _drawn_anew(reader(read_BTD, x), draw_key))
    move = jax.random.normal(move_key, shape) * settings.deviation / 2**i
    x = jnp.where(varies_A, (x + move).clip(-1.0, 1.0), 0.0)
  f_BTN = reader(read_BTD, x)
  if settings.temperature:
    logits_BTN = f_BTN / settings.temperature
    index_BT = jax.random.categorical(last_key, logits_BTN)
  else:
    index_BT = f_BTN.argmax(-1)
  return _of(x, index_BT[..., None])[:, :, 0]


def _drawn_anew(f_BTN, key):
  """Indices [B, T, N] of N candidates, each as often as it is likely.

  Systematic: one random number for all, which is N drawn with least variance.
  """
  count = f_BTN.shape[-1]
  total_BTN = jax.nn.softmax(f_BTN).cumsum(-1)
  start_BT1 = jax.random.uniform(key, (*f_BTN.shape[:-1], 1))
  point_BTN = (jnp.arange(count)[None, None] + start_BT1) / count
  find = jnp.vectorize(jnp.searchsorted, signature='(n),(n)->(n)')
  return jnp.minimum(find(total_BTN, point_BTN), count - 1)


def _of(x, index_BTN):
  """Candidates [B, T, N, C, dim] by their index."""
  return jnp.take_along_axis(x, index_BTN[..., None, None], axis=2)


def _range(constants, ndim):
  """(centre, half, whether it varies), [..., dim] with `ndim` axes."""
  shape = (1,) * (ndim - 1) + constants['half'].shape
  half_A = constants['half'].reshape(shape)
  return constants['centre'].reshape(shape), half_A, half_A > 0
