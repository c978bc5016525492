"""A chunk of actions as few tokens: frequencies, rounded, in byte pairs.

FAST (Pertsch et al. 2025, arXiv 2501.09747, algorithm 1): actions between two
quantiles are brought to -1 to 1, a cosine transform of each dimension over the
chunk is rounded at a scale, low frequencies of all dimensions come first, and
byte pairs of the demonstrations shorten what is left. However fast actions are
sampled, a smooth chunk is a few tokens. They are drawn one after the other by a
minGRU that starts from what was read, so that a step costs the same wherever
it is, until the end marker.

Tokens that spell too few or too many numbers are still a chunk: what is missing
is 0, a frequency that is not there, and what is too much is left out.
"""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rpt_jax import settings as keys
from rpt_jax.models import byte_pairs, categorical
from rpt_jax.models.heads import HeadSpec, bins
from rpt_jax.models.transformer import dense
from rpt_jax.models.trunks import mingru

KINDS = ('continuous',)
_FITTED = 1024  # Chunks that byte pairs are counted in.
# What is to be rounded is not rounded before.
_einsum = functools.partial(jnp.einsum, precision='highest')


@dataclasses.dataclass(frozen=True)
class Settings:
  """How chunks become tokens, and the network that draws them."""

  vocab: int = keys.key(1024, 'tokens, but for the end', low=2, high=32_768)
  scale: float = keys.key(
    10.0, 'frequencies are multiplied by it and rounded', above=0, high=1000
  )
  quantiles: tuple[float, float] = keys.key(
    (0.01, 0.99), 'that become -1 and 1, of the targets', low=0, high=1
  )
  width: int = keys.key(128, 'of the network', low=1, high=65_536)
  depth: int = keys.key(2, 'blocks', low=1, high=1000)
  temperature: float = keys.key(
    1.0,
    'the logits of draws are divided by it; 0: the likeliest',
    low=0,
    high=100,
  )

  def check(self, where: str) -> None:
    """Raises ValueError unless there is room between the quantiles."""
    bins.check_quantiles(self.quantiles, where)


class Head(nn.Module):
  """[B, T, D], (tokens before [B, T, S], state) -> (logits, state).

  The token before the first is the end marker, `vocab`. Logits are
  [B, T, S, vocab + 1]; the state [B * T, depth, width] is None at the first.
  """

  spec: HeadSpec

  @nn.compact
  def __call__(self, read_BTD, query=None):
    s, lead = self.spec.settings, read_BTD.shape[:2]
    tokens, state = query or (jnp.full((*lead, 1), s.vocab), None)
    tokens_NS = tokens.reshape(-1, tokens.shape[-1])
    size = mingru.Settings(s.depth, 1.0, 2.0)
    if state is None:
      state = mingru.start(size, s.width, len(tokens_NS))
    x_NSD = nn.Embed(s.vocab + 1, s.width, name='embed')(tokens_NS)
    read_ND = read_BTD.reshape(-1, read_BTD.shape[-1])
    x_NSD += dense(s.width, 'read')(read_ND)[:, None]
    writes_NS, carried = jnp.ones(tokens_NS.shape, bool), []
    for i in range(s.depth):
      block = mingru.Block(size, name=f'block_{i}')
      x_NSD, (after, _) = block(x_NSD, state[:, i], writes_NS)
      carried.append(after)
    x_ND = nn.LayerNorm(name='norm')(x_NSD).reshape(-1, s.width)
    logits = dense(s.vocab + 1, 'project')(x_ND)
    logits = logits.reshape(*tokens.shape, s.vocab + 1)
    return logits, jnp.stack(carried, axis=1)


def check(spec):
  """ValueError where a token for every rounded frequency is too many."""
  base, vocab = _base(spec), spec.settings.vocab
  if base > vocab:
    raise ValueError(
      f'head of {spec.name!r}: vocab: found {vocab}, expected {base} at least '
      f'for chunks of {spec.steps} at scale {spec.settings.scale}; shorten the '
      'chunk, or lower the scale'
    )


def fit(target_ND, spec):
  """'low' and 'high' [dim] as of `bins`, 'merges', 'symbols', 'counts'.

  Byte pairs are counted in chunks of rows that follow each other; the few that
  go from one episode to the next count, too.
  """
  bounds = bins.fit(target_ND, spec)
  last = max(len(target_ND) - spec.steps, 0)
  first_N = np.linspace(0, last, _FITTED).round().astype(int)
  at_NC = first_N[:, None] + np.arange(spec.steps)[None]
  at_NC = np.minimum(at_NC, len(target_ND) - 1)
  symbols_NL = symbols_of(
    _shaped(bounds, 3), jnp.asarray(target_ND)[at_NC], spec
  )
  base, vocab = _base(spec), spec.settings.vocab
  merges = byte_pairs.fit(symbols_NL, base, vocab)
  symbols, counts = byte_pairs.spelled(merges, base, spec.numbers)
  spelling = {'merges': merges, 'symbols': symbols, 'counts': counts}
  return bounds | spelling


def symbols_of(constants, chunk_NCA, spec):
  """Integers [N, C * dim] of chunks, low frequencies first."""
  low_A, width_A = constants['low'], constants['high'] - constants['low']
  flat_A = width_A <= 0
  share = (chunk_NCA - low_A) / jnp.where(flat_A, 1.0, width_A)
  unit = jnp.where(flat_A, 0.0, (2 * share - 1).clip(-1, 1))
  unit = jnp.nan_to_num(unit)
  frequency = _einsum('kc,nca->nka', _cosines(spec.steps), unit)
  rounded = jnp.round(frequency * spec.settings.scale).astype(jnp.int32)
  return (rounded + _middle(spec)).reshape(len(chunk_NCA), -1)


def chunks_of(constants, symbols_NL, spec):
  """The chunks [N, C, dim] that integers [N, C * dim] stand for."""
  shape = len(symbols_NL), spec.steps, spec.target.dim
  frequency = (symbols_NL.reshape(shape) - _middle(spec)) / spec.settings.scale
  unit = _einsum('kc,nka->nca', _cosines(spec.steps), frequency)
  low_A, width_A = constants['low'], constants['high'] - constants['low']
  return low_A + (unit + 1) / 2 * width_A


def loss(reader, read_BTD, target, valid_BTC, key):
  """Nats of a chunk's tokens and its end, evenly over its steps.

  'accuracy' is the share of them that are the likeliest. A step that is not
  valid is taken to be as the one before it, so that the policy learns to stay.
  """
  del key
  spec, constants = reader.spec, _shaped(reader.constants, 3)
  vocab, steps = spec.settings.vocab, spec.steps
  chunk_NCA = _held(target, valid_BTC).reshape(-1, steps, spec.target.dim)
  symbols_NL = symbols_of(constants, chunk_NCA, spec)
  tokens_NL = byte_pairs.encode(constants['merges'], symbols_NL, _base(spec))
  ended_NL = tokens_NL == byte_pairs.NONE
  label_NS = jnp.pad(
    jnp.where(ended_NL, vocab, tokens_NL),
    ((0, 0), (0, 1)),
    constant_values=vocab,
  )
  before_NS = jnp.pad(label_NS[:, :-1], ((0, 0), (1, 0)), constant_values=vocab)
  counts_NS = ~jnp.pad(ended_NL, ((0, 0), (1, 0)))  # One end, and no more.
  lead = read_BTD.shape[:2]
  logits, _ = reader(read_BTD, (before_NS.reshape(*lead, -1), None))
  logits_NSV = logits.reshape(*label_NS.shape, -1)
  nats_NS = categorical.cross_entropy(logits_NSV, label_NS)
  right_NS = logits_NSV.argmax(-1) == label_NS
  nats_N = jnp.where(counts_NS, nats_NS, 0.0).sum(-1)
  right_N = (counts_NS & right_NS).sum(-1) / counts_NS.sum(-1)

  def of_every_step(x_N):
    return jnp.broadcast_to(x_N.reshape(*lead, 1), valid_BTC.shape)

  return of_every_step(nats_N / steps), {'accuracy': of_every_step(right_N)}


def sample(reader, read_BTD, key, num):
  """Chunks [num, B, T, C, dim], drawn token by token."""
  return drawn(reader, read_BTD, key, num)[0]


def drawn(reader, read_BTD, key, num):
  """(chunks [num, B, T, C, dim], bool [num, B, T]: tokens that spell none)."""
  spec, constants = reader.spec, _shaped(reader.constants, 3)

  def draw(key):
    symbols_NL, count_N = _spelled(reader, read_BTD, key)
    chunk_NCA = chunks_of(constants, symbols_NL, spec)
    shape = *read_BTD.shape[:2], spec.steps, spec.target.dim
    wrong_BT = (count_N != spec.numbers).reshape(read_BTD.shape[:2])
    return chunk_NCA.reshape(shape), wrong_BT

  return jax.vmap(draw)(jax.random.split(key, num))


def _spelled(reader, read_BTD, key):
  """(symbols [N, L] of drawn tokens, how many they spell [N]); N = B * T."""
  spec, constants = reader.spec, reader.constants
  settings, lead = spec.settings, read_BTD.shape[:2]
  rows = math.prod(lead)

  def going(carry):
    return (carry[0] < spec.numbers) & ~carry[-1].all()

  def step(carry):
    i, token_N, state, symbols_NL, count_N, ended_N = carry
    query = token_N.reshape(*lead, 1), state
    logits, state = reader(read_BTD, query)
    logits_NV = logits.reshape(rows, -1)
    if settings.temperature:
      own, logits_NV = (
        jax.random.fold_in(key, i),
        logits_NV / settings.temperature,
      )
      token_N = jax.random.categorical(own, logits_NV)
    else:
      token_N = logits_NV.argmax(-1)
    ended_N |= token_N == settings.vocab
    spelled_N = jnp.minimum(token_N, settings.vocab - 1)
    more_N = jnp.where(ended_N, 0, constants['counts'][spelled_N])
    symbols_NL, _ = jax.vmap(byte_pairs.joined)(
      symbols_NL, count_N, constants['symbols'][spelled_N], more_N
    )
    count_N += more_N
    ended_N |= count_N >= spec.numbers
    return i + 1, token_N, state, symbols_NL, count_N, ended_N

  start = (
    jnp.int32(0),
    jnp.full(rows, settings.vocab, jnp.int32),
    mingru.start(mingru.Settings(settings.depth, 1.0), settings.width, rows),
    jnp.full((rows, spec.numbers), _middle(spec), jnp.int32),
    jnp.zeros(rows, jnp.int32),
    jnp.zeros(rows, bool),
  )
  _, _, _, symbols_NL, count_N, _ = jax.lax.while_loop(going, step, start)
  return symbols_NL, count_N


def _held(target, valid_BTC):
  """Targets where a step that is not valid is the last valid one, or zeros."""
  at = jnp.arange(valid_BTC.shape[-1])[None, None]
  last_BTC = jax.lax.cummax(jnp.where(valid_BTC, at, -1), axis=2)
  index = jnp.maximum(last_BTC, 0)[..., None]
  held = jnp.take_along_axis(target, index, axis=2)
  return jnp.where(last_BTC[..., None] >= 0, held, 0.0)


def _shaped(constants, ndim):
  """Constants whose bounds have `ndim` axes."""
  shape = (1,) * (ndim - 1) + constants['low'].shape
  bounds = {k: constants[k].reshape(shape) for k in ('low', 'high')}
  return constants | bounds


def _cosines(steps):
  """The orthonormal DCT-II [frequency, step]; its transpose inverts it."""
  k, c = np.arange(steps)[:, None], np.arange(steps)[None]
  rows = np.sqrt(2 / steps) * np.cos(np.pi * (c + 0.5) * k / steps)
  rows[0] /= np.sqrt(2)
  return jnp.asarray(rows, jnp.float32)


def _middle(spec):
  """The integer of frequency 0: none is further from it.

  A row of the transform has length 1, and C numbers within 1 sqrt(C) at most.
  """
  return math.ceil(spec.settings.scale * math.sqrt(spec.steps))


def _base(spec):
  """How many integers there are."""
  return 2 * _middle(spec) + 1
