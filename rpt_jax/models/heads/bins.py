"""Every number of a chunk of actions as one of 256 bins.

Bins are evenly wide between two quantiles of the demonstrations; what lies
beyond goes into the outermost (RT-1, arXiv 2212.06817, 5.1; with quantiles
OpenVLA, arXiv 2406.09246, 3.2). A distribution over bins of its own for each
number can have several modes, but numbers are drawn apart from each other.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from rpt_jax import settings as keys
from rpt_jax.models import categorical
from rpt_jax.models.heads import HeadSpec
from rpt_jax.models.transformer import dense

KINDS = ('continuous',)

# In one piece: compiled anew for every number of rows.
_quantiles = jax.jit(functools.partial(jnp.quantile, axis=0))


@dataclasses.dataclass(frozen=True)
class Settings:
  """The bins, and how one of them is chosen."""

  bins: int = keys.key(256, 'of every number', low=2, high=65_536)
  quantiles: tuple[float, float] = keys.key(
    (0.01, 0.99), 'where bins begin and end, of the targets', low=0, high=1
  )
  temperature: float = keys.key(
    1.0,
    'the logits of draws are divided by it; 0: the likeliest',
    low=0,
    high=100,
  )

  def check(self, where: str) -> None:
    """Raises ValueError unless there is room between the quantiles."""
    check_quantiles(self.quantiles, where)


def check_quantiles(quantiles: tuple[float, float], where: str) -> None:
  """Raises ValueError unless the first lies below the second."""
  if quantiles[0] >= quantiles[1]:
    expected = '(low, high), low below high'
    keys.refuse(f'{where}.quantiles', quantiles, expected)


class Head(nn.Module):
  """[B, T, D] -> logits [B, T, C, dim, bins]."""

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    del query
    spec, bins = self.spec, self.spec.settings.bins
    y_ND = dense(spec.numbers * bins, 'project')(
      read_BTD.reshape(-1, read_BTD.shape[-1])
    )
    shape = *read_BTD.shape[:2], spec.steps, spec.target.dim, bins
    return y_ND.reshape(shape)


def fit(target_ND, spec):
  """{'low': [dim], 'high': [dim]}, the first and the last edge of the bins.

  They are equal where a dimension never varies, or there is one row; ValueError
  where there is none.
  """
  if not len(target_ND):
    raise ValueError(
      f'head of {spec.name!r}: no row of targets to fit bins to; give some'
    )
  low_A, high_A = _quantiles(target_ND, jnp.asarray(spec.settings.quantiles))
  # What lies between two equal numbers may be rounded apart.
  rounding_A = 4 * jnp.finfo(low_A.dtype).eps * jnp.abs(low_A)
  flat_A = high_A - low_A <= rounding_A
  return {'low': low_A, 'high': jnp.where(flat_A, low_A, high_A)}


def encode(constants, x, bins):
  """The bins of numbers [..., dim], int32; what is not finite has some bin."""
  low, width = _bounds(constants, x.ndim)
  flat = width <= 0
  share = jnp.where(flat, 0.5, (x - low) / jnp.where(flat, 1.0, width))
  # Cut before it is rounded: no integer is large enough for every float.
  share = jnp.nan_to_num(share.clip(0.0, 1.0))
  return jnp.minimum(jnp.floor(share * bins), bins - 1).astype(jnp.int32)


def decode(constants, bin_of, bins):
  """The centres of bins [..., dim]."""
  low, width = _bounds(constants, bin_of.ndim)
  return low + (bin_of + 0.5) / bins * width


def loss(reader, read_BTD, target, valid_BTC, key):
  """Nats, summed over dimensions, and 'accuracy', the share of right bins."""
  del valid_BTC, key
  labels = encode(reader.constants, target, reader.spec.settings.bins)
  return categorical.loss(reader(read_BTD), labels)


def sample(reader, read_BTD, key, num):
  """Centres [num, B, T, C, dim] of bins that are drawn, each by itself."""
  settings, logits = reader.spec.settings, reader(read_BTD)
  if settings.temperature:
    logits = logits / settings.temperature
    drawn = categorical.sample(logits, key, num)
  else:
    likeliest = logits.argmax(-1)
    drawn = jnp.broadcast_to(likeliest[None], (num, *likeliest.shape))
  return decode(reader.constants, drawn, settings.bins)


def _bounds(constants, ndim):
  """(the first edge, the width of all bins), [..., dim] with `ndim` axes."""
  low_A, high_A = constants['low'], constants['high']
  shape = (1,) * (ndim - 1) + low_A.shape
  return low_A.reshape(shape), (high_A - low_A).reshape(shape)
